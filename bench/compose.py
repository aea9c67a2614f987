"""The same number of services under Docker Compose v2, for comparing a pass with `docker compose up -d`.

Used by `passing`. The plugin is the machine's own, else that of Debian, unpacked into the benchmark's folder.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.place import Place
from reconciler.errors import GitsteadError


@dataclass(frozen=True)
class Compose:
    """One Compose project; `config` is the folder in which the docker client looks for its plugins, "" its own."""

    place: Place
    version: str
    config: str = ""

    @property
    def file(self) -> Path:
        return self.place.folder / "compose.yaml"

    def write(self, size: int, first_port: int) -> None:
        """Services like the fleet's: the same app, memory, init, one published port each."""
        services = "".join(self._service(number, first_port + number) for number in range(size))
        self.file.write_text(f"name: gsbench{self.place.token}\nservices:\n{services}")

    def _service(self, number: int, port: int) -> str:
        return f"""\
  app-{number:03}:
    image: {self.place.base}
    environment: {{PORT: "8000", GREETING: g1}}
    init: true
    mem_limit: 16m
    restart: unless-stopped
    ports: ["127.0.0.1:{port}:8000"]
"""

    def up(self) -> None:
        self._run("up", "-d")

    def down(self) -> None:
        if self.file.exists():
            self._run("down", "--timeout", "1")

    def _run(self, *words: str) -> None:
        command = ["docker", "compose", "--file", str(self.file), "--progress", "quiet", *words]
        done = subprocess.run(command, env=_environment(self.config), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def compose(place: Place) -> Compose:
    """Raises `GitsteadError` where no Compose v2 can be had."""
    own = _version("")
    if own:
        return Compose(place, own)
    plugin = next(place.mirror.unpacked("docker-compose").rglob("cli-plugins/docker-compose"))
    folder = place.folder / "docker-config" / "cli-plugins"
    folder.mkdir(parents=True)
    (folder / plugin.name).symlink_to(plugin)
    config = str(folder.parent)
    version = _version(config)
    if not version:
        raise GitsteadError("the unpacked docker-compose does not run", expected="Compose v2")
    return Compose(place, version, config)


def _version(config: str) -> str:
    """The plugin's version; "" where there is none, or only Compose v1."""
    command = ["docker", "compose", "version", "--short"]
    done = subprocess.run(command, env=_environment(config), capture_output=True, text=True, check=False)
    found = re.match(r"v?([2-9]\d*\.\S+)", done.stdout.strip()) if done.returncode == 0 else None
    return found[1] if found else ""


def _environment(config: str) -> dict[str, str]:
    return {**os.environ, **({"DOCKER_CONFIG": config} if config else {})}
