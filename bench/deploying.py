"""Goal 1: push returned → new version answered through Caddy; Gitstead over the bare script, in turn.

Called by `__main__`. Both sides deploy the same repository with the same builder, engine, limits, kind of
network and switch, behind a Caddy each, and are asked in the same way: every 2 ms on one kept connection.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.bare_deploy import Config
from bench.image import app_files
from bench.measure import Report, Rounds, in_turn
from bench.place import Place, remove_images
from reconciler.adapters.caddy_process import CaddyProcess
from tests.platform_support import Platform, Repo, docker, free_ports, git, wait_for

PROJECT = "shop"
HOST = f"{PROJECT}.localhost"
SPEC_PATH = f"projects/{PROJECT}.yaml"
_POLL_S = 0.002
_DEADLINE_S = 120.0


def measure(place: Place, report: Report, *, rounds: int) -> None:
    """Print both cases: one file changed, and nothing to build."""
    with _bare(place) as bare, place.platform("ours") as platform:
        ours = Ours(place, platform)
        ours.begin()
        bare.begin()
        found = {
            "one file changed": in_turn({"ours": ours.code, "bare script": bare.code}, rounds),
            "nothing to build (the spec's environment changed)": in_turn(
                {"ours": ours.spec, "bare script": bare.spec}, rounds
            ),
        }
    for case, figures in found.items():
        _tell(report, case, figures)
    bare.tell(report)


def _tell(report: Report, case: str, figures: Rounds) -> None:
    report.title(f"Push returned → new version answers through Caddy: {case} ({len(figures.gauge)} rounds)")
    report.rounds(figures)
    report.ratio(figures, ("ours", "bare script"), aim=1.25, must=1.5)


@dataclass
class Side:
    """What both sides have: an app repository, a platform repository, and a listener to ask."""

    place: Place
    app: Repo = field(init=False)
    platform_repo: Repo = field(init=False)
    http_port: int = field(init=False)
    version: int = 0
    greeting: int = 0

    @property
    def text(self) -> str:
        return f"v{self.version} g{self.greeting}"

    def write_version(self) -> None:
        self.version += 1
        self.app.write(app_files(self.place.base, f"v{self.version}"))
        _commit(self.app)

    def write_spec(self) -> None:
        self.greeting += 1
        text = f"""\
apiVersion: gitstead/v1
kind: Project
source: {{repo: {self.app.bare}}}
build: {{type: dockerfile}}
run: {{memory: 64m, env: {{GREETING: g{self.greeting}}}}}
deploy: {{drain: 100ms, rollback_window: 0s}}
"""
        self.platform_repo.write({SPEC_PATH: text})
        _commit(self.platform_repo)

    def until_answered(self, began: float) -> float:
        """Milliseconds from `began` (of `time.perf_counter`) to the first answer with the new text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=10)
        deadline = began + _DEADLINE_S
        with contextlib.closing(connection):
            while time.perf_counter() < deadline:
                try:
                    connection.request("GET", "/", headers={"Host": HOST})
                    body = connection.getresponse().read().decode().strip()
                except (OSError, http.client.HTTPException):
                    connection.close()
                    body = ""
                if body == self.text:
                    return (time.perf_counter() - began) * 1000
                time.sleep(_POLL_S)
        raise TimeoutError(f"{HOST} does not answer {self.text!r} but {body!r}")


@dataclass
class Ours(Side):
    """Gitstead as `gitstead up` runs it, with its status page."""

    platform: Platform = field(kw_only=True)

    def __init__(self, place: Place, platform: Platform) -> None:
        super().__init__(place)
        self.platform = platform
        self.platform_repo, self.http_port = platform.platform_repo, platform.http_port

    def begin(self) -> None:
        self.app = Repo.make(self.platform.folder, PROJECT)
        self.write_version()
        _push(self.app)
        self.write_spec()
        _push(self.platform_repo)
        self.platform.start()
        self.until_answered(time.perf_counter())
        self._settle()

    def code(self) -> float:
        self.write_version()
        return self._timed(self.app)

    def spec(self) -> float:
        self.write_spec()
        return self._timed(self.platform_repo)

    def _timed(self, repo: Repo) -> float:
        _push(repo)
        taken_ms = self.until_answered(time.perf_counter())
        self._settle()
        return taken_ms

    def _settle(self) -> None:
        """Until the old container is gone and nothing is under way: no round disturbs the next."""
        wait_for(lambda: len(self.platform.containers(PROJECT)) == 1, "only the newest container is left")
        self.platform.healthy(PROJECT)
        time.sleep(0.3)


