"""The worker process that talks to Git remotes, and repacks what came: a request per line in, an answer per line out.

Started by `git_transport` as `python -m reconciler.adapters.git_worker <fd>`, so that a hostile server
can crash, wedge or fill this process and never the reconciler (traps 22 and 23). Each request has an alarm
whose default action ends the process, also inside the library's C code and also after the reconciler died;
an idle worker ends when its socket closes. A request may hold a secret: it must reach no log and no file.
Must not import more than pygit2 needs.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import signal
import socket
import sys

import pygit2

from reconciler.adapters import git_mirror
from reconciler.adapters.git_fetch import Answer, Request, exchange
from reconciler.adapters.git_repack import repack

MEMORY_LIMIT = 3 * 1024 * 1024 * 1024


def main(arguments: list[str]) -> None:
    """Serve until the socket closes. `arguments` is the socket's number; each request brings its home."""
    git_mirror.configure()
    pygit2.settings.mwindow_mapped_limit = 256 * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with socket.socket(fileno=int(arguments[0])) as connection, connection.makefile("rwb") as stream:
        for line in stream:
            stream.write(_answer(line))
            stream.flush()


def _answer(line: bytes) -> bytes:
    fields = json.loads(line)
    request = Request(**fields | {name: tuple(fields[name]) for name in ("refs", "keys", "too_big")})
    answer = _repacked(request) if request.into else _exchanged(request)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return json.dumps(dataclasses.asdict(answer)).encode() + b"\n"


def _repacked(request: Request) -> Answer:
    _allow(request.transfer_s)
    return repack(request)


def _exchanged(request: Request) -> Answer:
    pygit2.settings.homedir = request.home
    # A server that falls silent ends in an error; the alarm is for one that drips.
    pygit2.settings.server_connect_timeout = max(1, int(request.timeout_s * 800))
    pygit2.settings.server_timeout = max(1, int(request.timeout_s * 800))
    signal.setitimer(signal.ITIMER_REAL, request.timeout_s)
    return exchange(request, on_transfer=lambda: _allow(request.transfer_s))


def _allow(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
