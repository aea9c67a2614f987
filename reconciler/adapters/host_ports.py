"""Which TCP ports of this host are taken, and by whom.

Called by `observe` (all listeners), by whoever leases a port (a real bind) and by messages for people.
Must not keep a port open.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

_LISTEN = "0A"
_TABLES = ("tcp", "tcp6")

# The kernel's own question for sockets (linux/netlink.h, sock_diag.h, inet_diag.h).
_SOCK_DIAG = 4
_BY_FAMILY = 20
_ERROR, _DONE = 2, 3
_REQUEST_DUMP = 0x301
_STATE_LISTEN = 1 << 10
_HEAD = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBBI48x")
_PORT = struct.Struct(">H")
_PORT_AT = _HEAD.size + 4
_ANSWER_BYTES = 256 * 1024


def listening(proc: Path | None = None) -> frozenset[int]:
    """Every TCP port that some process of this host listens on, on any address.

    The kernel is asked for listeners alone; its tables in `proc` (read where it does not answer, or where
    `proc` is given) hold every connection, which on a busy host are thousands.
    """
    if proc is None:
        with contextlib.suppress(OSError):
            return frozenset(port for family in (socket.AF_INET, socket.AF_INET6) for port in _ask_kernel(family))
    return frozenset(port for port, _ in _listeners(proc or Path("/proc")))


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


def _ask_kernel(family: int) -> Iterator[int]:
    """The ports of one address family's listeners. Raises `OSError` where the kernel does not tell."""
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0, _STATE_LISTEN)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(1.0)
        kernel.send(_HEAD.pack(_HEAD.size + len(question), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + question)
        while True:
            answer, at = kernel.recv(_ANSWER_BYTES), 0
            while at < len(answer):
                length, kind, *_ = _HEAD.unpack_from(answer, at)
                if kind == _DONE:
                    return
                if kind == _ERROR or length < _PORT_AT + _PORT.size:
                    raise OSError("the kernel does not tell who listens")
                yield _PORT.unpack_from(answer, at + _PORT_AT)[0]
                at += (length + 3) & ~3


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