@dataclass
class Bare(Side):
    """The bare script in a process of its own, and a Caddy with one route of the same form."""

    folder: Path = field(kw_only=True)
    process: subprocess.Popen[str] = field(init=False)
    stages: dict[str, list[float]] = field(default_factory=dict)

    def begin(self) -> None:
        self.app, self.platform_repo = Repo.make(self.folder, "app"), Repo.make(self.folder, "platform")
        self.write_version()
        self.write_spec()
        _push(self.app)
        _push(self.platform_repo)
        self.http_port, *ports = free_ports(5)
        config = Config(
            folder=str(self.folder),
            app_repo=str(self.app.bare),
            platform_repo=str(self.platform_repo.bare),
            spec_path=SPEC_PATH,
            buildx=buildx_program(),
            image=self.image,
            label=f"{_LABEL}={self.place.token}",
            network=self.network,
            upstream=str(self.folder / "upstream"),
            ports=ports,
        )
        docker("network", "create", self.network)
        Path(config.upstream).write_text("127.0.0.1:9")
        self._start_caddy(config.upstream)
        argv = [sys.executable, "-m", "bench.bare_deploy", json.dumps(asdict(config))]
        root = Path(__file__).resolve().parents[1]
        self.process = subprocess.Popen(argv, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._run("code")
        self.until_answered(time.perf_counter())
        self._end()

    @property
    def image(self) -> str:
        return f"gitstead-bench/app:{self.place.token}"

    @property
    def network(self) -> str:
        return f"gitstead-bench-{self.place.token}"

    def code(self) -> float:
        self.write_version()
        return self._timed("code", self.app)

    def spec(self) -> float:
        self.write_spec()
        return self._timed("spec", self.platform_repo)

    def tell(self, report: Report) -> None:
        """Where the bare script's time goes."""
        report.title("Stages of the bare script (medians)")
        for word in ("code", "spec"):
            stages = [name for name in self.stages if name.startswith(word)]
            medians = (f"{name.partition(' ')[2]} {statistics.median(self.stages[name]):.1f}" for name in stages)
            report.say(f"{word}: {', '.join(medians)} ms")

    def remove(self) -> None:
        if hasattr(self, "process") and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait(timeout=60)
        self._caddy().stop()
        docker("network", "rm", self.network, check=False)
        remove_images(self.image, *docker("images", "-q", "--filter", f"label={_LABEL}={self.place.token}").split())

    def _timed(self, word: str, repo: Repo) -> float:
        _push(repo)
        began = time.perf_counter()
        self._run(word)
        taken_ms = self.until_answered(began)
        for stage, each_ms in self._end().items():
            self.stages.setdefault(f"{word} {stage}", []).append(each_ms)
        return taken_ms

    def _run(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def _end(self) -> dict[str, float]:
        assert self.process.stdout is not None
        stages: dict[str, float] = json.loads(self.process.stdout.readline())
        self._run("tidy")
        self.process.stdout.readline()
        time.sleep(0.3)
        return stages

    def _caddy(self) -> CaddyProcess:
        folder = self.folder / "caddy"
        return CaddyProcess(
            folder,
            admin_socket=folder / "admin.sock",
            last_good=folder / "config.json",
            listen=("127.0.0.1", getattr(self, "http_port", 0)),
        )

    def _start_caddy(self, upstream: str) -> None:
        proxy = {"handler": "reverse_proxy", "upstreams": [{"dial": f"{{file.{upstream}}}"}]}
        route = {"match": [{"host": [HOST]}], "handle": [proxy]}
        server = {"listen": [f"127.0.0.1:{self.http_port}"], "automatic_https": {"disable": True}, "routes": [route]}
        caddy = self._caddy()
        caddy.folder.mkdir()
        caddy.last_good.write_text(json.dumps({"apps": {"http": {"servers": {"bench": server}}}}))
        caddy.ensure()


_LABEL = "gitstead-bench"


@contextlib.contextmanager
def _bare(place: Place) -> Iterator[Bare]:
    folder = place.folder / "bare"
    folder.mkdir()
    bare = Bare(place, folder=folder)
    try:
        yield bare
    finally:
        bare.remove()


def buildx_program() -> str:
    """The plugin's own binary, as Gitstead runs it."""
    folders = (Path.home() / ".docker", *(Path(f"/usr/{each}/docker") for each in _PLUGIN_HOMES))
    found = shutil.which("docker-buildx", path=os.pathsep.join(f"{folder}/cli-plugins" for folder in folders))
    if found is None:
        raise FileNotFoundError("docker-buildx is not among docker's plugins: run gitstead doctor --fix")
    return found


_PLUGIN_HOMES = ("local/lib", "local/libexec", "lib", "libexec")


def _commit(repo: Repo) -> None:
    git(repo.clone, "add", "-A")
    git(repo.clone, "commit", "-q", "-m", "Change")


def _push(repo: Repo) -> None:
    git(repo.clone, "push", "-q", "origin", "HEAD:main")
