"""Everything that operations may act on, handed down by `bootstrap` as one value.

Used by `executor` and `operations`; holds the adapters, makes none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.adapters.caddy_admin import CaddyAdmin
from reconciler.adapters.docker_engine import DockerEngine
from reconciler.adapters.upstream_files import UpstreamFiles
from reconciler.apply.build import Builds
from reconciler.apply.jobs import Jobs
from reconciler.apply.output import Outputs
from reconciler.apply.probe import Probes
from reconciler.model.effects import Records, Secrets


@dataclass(frozen=True)
class Effects:
    """`prune_cache` takes the bytes to keep and the seconds for which what goes was unused."""

    engine: DockerEngine
    caddy: CaddyAdmin
    upstreams: UpstreamFiles
    records: Records
    jobs: Jobs
    builds: Builds
    outputs: Outputs
    probes: Probes
    secrets: Secrets
    clock: Callable[[], float]
    prune_cache: Callable[[int, float], None]
