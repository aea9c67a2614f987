"""One pass over the adapters: everything that is, at one moment.

Called by `loop.worker` and by `gitstead plan`. What could not be read becomes Unknown with the
reason beside it, never "missing".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reconciler.adapters import host_ports
from reconciler.adapters.caddy_admin import CaddyAdmin
from reconciler.adapters.docker_engine import DockerEngine
from reconciler.adapters.upstream_files import UpstreamFiles
from reconciler.errors import GitsteadError
from reconciler.model.disk import Disk
from reconciler.model.job import Job, JobKey
from reconciler.model.observed import Engine, Observed, Routes


@dataclass(frozen=True)
class Observer:
    """The adapters that are looked at, and the jobs of this process.

    `disk` gives the last measurement, `disk_problem` what lacks room for a build now.
    """

    engine: DockerEngine
    caddy: CaddyAdmin
    upstreams: UpstreamFiles
    jobs: Callable[[], Mapping[JobKey, Job]]
    clock: Callable[[], float]
    disk: Callable[[], Disk | None] = lambda: None
    disk_problem: Callable[[], str] = lambda: ""

    def observe(self, reserved: frozenset[int] = frozenset(), reserved_builds: int = 0) -> Observed:
        """A snapshot; `reserved` are ports, `reserved_builds` build slots of plans that are being applied.

        Jobs are read first: what a job did is then seen in Docker, never the other way round. So are
        ports: a container started in between must not look like a stranger on its port.
        """
        jobs, listening = self.jobs(), host_ports.listening()
        engine, engine_problem = self._engine()
        routes, caddy_problem = self._routes()
        return Observed(
            at=self.clock(),
            engine=engine,
            engine_problem=engine_problem,
            routes=routes,
            caddy_problem=caddy_problem,
            upstreams=self.upstreams.look(),
            listening=listening,
            reserved=reserved,
            reserved_builds=reserved_builds,
            jobs=jobs,
            disk=self.disk(),
            disk_problem=self.disk_problem(),
        )

    def _engine(self) -> tuple[Engine | None, str]:
        try:
            return self.engine.look(), ""
        except GitsteadError as error:
            return None, error.what

    def _routes(self) -> tuple[Routes | None, str]:
        try:
            return self.caddy.look(), ""
        except GitsteadError as error:
            return None, error.what
