"""The limits of this host, as one reconciler keeps them: disk, build cache, what builds may take.

Called by `bootstrap.platform`, which hands the parts to loop and apply. Reads the settings; what a limit leads
to is planned elsewhere.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reconciler.adapters.builder_cgroup import BuilderGroup, builder_group
from reconciler.adapters.disk_usage import EngineDisk, Room, low_text
from reconciler.adapters.engine_connection import DEFAULT_SOCKET
from reconciler.errors import GitsteadError
from reconciler.host.engine_setup import is_installed_by_us
from reconciler.loop.disk_watch import CACHE_OF_OURS_BYTES, DiskWatch
from reconciler.settings import Settings


def cache_limit(settings: Settings, engine_id: str) -> int:
    """The limit of an engine's build cache in bytes, 0 = none: it has no owner but where we installed the engine."""
    if settings.build_cache_bytes is not None:
        return settings.build_cache_bytes
    return CACHE_OF_OURS_BYTES if is_installed_by_us(engine_id) else 0


@dataclass
class BuildLimits:
    """What the builder's group may take; set before each build, since a restart of the machine forgets it."""

    settings: Settings
    engine: EngineDisk
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _group: BuilderGroup | None = None

    def prepare(self) -> None:
        """Set the limits where the engine allows it. Raises EngineUnavailable."""
        group = self._group or self._find()
        group.apply()

    def _find(self) -> BuilderGroup:
        facts = self.engine.facts()
        group = builder_group(
            self.settings.docker_host or DEFAULT_SOCKET,
            driver=facts.cgroup_driver,
            is_rootless=facts.is_rootless,
            memory_bytes=self.settings.build_memory_bytes or facts.memory_bytes // 2,
        )
        with self._lock:
            self._group = group
        return group

    @property
    def sentence(self) -> str:
        """What holds, "" while the engine was not asked yet."""
        return self._group.sentence if self._group is not None else ""


@dataclass(frozen=True)
class Limits:
    """Both, and what the heartbeat says of them."""

    disk: DiskWatch
    builds: BuildLimits

    def facts(self) -> Mapping[str, str]:
        return {"disk": self.disk.usage(), "builds": self.builds.sentence}


def shortage(settings: Settings) -> str:
    """What lacks room for a build now, for one question; "" = nothing, or the engine does not answer."""
    engine = EngineDisk(settings.docker_host)
    try:
        root = engine.facts().data_root
    except GitsteadError:
        root = None
    finally:
        engine.close()
    return low_text(Room(settings.state, settings.disk_floor_bytes).spaces(root))


def build_limits(
    settings: Settings,
    *,
    instance: str,
    on_measured: Callable[[], None],
    tell: Callable[[str], None],
    daily: Callable[[], None],
) -> Limits:
    """The parts for one reconciler; `on_measured`, `tell` and `daily` as of `DiskWatch`."""
    engine = EngineDisk(settings.docker_host, instance=instance)
    builds = BuildLimits(settings, engine)

    def measured() -> None:
        """The engine answered just now: what holds for builds is known before the first one."""
        with contextlib.suppress(GitsteadError):
            builds.prepare()
        on_measured()

    watch = DiskWatch(
        engine,
        room=Room(settings.state, settings.disk_floor_bytes),
        cache_limit=lambda engine_id: cache_limit(settings, engine_id),
        on_measured=measured,
        tell=tell,
        daily=daily,
        clock=time.time,
    )
    return Limits(watch, builds)
