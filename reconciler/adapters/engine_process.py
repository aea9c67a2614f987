"""Finds the process of the engine behind a socket of this machine.

Used by `builder_cgroup` and `build_orphans`. Looks only; must not take one engine for another.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from reconciler.adapters.process_marks import program_of

_PROGRAM = "dockerd"
_PID_FILE = Path("/var/run/docker.pid")


@dataclass(frozen=True)
class EngineProcess:
    """`pid` 0 = none runs there; `is_hidden`: one answers, and its process cannot be seen from here."""

    pid: int
    is_hidden: bool = False


def engine_process(docker_host: str) -> EngineProcess:
    """The process that listens on the engine's socket; where systemd does that for it, the one of its pid file."""
    if not docker_host.startswith("unix:"):
        return EngineProcess(0, is_hidden=True)
    try:
        pid = _listener(docker_host.removeprefix("unix://"))
    except OSError:
        return EngineProcess(0)
    if program_of(pid) == _PROGRAM:
        return EngineProcess(pid)
    with contextlib.suppress(OSError, ValueError):
        pid = int(_PID_FILE.read_text())
        if program_of(pid) == _PROGRAM:
            return EngineProcess(pid)
    return EngineProcess(0, is_hidden=True)


def _listener(path: str) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(2.0)
        door.connect(path)
        return int(struct.unpack("3i", door.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
