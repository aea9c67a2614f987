"""A whole platform for tests: real repositories, `gitstead up` as a process of its own, real Docker and Caddy.

Used by tests/e2e and tests/chaos. Each platform has its own instance, state folder and ports, and removes
its containers, networks and images; it ends only processes that it started.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from reconciler.history.queries import Queries
from reconciler.history.requests import Inbox
from reconciler.model.release import Deployment, State
from reconciler.model.status import ProjectStatus

T = TypeVar("T")

GIT = {
    "GIT_AUTHOR_NAME": "Ana",
    "GIT_AUTHOR_EMAIL": "ana@example.com",
    "GIT_COMMITTER_NAME": "Ana",
    "GIT_COMMITTER_EMAIL": "ana@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}
DEADLINE_S = 60.0

APP = """\
import http.server, os, pathlib, signal, socketserver, sys
VERSION = pathlib.Path("/version").read_text().strip()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        bad = VERSION == "sick"
        body = (VERSION + " " + os.environ.get("GREETING", "")).strip().encode()
        self.send_response(500 if bad else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *args):
        print(self.requestline, flush=True)
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 256
if VERSION == "dies":
    print("last words of the app", flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
Server(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"""
DOCKERFILE = """\
FROM gitstead/base-python
COPY app.py /app.py
COPY version /version
USER 10001
CMD ["python3", "-S", "-u", "/app.py"]
"""


def wait_for(question: Callable[[], T | None], what: str, *, timeout_s: float = DEADLINE_S) -> T:
    """The first truthy answer. Fails the test with `what` and the last answer at the deadline."""
    deadline = time.monotonic() + timeout_s
    answer = question()
    while not answer:
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g}s: {what}; last answer {answer!r}")
        time.sleep(0.02)
        answer = question()
    return answer


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, below the range from which the kernel gives ports out."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = int(os.environ.get("GITSTEAD_TEST_PORTS") or 10000) + worker * 600
    last = first + 600
    found: list[int] = []
    for port in range(first + (os.getpid() * 7 + time.monotonic_ns() // 1000) % 500, last + 500):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} free ports")


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], env={**os.environ, **GIT}, capture_output=True, text=True)
    assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


def docker(*words: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True)
    assert not check or done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


def inspect(container: str) -> dict[str, Any]:
    return dict(json.loads(docker("inspect", container))[0])


def started(container: str) -> tuple[str, str]:
    """(id, time of its start) of a container."""
    found = inspect(container)
    return found["Id"], found["State"]["StartedAt"]


@contextlib.contextmanager
def under_load(platform: Platform, *hosts: str) -> Iterator[list[tuple[int, str]]]:
    """Steady requests to each host; the list of those that did not answer 200."""
    failures: list[tuple[int, str]] = []
    done = threading.Event()

    def ask(host: str) -> None:
        while not done.is_set():
            status, body = platform.get(host)
            if status != 200:
                failures.append((status, body))

    askers = [threading.Thread(target=ask, args=(host,)) for host in hosts for _ in range(2)]
    for each in askers:
        each.start()
    try:
        yield failures
    finally:
        done.set()
        for each in askers:
            each.join()


@dataclass
class Repo:
    """A bare repository and a clone of it to commit in."""

    bare: Path
    clone: Path

    @staticmethod
    def make(folder: Path, name: str) -> Repo:
        bare, clone = folder / f"{name}.git", folder / f"{name}-clone"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True, env={**os.environ, **GIT})
        subprocess.run(
            ["git", "clone", "-q", str(bare), str(clone)], check=True, env={**os.environ, **GIT}, capture_output=True
        )
        git(clone, "symbolic-ref", "HEAD", "refs/heads/main")
        return Repo(bare, clone)

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        """Write files (None removes) without committing."""
        for name, content in files.items():
            path = self.clone / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            elif isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(content)

    def push(self, files: Mapping[str, str | bytes | None], message: str = "Change", *, force: bool = False) -> str:
        """Commit and push; the commit's sha."""
        self.write(files)
        git(self.clone, "add", "-A")
        git(self.clone, "commit", "-q", "--allow-empty", "-m", message)
        git(self.clone, "push", "-q", *(["--force"] if force else []), "origin", "HEAD:main")
        return git(self.clone, "rev-parse", "HEAD")


@dataclass
class Platform:
    """`gitstead up` on a folder of its own. Started by `start`; `kill` is SIGKILL, `stop` is SIGTERM.

    `prefix` are words before the command that starts it: a program that becomes ours in the end.
    """

    folder: Path
    http_port: int
    status_port: int
    ports: tuple[int, int]
    settings: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    web: bool = False
    process: subprocess.Popen[bytes] | None = None
    repos: dict[str, Repo] = field(default_factory=dict)

    # ---- repositories ----------------------------------------------------------------------

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def platform_repo(self) -> Repo:
        return self.repos["platform"]

    def app(self, name: str, version: str = "v1", *, files: Mapping[str, str | bytes | None] | None = None) -> Repo:
        """An app repository with a small Python server that answers with `version`."""
        repo = self.repos[name] = Repo.make(self.folder, name)
        repo.push(files if files is not None else app_files(version), f"{name} {version}")
        return repo

    def spec(self, name: str, text: str = "", **keys: Any) -> str:
        """The YAML of a project of that app; `keys` are top-level keys in JSON form, `text` is appended."""
        values: dict[str, Any] = {
            "source": {"repo": str(self.folder / f"{name}.git")},
            "build": {"type": "dockerfile"},
            "run": {"memory": "64m"},
            "deploy": {"drain": "1s"},
            **keys,
        }
        lines = ["apiVersion: gitstead/v1", "kind: Project"]
        lines += [f"{key}: {json.dumps(value)}" for key, value in values.items()]
        return "\n".join(lines) + "\n" + text

    def push_spec(self, name: str, text: str = "", *, message: str = "", **keys: Any) -> str:
        return self.platform_repo.push(
            {f"projects/{name}.yaml": self.spec(name, text, **keys)}, message or f"Spec of {name}"
        )

    def deploy(self, *names: str, version: str = "v1", **keys: Any) -> None:
        """An app repository and a spec of each name, the platform started, and all of them Healthy."""
        for name in names:
            self.app(name, version)
        self.platform_repo.push({f"projects/{name}.yaml": self.spec(name, **keys) for name in names}, "Specs")
        self.start()
        for name in names:
            self.answers(name, version)
            self.healthy(name)

    # ---- the process -----------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("GITSTEAD_")}
        return env | {
            "GITSTEAD_STATE": str(self.state),
            "GITSTEAD_RUNTIME": str(self.folder / "run"),
            "GITSTEAD_PLATFORM_REPO": str(self.platform_repo.bare),
            "GITSTEAD_LOCAL_PATHS": str(self.folder),
            "GITSTEAD_HTTP_PORT": str(self.http_port),
            "GITSTEAD_STATUS_PORT": str(self.status_port),
            "GITSTEAD_PORTS": f"{self.ports[0]}-{self.ports[1]}",
            "GITSTEAD_LOG_FORMAT": "json",
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
            **self.settings,
        }

    def start(self, **settings: str) -> None:
        """`settings` are further GITSTEAD_* variables, in lower case, for this start alone."""
        env = self.environment() | {f"GITSTEAD_{key.upper()}": value for key, value in settings.items()}
        argv = [*self.prefix, sys.executable, "-m", "reconciler", "up", *([] if self.web else ["--no-web"])]
        with (self.folder / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder
            )

    def wait_started(self) -> None:
        wait_for(lambda: self.beat() is not None or self._has_ended(), "the first look")
        assert not self._has_ended(), self.log()

    def beat(self) -> dict[str, Any] | None:
        """The heartbeat of the process that runs now."""
        for path in (self.folder / "run").glob("*.heartbeat.json"):
            with contextlib.suppress(ValueError, OSError):
                values = json.loads(path.read_text())
                if self.process is not None and values["pid"] == self.process.pid:
                    return dict(values)
        return None

    def _has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """SIGKILL, as a power cut does it to the reconciler."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=10)

    def wait_ended(self, timeout_s: float = DEADLINE_S) -> int:
        assert self.process is not None
        return self.process.wait(timeout=timeout_s)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=30)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(timeout=10)

    def log(self) -> str:
        path = self.folder / "up.log"
        return path.read_text() if path.exists() else ""

    def cli(self, *words: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One `gitstead` command on this platform."""
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *words],
            env=self.environment(),
            capture_output=True,
            input=stdin,
            text=True,
            cwd=self.folder,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    # ---- looking ---------------------------------------------------------------------------

    @property
    def instance(self) -> str:
        return (self.state / "instance").read_text().strip()

    @contextlib.contextmanager
    def queries(self) -> Iterator[Queries]:
        queries = Queries(self.state / "state" / "state.db")
        try:
            yield queries
        finally:
            queries.close()

    def status(self, name: str) -> ProjectStatus | None:
        if not (self.state / "state" / "state.db").exists():
            return None
        with self.queries() as queries:
            return queries.status(name)

    def deployments(self, name: str) -> list[Deployment]:
        with self.queries() as queries:
            return queries.deployments(name)

    def events(self, name: str) -> list[str]:
        with self.queries() as queries:
            return [each.text for each in queries.events(name)]

    def told(self, name: str, text: str, *, timeout_s: float = DEADLINE_S) -> str:
        """Wait for `drift` in the history of `name` whose sentence has `text`; the sentence."""

        def question() -> str | None:
            with self.queries() as queries:
                found = [each.text for each in queries.events(name) if each.kind == "drift" and text in each.text]
            return found[0] if found else None

        try:
            return wait_for(question, f"history of {name or 'the platform'} tells {text!r}", timeout_s=timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.events(name)}\n{self.log()[-3000:]}") from None

    def looks(self, count: int = 2) -> None:
        """Have everything looked at anew `count` times: whatever a pass would do now has begun."""
        for _ in range(count):
            before = time.time()
            inbox = Inbox(self.state / "inbox" / "inbox.db")
            inbox.leave_request("sync", "", by="a-test", now=before)
            inbox.close(clean=False)
            wait_for(lambda: (self.beat() or {}).get("looked_at", 0) > before, "a look")  # noqa: B023

    def ids(self, *names: str) -> dict[str, tuple[str, str]]:
        """Container name to (id, time of its start) of what runs of ours: equal means untouched."""
        return {each: started(each) for name in names or ("",) for each in self.containers(name, running=True)}

    @property
    def admin_socket(self) -> Path:
        return self.state / "caddy" / "admin.sock"

    def get(self, host: str, path: str = "/", *, timeout_s: float = 5.0) -> tuple[int, str]:
        """(status, body) through Caddy; (0, reason) where no answer came."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout_s)
        try:
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()

    def answers(self, name: str, text: str, *, timeout_s: float = DEADLINE_S) -> None:
        """Wait until `<name>.localhost` answers 200 with `text`."""
        host = f"{name}.localhost"
        try:
            wait_for(lambda: self._says(host, text), f"{host} answers {text}", timeout_s=timeout_s)
        except AssertionError as error:
            raise AssertionError(
                f"{error}; it answers {self.get(host)}\n{self.status(name)}\n{self.log()[-4000:]}"
            ) from None

    def _says(self, host: str, text: str) -> bool:
        self._refuse_failed()
        status, body = self.get(host)
        return status == 200 and body.strip() == text

    def _refuse_failed(self) -> None:
        """No use to wait for a process that could not start."""
        assert self.process is None or (self.process.poll() or 0) <= 0, "gitstead up has failed"

    def healthy(self, name: str, *, timeout_s: float = DEADLINE_S) -> ProjectStatus:
        """Wait until the project is Healthy and nothing is under way."""

        def question() -> ProjectStatus | None:
            self._refuse_failed()
            status = self.status(name)
            return status if status and status.health == "Healthy" and not status.under_way else None

        try:
            return wait_for(question, f"{name} is Healthy", timeout_s=timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.status(name)}\n{self.log()[-4000:]}") from None

    def condition(self, name: str, reason: str, *, timeout_s: float = DEADLINE_S) -> str:
        """Wait for a condition with that reason; its message."""

        def question() -> str | None:
            status = self.status(name)
            found = [each.message for each in (status.conditions if status else ()) if each.reason == reason]
            return found[0] if found else None

        try:
            return wait_for(question, f"{name} has condition {reason}", timeout_s=timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.status(name)}\n{self.log()[-3000:]}") from None

    def containers(self, name: str = "", *, running: bool = False) -> list[str]:
        """Names of our containers (of one project), sorted."""
        words = ["ps", "--format", "{{.Names}}", "--filter", f"label=gitstead.instance={self.instance}"]
        words += [] if running else ["--all"]
        words += ["--filter", f"label=gitstead.project={name}"] if name else []
        return sorted(docker(*words).split())

    def live(self, name: str) -> str:
        """Name of the container of the live deployment."""
        number = next(each.number for each in self.deployments(name) if each.state is State.LIVE)
        return f"gs-{self.instance}-{name}-d{number}-web-1"

    def upstream(self, name: str) -> str:
        path = self.state / "upstreams" / name / "current"
        return path.read_text() if path.exists() else ""

    def converged(self, *, timeout_s: float = DEADLINE_S) -> None:
        """Wait until `gitstead plan` has nothing to do."""
        wait_for(lambda: self.cli("plan", check=False).returncode == 0, "the plan is empty", timeout_s=timeout_s)

    # ---- the end ---------------------------------------------------------------------------

    def remove(self) -> None:
        """Stop everything and remove what is ours on the engine."""
        self.stop()
        self.end_caddy()
        if (self.state / "instance").exists():
            remove_instance(self.instance)
        shutil.rmtree(self.folder, ignore_errors=True)

    def end_caddy(self) -> None:
        """End the Caddy that `up` started and that outlives a kill of it."""
        from reconciler.adapters.caddy_process import CaddyProcess

        folder = self.state / "caddy"
        CaddyProcess(
            folder,
            admin_socket=folder / "admin.sock",
            last_good=folder / "last-good.json",
            listen=("127.0.0.1", self.http_port),
        ).stop()


def remove_instance(instance: str) -> None:
    """Containers, networks and images of one instance."""
    mine = ["--filter", f"label=gitstead.instance={instance}"]
    for kind, listing, removal in (
        ("container", ["ps", "-aq", *mine], ["rm", "-f"]),
        ("network", ["network", "ls", "-q", *mine], ["network", "rm"]),
        ("image", ["images", "-q", *mine], ["rmi", "-f"]),
    ):
        found = sorted(set(docker(*listing).split()))
        if found:
            docker(*removal, *found, check=kind == "container")


def app_files(version: str) -> dict[str, str | bytes | None]:
    return {"app.py": APP, "version": version + "\n", "Dockerfile": DOCKERFILE}


@contextlib.contextmanager
def platform(folder: Path, **settings: str) -> Iterator[Platform]:
    """A platform with an empty platform repository, not started yet."""
    ports = free_ports(42)
    made = Platform(folder, ports[0], ports[1], (ports[2], ports[-1]))
    made.settings = {f"GITSTEAD_{key.upper()}": value for key, value in settings.items()}
    made.repos["platform"] = Repo.make(folder, "platform")
    made.platform_repo.push(
        {"platform.yaml": "apiVersion: gitstead/v1\nkind: Platform\ndomain: localhost\n"}, "The platform"
    )
    try:
        yield made
    finally:
        made.remove()
