"""The checks of `doctor` that concern limits: what images and build cache take, what holds for builds.

Called by `doctor`. Looks and returns a `Check`; changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reconciler.adapters.builder_cgroup import BuilderGroup, builder_group
from reconciler.adapters.disk_usage import EngineDisk, EngineFacts
from reconciler.adapters.engine_connection import DEFAULT_SOCKET
from reconciler.errors import GitsteadError
from reconciler.host.check import Check
from reconciler.model.disk import images_text, shown

PATIENCE_S = 15.0


@dataclass(frozen=True)
class Usage:
    """What the engine says of its disk; `cache_bytes` None where it took too long to sum it up."""

    facts: EngineFacts
    images: str
    cache_bytes: int | None


def read_usage(docker_host: str | None, *, state: Path) -> Usage | None:
    """None where the engine does not answer. `state` tells which images are ours."""
    disk = EngineDisk(docker_host, instance=_instance(state), timeout_s=PATIENCE_S)
    try:
        facts, images = disk.facts(), images_text(disk.layers(), disk.ours())
        return Usage(facts, images, _cache_bytes(disk))
    except GitsteadError:
        return None
    finally:
        disk.close()


def _cache_bytes(disk: EngineDisk) -> int | None:
    try:
        return disk.build_cache_bytes()
    except GitsteadError:
        return None


def _instance(state: Path) -> str:
    try:
        return (state / "instance").read_text().strip()
    except OSError:
        return ""


def check_usage(usage: Usage) -> Check:
    """What images and build cache take."""
    cache = "too large to sum up quickly" if usage.cache_bytes is None else shown(usage.cache_bytes)
    return Check("images", "ok", f"{usage.images}; build cache {cache}")


def find_group(usage: Usage, docker_host: str | None, *, memory_bytes: int | None) -> BuilderGroup:
    """The group of the builder; `memory_bytes` None = half of the machine's."""
    return builder_group(
        docker_host or DEFAULT_SOCKET,
        driver=usage.facts.cgroup_driver,
        is_rootless=usage.facts.is_rootless,
        memory_bytes=memory_bytes or usage.facts.memory_bytes // 2,
    )


def check_builder(group: BuilderGroup) -> Check:
    """Which limits hold for builds. They are set when Gitstead starts and before each build."""
    if group.problem:
        return Check(
            "builds",
            "warning",
            group.sentence,
            "builds may slow the apps down; an engine with the cgroupfs driver on this machine can be limited",
        )
    return Check("builds", "ok", group.sentence if group.applies else f"{group.wanted}, set when a build begins")
