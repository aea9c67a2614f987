"""One timestamped snapshot of Docker, ports, upstream files, Caddy and jobs.

Made by `observe`, compared with `Desired` by `plan`. What could not be read is Unknown
(`None`), never "missing".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from reconciler.model.disk import Disk
from reconciler.model.job import Job, JobKey
from reconciler.model.naming import Identity

ContainerState = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]


@dataclass(frozen=True)
class ContainerSettings:
    """What can be changed on a container from outside after its creation, as it is now."""

    memory_bytes: int
    cpus: float
    pids: int
    restart_policy: str
    networks: tuple[str, ...]


@dataclass(frozen=True)
class Container:
    """One container of the engine, ours or not.

    `identity` is None where the labels are not ours. `host_ports` are those that it publishes
    when it runs, also while it is stopped. `exit_code`, `oom_killed`, `restart_count` and
    `error` are the engine's last word on how it ended.
    """

    id: str
    name: str
    image_id: str
    state: ContainerState
    created_at: float
    identity: Identity | None
    host_ports: tuple[int, ...]
    settings: ContainerSettings
    exit_code: int = 0
    oom_killed: bool = False
    restart_count: int = 0
    error: str = ""
    started_at: float = 0.0
    finished_at: float = 0.0


@dataclass(frozen=True)
class Image:
    """An image of the engine. `content_key` and `project` are "" where our labels are missing.

    `parent_id` is what the engine's old builder made it from, "" for BuildKit's.
    """

    id: str
    names: tuple[str, ...]
    instance: str = ""
    project: str = ""
    content_key: str = ""
    created_at: float = 0.0
    parent_id: str = ""


@dataclass(frozen=True)
class Network:
    """A network of the engine; `instance` and `project` are "" where our labels are missing."""

    id: str
    name: str
    instance: str = ""
    project: str = ""


@dataclass(frozen=True)
class Engine:
    """Everything that the Docker engine was asked in one look."""

    containers: tuple[Container, ...] = ()
    images: tuple[Image, ...] = ()
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True)
class Routes:
    """Our part of Caddy's configuration: its digest, "" where Caddy has none of ours.

    `hosts` are the (host, project) pairs in it. `hosts_elsewhere` are host names that foreign routes of
    the same server claim.
    """

    digest: str
    hosts: tuple[tuple[str, str], ...] = ()
    hosts_elsewhere: frozenset[str] = frozenset()

    def hosts_of(self, project_name: str) -> tuple[str, ...]:
        return self._by_project.get(project_name, ())

    @cached_property
    def _by_project(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for host, project_name in self.hosts:
            found[project_name] = (*found.get(project_name, ()), host)
        return found


@dataclass(frozen=True)
class Observed:
    """`engine` and `routes` are None where Docker or Caddy did not answer; the reason is beside.

    `upstreams` maps project to the port that its upstream file names (0: a file without a port);
    a project without a file is absent. `listening` are TCP ports in use on this host, `reserved`
    those that plans which are being applied just now give out, `reserved_builds` the build slots that
    they take. `disk` is None until it was measured; `disk_problem` says what is below the floor now, "" = nothing.
    """

    at: float
    engine: Engine | None = None
    engine_problem: str = ""
    routes: Routes | None = None
    caddy_problem: str = ""
    upstreams: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    listening: frozenset[int] = frozenset()
    reserved: frozenset[int] = frozenset()
    reserved_builds: int = 0
    jobs: Mapping[JobKey, Job] = field(default_factory=lambda: MappingProxyType({}))
    disk: Disk | None = None
    disk_problem: str = ""
