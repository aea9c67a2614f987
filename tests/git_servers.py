"""Real Git servers on 127.0.0.1 for contract tests: git daemon, sshd, and http-backend behind a small CGI.

Used by `tests/contract/test_git_*.py` and whoever needs a remote. Each server has a port, keys and a
folder of its own, and ends exactly the processes that it started.
"""

from __future__ import annotations

import base64
import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

AUTHOR = {
    "GIT_AUTHOR_NAME": "Ana",
    "GIT_AUTHOR_EMAIL": "ana@example.com",
    "GIT_COMMITTER_NAME": "Ana",
    "GIT_COMMITTER_EMAIL": "ana@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def until(condition: Callable[[], object], *, timeout_s: float = 10.0, what: str = "") -> None:
    """Look again until it holds; fails the test at the deadline."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {timeout_s} s: {what or condition}")
        pause.wait(0.01)


def git(*arguments: str, cwd: Path) -> str:
    """Run git for the test itself; its output."""
    environment = {**os.environ, **AUTHOR}
    finished = subprocess.run(
        ["git", *arguments], cwd=cwd, env=environment, check=True, capture_output=True, text=True, timeout=30
    )
    return finished.stdout.strip()


class Source:
    """A bare repository and a working clone that pushes to it, as a person would."""

    def __init__(self, folder: Path, name: str = "app") -> None:
        self.bare = folder / f"{name}.git"
        self.work = folder / f"{name}-work"
        git("init", "-q", "--bare", "-b", "main", str(self.bare), cwd=folder)
        git("init", "-q", "-b", "main", str(self.work), cwd=folder)
        git("remote", "add", "origin", str(self.bare), cwd=self.work)

    def push(self, files: dict[str, str], message: str = "Change", branch: str = "main") -> str:
        """Write files, commit, push; the new commit's sha."""
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git("add", "-A", cwd=self.work)
        git("commit", "-q", "--allow-empty", "-m", message, cwd=self.work)
        git("push", "-q", "--force", "origin", f"HEAD:refs/heads/{branch}", cwd=self.work)
        return git("rev-parse", "HEAD", cwd=self.work)

    def rewrite(self, files: dict[str, str]) -> str:
        """Throw history away and force-push another one; the new commit's sha."""
        git("checkout", "-q", "--orphan", f"other-{time.monotonic_ns()}", cwd=self.work)
        return self.push(files, "Rewritten")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def _running(argv: list[str], port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        try:
            until(lambda: accepts(port) or process.poll() is not None, what=f"{argv[0]} on port {port}")
            if process.poll() is not None:
                raise AssertionError(f"{argv} ended: {log.read_text()}")
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(10)


@contextlib.contextmanager
def git_daemon(base: Path) -> Iterator[str]:
    """`git daemon` over the repositories in `base`; its address without a slash at the end."""
    port = free_port()
    argv = ["git", "daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1", f"--port={port}"]
    with _running([*argv, f"--base-path={base}", str(base)], port, base / f"daemon-{port}.log"):
        yield f"git://127.0.0.1:{port}"


class SshServer:
    """Where it listens and what a client needs: `home/.ssh` holds the client's key and known_hosts."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.home = folder / "client"
        self.known_hosts = self.home / ".ssh" / "known_hosts"
        self.log = folder / "sshd.log"
        self.host_key = folder / "host_key"
        self.authorized = folder / "authorized_keys"
        self.pid_file = folder / "sshd.pid"

    @property
    def authority(self) -> str:
        """Its host as a credential names it."""
        return f"127.0.0.1:{self.port}"

    def url(self, repository: Path) -> str:
        return f"ssh://root@127.0.0.1:{self.port}{repository}"

    def line(self, public_key: Path | None = None) -> str:
        """The server's key, or another one, as a line of known_hosts."""
        kind, key = (public_key or self.host_key.with_suffix(".pub")).read_text().split()[:2]
        return f"[127.0.0.1]:{self.port} {kind} {key}"

    def trust(self, public_key: Path | None = None) -> None:
        """Write the server's key, or another one, to known_hosts."""
        self.known_hosts.write_text(self.line(public_key) + "\n")

    def authorize(self, *public_lines: str) -> None:
        """From now on exactly these keys are let in."""
        self.authorized.write_text("".join(f"{line}\n" for line in public_lines))

    def change_host_key(self) -> None:
        """From now on the server shows another key."""
        for path in (self.host_key, self.host_key.with_suffix(".pub")):
            path.unlink()
        make_key(self.host_key)
        os.kill(int(self.pid_file.read_text()), signal.SIGHUP)
        key = self.line().split()[2]
        until(lambda: key in self._shown(), what="the new host key")

    def _shown(self) -> str:
        argv = ["ssh-keyscan", "-T", "2", "-p", str(self.port), "-t", "ed25519", "127.0.0.1"]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30).stdout

    def attempts(self) -> str:
        return self.log.read_text()


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=30)
    return path.with_name(f"{path.name}.pub")


