"""What the YAML of the platform repository asks, with every default filled in.

Made by `desired.resolution`, read by every later stage. Frozen; no I/O.
Times are seconds, sizes are bytes, CPU shares are cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

BuildType = Literal[
    "auto",
    "dockerfile",
    "static",
    "node",
    "flask",
    "django",
    "fastapi",
    "python",
    "go",
    "rust",
    "java",
    "php",
    "ruby",
]
HostKeyPolicy = Literal["pinned", "first-use"]
CredentialKind = Literal["ssh-key", "https-token"]


@dataclass(frozen=True)
class Location:
    """Where in the platform repository something stands; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Diagnostic:
    """One problem of a spec: where, what was read, what was expected, what to do.

    `excerpt` is the line of the file and `width` the number of columns to mark in it.
    `project` is the project that the problem keeps back, "" for the platform itself.
    """

    location: Location
    message: str
    project: str = ""
    excerpt: str = ""
    width: int = 1

    def __str__(self) -> str:
        return f"{self.location} {self.message}"


@dataclass(frozen=True)
class SourceSpec:
    """`repo` is a URL or an absolute path of this host; `path` is "." or relative, without "..".

    `watch` are globs relative to the top of the repository: only changes of such files cause a deployment;
    empty means every file below `path`. `credentials` names a credential of the platform, "" none.
    `host_key` says whether an unknown ssh host may be remembered when it is first met.
    """

    repo: str
    branch: str = "main"
    path: str = "."
    watch: tuple[str, ...] = ()
    credentials: str = ""
    host_key: HostKeyPolicy = "pinned"


@dataclass(frozen=True)
class BuildSpec:
    """`dockerfile` is the Dockerfile's path below `source.path`, used by type dockerfile and auto.

    `args` are build arguments, part of the content key. `secrets` are sealed texts by name, for
    `RUN --mount=type=secret,id=<name>`; they are no part of the key.
    """

    type: BuildType = "auto"
    timeout_s: float = 1200.0
    dockerfile: str = "Dockerfile"
    args: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    secrets: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class RunSpec:
    """How the container runs; `command` empty means the image's own.

    `secrets` are sealed texts ("age:…") by the variable's name; opened only where the container is made.
    """

    port: int = 8000
    memory_bytes: int = 256 * 1024 * 1024
    cpus: float = 0.5
    pids: int = 256
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    secrets: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    capabilities: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class HealthSpec:
    """A 2xx or 3xx answer to GET `path` within `timeout_s` makes a release ready."""

    path: str = "/"
    timeout_s: float = 60.0
    interval_s: float = 10.0


@dataclass(frozen=True)
class DeploySpec:
    """How long the replaced release is kept for a rollback, and how long it may finish requests."""

    rollback_window_s: float = 86400.0
    drain_s: float = 30.0


@dataclass(frozen=True)
class ProjectSpec:
    """One `projects/<name>.yaml`, resolved. `blob` is the Git object id of the file's text.

    `domains` is never empty. `locations` maps a dotted key ("run.memory") to its place, for
    the sentences that say why.
    """

    name: str
    blob: str
    source: SourceSpec
    build: BuildSpec
    run: RunSpec = RunSpec()
    health: HealthSpec = HealthSpec()
    deploy: DeploySpec = DeploySpec()
    domains: tuple[str, ...] = ()
    locations: Mapping[str, Location] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class CredentialSpec:
    """What opens private repositories of one host: `sealed` is an ssh private key or an HTTPS token.

    `host` is the only host that may get it, in lower case, with its port where it is not the usual one.
    `username` goes with a token. `projects` may use it; empty means every project.
    """

    name: str
    kind: CredentialKind
    host: str
    sealed: str
    username: str = ""
    projects: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlatformSpec:
    """`platform.yaml`, resolved. A project without domains answers at `<name>.<domain>`.

    `known_hosts` are lines of that format: the ssh hosts whose keys are pinned in Git. `submodule_hosts` are
    hosts from which submodules may come besides a repository's own.
    """

    domain: str = "localhost"
    defaults: RunSpec = RunSpec()
    credentials: Mapping[str, CredentialSpec] = field(default_factory=lambda: MappingProxyType({}))
    known_hosts: tuple[str, ...] = ()
    submodule_hosts: tuple[str, ...] = ()
