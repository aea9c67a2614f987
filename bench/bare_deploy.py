"""The floor of a deployment: fetch, export, build, create, start, probe, switch, with nothing in between.

Started by `deploying` as a process of its own, so that its imports are not in the clock. It reads one word a
line from standard input (`code`, `spec` or `tidy`) and answers each with one line of JSON: the milliseconds of
each stage. It does for one project, with the same builder, engine and switch, what Gitstead does; it keeps no
history, checks nothing, and would not survive a kill. Not to be used for anything but comparing.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pygit2
import yaml

BRANCH = "refs/heads/main"


@dataclass(frozen=True)
class Config:
    """Where things are; `ports` are taken in turn. Written by `deploying`."""

    folder: str
    app_repo: str
    platform_repo: str
    spec_path: str
    buildx: str
    image: str
    label: str
    network: str
    upstream: str
    ports: list[int]


@dataclass
class Script:
    config: Config
    api: docker.APIClient = field(default_factory=lambda: docker.APIClient(version="auto"))
    image_id: str = ""
    number: int = 0
    container: str = ""
    old: str = ""

    def code(self) -> dict[str, float]:
        """A commit in the app repository: build it and let it take over."""
        stages: dict[str, float] = {}
        with_clock = _Clock(stages)
        with_clock("fetch", lambda: self._fetch("app", self.config.app_repo))
        with_clock("export", self._export)
        with_clock("build", self._build)
        self._roll_out(with_clock)
        return stages

    def spec(self) -> dict[str, float]:
        """A commit in the platform repository that changes the environment: the image is there already."""
        stages: dict[str, float] = {}
        with_clock = _Clock(stages)
        with_clock("fetch", lambda: self._fetch("platform", self.config.platform_repo))
        self._roll_out(with_clock)
        return stages

    def tidy(self) -> dict[str, float]:
        """Remove the container that served before; not in the clock of either side."""
        if self.old:
            self.api.remove_container(self.old, force=True)
            self.old = ""
        shutil.rmtree(self._context, ignore_errors=True)
        return {}

    @property
    def _context(self) -> Path:
        return Path(self.config.folder, "context")

    def _fetch(self, name: str, address: str) -> None:
        mirror = self._mirror(name)
        mirror.remotes.create_anonymous(address).fetch([f"+{BRANCH}:{BRANCH}"])

    def _mirror(self, name: str) -> pygit2.Repository:
        path = Path(self.config.folder, f"{name}.mirror")
        return pygit2.Repository(str(path)) if path.exists() else pygit2.init_repository(str(path), bare=True)

    def _tree(self, name: str) -> pygit2.Tree:
        commit = self._mirror(name).references[BRANCH].peel(pygit2.Commit)
        return commit.tree

    def _export(self) -> None:
        _write(self._tree("app"), self._context)

    def _build(self) -> None:
        id_file = Path(self.config.folder, "image-id")
        options = ["--progress=rawjson", "--provenance=false", "--sbom=false", "--builder=default"]
        argv = [
            self.config.buildx,
            "build",
            *options,
            f"--iidfile={id_file}",
            f"--tag={self.config.image}",
            f"--label={self.config.label}",
        ]
        subprocess.run([*argv, str(self._context)], check=True, capture_output=True)
        self.image_id = id_file.read_text().strip()

    def _env(self) -> dict[str, str]:
        blob = self._tree("platform") / self.config.spec_path
        assert isinstance(blob, pygit2.Blob)
        env: dict[str, str] = yaml.load(blob.data, Loader=yaml.CSafeLoader)["run"]["env"]
        return env

    def _roll_out(self, with_clock: _Clock) -> None:
        self.number += 1
        self.old = self.container
        port = self.config.ports[self.number % len(self.config.ports)]
        with_clock("create", lambda: self._create(port))
        with_clock("start", lambda: self.api.start(self.container))
        with_clock("probe", lambda: _until_answers(port))
        with_clock("switch", lambda: self._switch(port))

    def _create(self, port: int) -> None:
        name = f"{self.config.network}-{self.number}"
        made: Any = self.api.create_container_from_config(  # type: ignore[no-untyped-call]
            self._container_config(port), name
        )
        self.container = str(made["Id"])

    def _container_config(self, port: int) -> dict[str, Any]:
        """As hardened and bounded as Gitstead's, since that costs time as well."""
        env = {**self._env(), "PORT": "8000"}
        return {
            "Image": self.image_id,
            "Env": [f"{name}={value}" for name, value in env.items()],
            "ExposedPorts": {"8000/tcp": {}},
            "HostConfig": {
                "NetworkMode": self.config.network,
                "PortBindings": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]},
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
                "Init": True,
                "Memory": 64 * 2**20,
                "MemorySwap": 64 * 2**20,
                "NanoCpus": 500_000_000,
                "PidsLimit": 256,
                "SecurityOpt": ["no-new-privileges:true"],
                "CapDrop": ["ALL"],
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            },
        }

    def _switch(self, port: int) -> None:
        upstream = Path(self.config.upstream)
        temporary = upstream.with_name(".new")
        temporary.write_text(f"127.0.0.1:{port}")
        temporary.rename(upstream)


class _Clock:
    def __init__(self, stages: dict[str, float]) -> None:
        self._stages = stages

    def __call__(self, stage: str, work: Callable[[], object]) -> None:
        began = time.perf_counter()
        work()
        self._stages[stage] = (time.perf_counter() - began) * 1000


def _write(tree: pygit2.Tree, folder: Path) -> None:
    folder.mkdir()
    for entry in tree:
        if isinstance(entry, pygit2.Tree):
            _write(entry, folder / str(entry.name))
        elif isinstance(entry, pygit2.Blob):
            (folder / str(entry.name)).write_bytes(entry.data)


def _until_answers(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.002)
        finally:
            connection.close()
    raise TimeoutError(f"port {port} did not answer")


def main() -> None:
    """Serve the words of standard input until it ends, then remove the last container."""
    script = Script(Config(**json.loads(sys.argv[1])))
    words = {"code": script.code, "spec": script.spec, "tidy": script.tidy}
    script._fetch("platform", script.config.platform_repo)
    for line in sys.stdin:
        print(json.dumps(words[line.strip()]()), flush=True)
    for container in filter(None, (script.container, script.old)):
        script.api.remove_container(container, force=True)


if __name__ == "__main__":
    main()
