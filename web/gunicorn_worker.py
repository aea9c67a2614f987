"""gunicorn's thread worker, with the wait for a peer who does not hang up moved off its one main thread.

Loaded by gunicorn (`gunicorn_conf.worker_class`). gunicorn 27 closes connections on the thread that
accepts them and waits up to 2 s for the other side: three clients who send `HTTP/1.0` and stay
froze every page for 6 s. Here the wait is short, and is spent by the thread that served the request.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time

from gunicorn.workers.gthread import TConn, ThreadWorker

LINGER_S = 0.3
_MOST_BYTES = 64 * 1024


class PageWorker(ThreadWorker):  # type: ignore[misc]
    """`handle` runs in a pool thread; False means that the connection is to be closed."""

    def handle(self, conn: TConn) -> object:
        result: object = super().handle(conn)
        if result is False:
            hang_up(conn.sock)
        return result


def hang_up(peer: socket.socket, *, linger_s: float = LINGER_S) -> None:
    """Say goodbye, read what still comes for a moment, then expect nothing: a later close waits for nobody.

    Reading first keeps the kernel from cutting off the end of our answer with a reset.
    """
    with contextlib.suppress(OSError, ValueError):
        peer.shutdown(socket.SHUT_WR)
        until = time.monotonic() + linger_s
        left = _MOST_BYTES
        while left > 0 and (rest := until - time.monotonic()) > 0:
            readable, _, _ = select.select([peer], [], [], rest)
            part = peer.recv(4096) if readable else b""
            if not part:
                break
            left -= len(part)
        peer.shutdown(socket.SHUT_RD)