def sshd_missing() -> str:
    """Why no sshd can be run here, "" where it can."""
    if not Path("/usr/sbin/sshd").exists():
        return "needs openssh-server"
    return "" if os.geteuid() == 0 else "sshd is run as root here"


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """An sshd of our own with its own host key, whose only authorized key is the client's."""
    server = SshServer(folder, free_port())
    server.known_hosts.parent.mkdir(parents=True, mode=0o700)
    client_public = make_key(server.home / ".ssh" / "id_ed25519")
    make_key(server.host_key)
    server.authorize(client_public.read_text().strip())
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    config = folder / "sshd_config"
    config.write_text(
        f"Port {server.port}\nListenAddress 127.0.0.1\nHostKey {server.host_key}\nPidFile {server.pid_file}\n"
        f"AuthorizedKeysFile {server.authorized}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin yes\nLogLevel VERBOSE\n"
    )
    server.trust()
    with _running(["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], server.port, server.log):
        yield server


class HttpServer:
    """`git http-backend` behind an HTTP server of Python; `mode` says how it answers from now on.

    With a `login` (user name, token) it serves only who brings it, and asks everybody else for it.

    Modes: "" serves, "401" asks for a password, "404", "html" a login page, "redirect" to `elsewhere`,
    "hang" never answers, "drip" sends a byte of one endless ref now and then, "hang-pack" lists and
    never sends the pack, "half-pack" sends half of it.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.mode = ""
        self.elsewhere = ""
        self.login: tuple[str, str] | None = None
        self.requests: list[tuple[str, str, str]] = []
        self.connections = 0
        self.stop = threading.Event()
        self._server = _QuietServer(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://{self.authority}"

    @property
    def authority(self) -> str:
        """Its host as a credential names it."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def is_welcome(self, authorization: str) -> bool:
        if self.login is None:
            return True
        return authorization == "Basic " + base64.b64encode(":".join(self.login).encode()).decode()

    def __enter__(self) -> HttpServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, git: HttpServer) -> None:
        self.git = git
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up in the middle is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def git(self) -> HttpServer:
        assert isinstance(self.server, _QuietServer)
        return self.server.git

    def setup(self) -> None:
        self.git.connections += 1
        super().setup()

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _serve(self, body: bytes) -> None:
        self.git.requests.append((self.command, self.path, self.headers.get("Authorization", "")))
        mode = self.git.mode
        if not self.git.is_welcome(self.headers.get("Authorization", "")):
            mode = "401"
        if mode == "hang" or (mode == "hang-pack" and self.command == "POST"):
            self._wait_for_hang_up()
        elif mode == "drip":
            self._drip()
        elif mode in ("", "hang-pack", "half-pack"):
            self._backend(body)
        else:
            self._say(*self._answers()[mode])

    def _answers(self) -> dict[str, tuple[int, bytes, dict[str, str]]]:
        return {
            "401": (401, b"", {"WWW-Authenticate": 'Basic realm="git"'}),
            "404": (404, b"nothing here", {}),
            "html": (200, b"<html><form>Log in</form></html>", {"Content-Type": "text/html"}),
            "redirect": (302, b"", {"Location": self.git.elsewhere + self.path}),
        }

    def _say(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])

    def _hung_up(self, timeout_s: float) -> bool:
        return self.git.stop.is_set() or bool(select.select([self.connection], [], [], timeout_s)[0])

    def _wait_for_hang_up(self) -> None:
        while not self._hung_up(0.1):
            continue
        self.close_connection = True

    def _drip(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n"
                b"Content-Length: 1000000\r\n\r\n001e# service=git-upload-pack\n0000fff0"
            )
            while not self._hung_up(0.1):
                self.wfile.write(b"0")

    def _backend(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.git.base),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        finished = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, capture_output=True, check=False, timeout=30
        )
        head, _, content = finished.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        if self.git.mode == "half-pack" and self.command == "POST":
            self._say(200, content, headers, cut=len(content) // 2)
            self._wait_for_hang_up()
        else:
            self._say(int(headers.pop("Status", "200").split()[0]), content, headers)

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the test's output quiet."""
