"""What images and build cache take of the engine's disk, and whether there is room for a build.

Used by `loop.disk_watch` (measuring, pruning), by `observe` (the shortage, at each look) and by `host.doctor`.
Measures images layer by layer, since the engine's own sums count shared layers many times. Must decide
nothing about what is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reconciler.adapters.engine_connection import EngineConnection
from reconciler.adapters.engine_values import is_our_image_name
from reconciler.model.disk import Layers, shown

FLOOR_BYTES = 5 * 10**9
FLOOR_SHARE = 10
_PATIENCE_S = 300.0  # the engine sums up its build cache record by record: 9 s for 15,000 of them


@dataclass(frozen=True)
class Space:
    """A filesystem by a folder on it. `floor_bytes` is what must stay free for a build to begin."""

    folder: Path
    device: int
    free_bytes: int
    total_bytes: int
    floor_bytes: int

    @property
    def is_low(self) -> bool:
        return self.free_bytes < self.floor_bytes

    def __str__(self) -> str:
        return f"{shown(self.free_bytes)} free at {self.folder}, {shown(self.floor_bytes)} is the floor"


def space(folder: Path, floor_bytes: int | None) -> Space:
    """The filesystem where `folder` lies, or will lie; the floor is by default 5 GB, at most a tenth of it."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    found = shutil.disk_usage(place)
    floor = min(FLOOR_BYTES, found.total // FLOOR_SHARE) if floor_bytes is None else floor_bytes
    return Space(place, place.stat().st_dev, found.free, found.total, floor)


def low_text(spaces: Iterable[Space]) -> str:
    """Those below their floor, "" = none."""
    return "; ".join(str(each) for each in spaces if each.is_low)


def rounded_up(found: Space) -> Space:
    """In a round figure, lest each byte is news (invariant 11): 1.23 GB are less than 2 GB."""
    step: int = 10 ** (len(str(found.free_bytes)) - 1)
    return replace(found, free_bytes=(found.free_bytes // step + 1) * step)


@dataclass(frozen=True)
class Room:
    """Where builds need room: the state folder, and the engine's data root where it lies on this machine."""

    state: Path
    floor_bytes: int | None

    def spaces(self, data_root: Path | None) -> tuple[Space, ...]:
        """Each filesystem once; one that does not answer is left out: nothing is concluded from its silence."""
        found: dict[int, Space] = {}
        for folder in (data_root, self.state):
            if folder is None:
                continue
            with contextlib.suppress(OSError):
                each = space(folder, self.floor_bytes)
                found[each.device] = each
        return tuple(found.values())


@dataclass(frozen=True)
class EngineFacts:
    """What does not change while an engine runs. `data_root` is None where it lies on another machine."""

    id: str
    data_root: Path | None
    memory_bytes: int
    cgroup_driver: str
    is_rootless: bool


class EngineDisk:
    """The disk of one engine, seen by one instance ("" = by none).

    Safe from any thread; raises `EngineUnavailable` where the engine does not answer within `timeout_s`.
    """

    def __init__(self, docker_host: str | None, *, instance: str = "", timeout_s: float = _PATIENCE_S) -> None:
        self._connection = EngineConnection(docker_host, timeout_s=timeout_s)
        self._instance = instance
        self._is_local = self._connection.docker_host.startswith("unix:")
        self._layers: dict[str, Layers] = {}

    def close(self) -> None:
        self._connection.close()

    def facts(self) -> EngineFacts:
        found: Any = self._connection.read("describe itself", lambda api: api.info())
        root = Path(found["DockerRootDir"])
        return EngineFacts(
            id=str(found.get("ID") or ""),
            data_root=root if self._is_local and root.is_dir() else None,
            memory_bytes=int(found.get("MemTotal") or 0),
            cgroup_driver=str(found.get("CgroupDriver") or "none"),
            is_rootless=any("rootless" in each for each in found.get("SecurityOptions") or ()),
        )

    def layers(self) -> Mapping[str, Layers]:
        """Image id to its layers, for every image. An image never changes, so each is asked for once: 1 ms each."""
        listed: Any = self._connection.read("list images", lambda api: api.images())
        ids = {str(each["Id"]) for each in listed}
        found = {image_id: self._layers.get(image_id) or self._layers_of(image_id) for image_id in ids}
        self._layers = {image_id: layers for image_id, layers in found.items() if layers is not None}
        return dict(self._layers)

    def _layers_of(self, image_id: str) -> Layers | None:
        """None where the image is gone meanwhile."""
        steps: Any = self._connection.find("tell an image's history", lambda api: api.history(image_id))  # type: ignore[no-untyped-call]
        return None if steps is None else layers_from(steps)

    def ours(self) -> frozenset[str]:
        """Ids of the images that carry a name of this instance."""
        listed: Any = self._connection.read("list images", lambda api: api.images())
        return frozenset(str(each["Id"]) for each in listed if self._is_ours(each))

    def _is_ours(self, listed: Mapping[str, Any]) -> bool:
        return any(is_our_image_name(name, self._instance) for name in listed.get("RepoTags") or ())

    def build_cache_bytes(self) -> int:
        """What the build cache takes beyond the layers of images."""
        usage: Any = self._connection.read("measure its build cache", lambda api: api.df())
        return sum(int(each["Size"]) for each in usage.get("BuildCache") or () if not each["Shared"])

    def prune_build_cache(self, *, keep_bytes: int, unused_s: float) -> int:
        """Bytes freed: the oldest records go until `keep_bytes` are left, but none used within `unused_s`."""
        filters: Any = {"until": f"{unused_s:.0f}s"}
        answer: Any = self._connection.write(
            "prune its build cache",
            lambda api: api.prune_builds(filters=filters, keep_storage=keep_bytes),
        )
        return int(answer.get("SpaceReclaimed") or 0)


def layers_from(history: list[Mapping[str, Any]]) -> Layers:
    """The layers that an image's history tells of, newest first, as (key, bytes).

    Two images share a layer where they were made by the same steps at the same times up to it. What is empty is
    left out.
    """
    layers: list[tuple[str, int]] = []
    chain = hashlib.sha256()
    for step in reversed(history):
        chain.update(f"{step['Created']} {step['Size']} {step['CreatedBy']}\n".encode())
        if step["Size"]:
            layers.append((chain.hexdigest()[:32], int(step["Size"])))
    return tuple(layers)
