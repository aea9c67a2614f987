"""A socket before another one: it can be cut, and it writes down which requests went through.

Used by tests/e2e before the engine's and Caddy's admin socket, to lose them without stopping them and to
count writes from outside the process that is tested; before the page, to cut a browser off from it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from pathlib import Path

_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_OPAQUE = re.compile(rb"\r\n(upgrade|transfer-encoding):", re.IGNORECASE)
_READ_ONLY = frozenset({"GET", "HEAD"})


class Relay:
    """Listens at `path` and passes bytes on to `target`; `url` is what DOCKER_HOST takes.

    While `loses` is set, a connection with a request whose path has that text is ended without an answer.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self.target = path, target
        self.url = f"unix://{path}"
        self.requests: list[tuple[str, str]] = []
        self.loses = ""
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None

    def __enter__(self) -> Relay:
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [each for each in list(self.requests) if each[0] not in _READ_ONLY]

    def mend(self) -> None:
        """Take connections from now on."""
        listener = self._listen()
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Refuse connections from now on, and end those that are open."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self.path.unlink(missing_ok=True)
            _end(listener)
        self.drop()

    def drop(self) -> None:
        """End the connections that are open; new ones are taken."""
        with self._lock:
            dropped, self._open = self._open, set()
        for each in dropped:
            _end(each)

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        return listener

    def _connect(self) -> socket.socket:
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self.target))
        except OSError:
            _end(server)
            raise
        return server

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                try:
                    server = self._connect()
                except OSError:
                    _end(client)
                    continue
                with self._lock:
                    self._open |= {client, server}
                watch = _Requests(self)
                threading.Thread(target=self._pump, args=(client, server, watch), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, None), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, watch: _Requests | None) -> None:
        lost = True
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if watch is not None:
                    watch.feed(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
            lost = False
        with self._lock:
            finished = target not in self._open
            self._open -= {source}
        if watch is None or finished or lost:
            _end(source)
            _end(target)


class TcpRelay(Relay):
    """The same between two ports of 127.0.0.1; `url` is the address of the first."""

    def __init__(self, port: int, target_port: int) -> None:
        super().__init__(Path("/nonexistent"), Path("/nonexistent"))
        self._port, self._target_port = port, target_port
        self.url = f"http://127.0.0.1:{port}"

    def _listen(self) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        return listener

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._target_port))


class _Requests:
    """Finds the requests in the bytes of one connection; after an upgrade or a chunked body it only passes on."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._buffer = b""
        self._body_left = 0
        self._opaque = False

    def feed(self, data: bytes) -> None:
        if self._opaque:
            return
        self._buffer += data
        while self._buffer and not self._opaque:
            skipped = min(self._body_left, len(self._buffer))
            self._buffer, self._body_left = self._buffer[skipped:], self._body_left - skipped
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if self._body_left or not end:
                return
            self._take(head + b"\r\n")
            self._buffer = rest

    def _take(self, head: bytes) -> None:
        request, length = _REQUEST.match(head), _LENGTH.search(head)
        found = (request[1].decode(), request[2].decode()) if request else ("?", repr(head[:40]))
        self._relay.requests.append(found)
        if self._relay.loses and self._relay.loses in found[1]:
            raise ConnectionAbortedError(found[1])
        self._body_left = int(length[1]) if length else 0
        self._opaque = request is None or bool(_OPAQUE.search(head))


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
