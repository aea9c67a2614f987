"""Which TCP ports of this host are taken, and by whom.

Called by `observe` (all listeners), by whoever leases a port (a real bind) and by messages for people.
Must not keep a port open.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

_LISTEN = "0A"
_TABLES = ("tcp", "tcp6")


def listening(proc: Path = Path("/proc")) -> frozenset[int]:
    """Every TCP port that some process of this host listens on, on any address."""
    return frozenset(port for port, _ in _listeners(proc))


def bind_test(port: int) -> bool:
    """Whether 127.0.0.1:`port` can be bound now, as the engine would: connections that linger do not hinder."""
    if not 0 < port < 65536:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def owner_of(port: int, proc: Path = Path("/proc")) -> str:
    """The name of the process that listens on `port`, as far as we may see; "" where that cannot be told."""
    wanted = {f"socket:[{inode}]" for found, inode in _listeners(proc) if found == port}
    if not wanted:
        return ""
    for folder in proc.iterdir():
        if folder.name.isdigit() and _has_socket(folder, wanted):
            with contextlib.suppress(OSError):
                return (folder / "comm").read_text().strip()
    return ""


def _listeners(proc: Path) -> Iterator[tuple[int, str]]:
    """(port, socket inode) of each listening socket."""
    for table in _TABLES:
        try:
            lines = (proc / "net" / table).read_text().splitlines()
        except OSError:  # no IPv6 in this kernel
            continue
        for line in lines[1:]:
            fields = line.split(None, 10)
            if fields[3] == _LISTEN:
                yield int(fields[1].rpartition(":")[2], 16), fields[9]


def _has_socket(folder: Path, wanted: set[str]) -> bool:
    with contextlib.suppress(OSError):  # it ended meanwhile, or is not ours to read
        for link in (folder / "fd").iterdir():
            with contextlib.suppress(OSError):
                if str(link.readlink()) in wanted:
                    return True
    return False
