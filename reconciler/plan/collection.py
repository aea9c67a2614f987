"""Which images of ours are removed since nothing needs them any more, and when the build cache is pruned.

One pass of `planner`; pure. Judged as of the last measurement of the disk, which comes after each deployment
and daily: without one nothing is removed. Never an image of somebody else, never one that a
container uses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.model.disk import Disk
from reconciler.model.job import JobKey
from reconciler.model.naming import image_name
from reconciler.model.observed import Engine, Image
from reconciler.model.operation import PLATFORM, Cause, PruneBuildCache, RemoveImage
from reconciler.plan.ownership import adoption
from reconciler.plan.view import View, World

NOT_NEEDED = Cause("change", "no release, rollback window or container needs these images any more")
CACHE_UNUSED_S = 3600.0
CACHE_PAUSE_S = 3600.0


@dataclass(frozen=True)
class _Unneeded:
    """`used_at` is the last time that it was known to serve, else when it was made; `name` is ours or its id."""

    project: str
    image: Image
    name: str
    used_at: float

    @property
    def is_nameless(self) -> bool:
        return self.name == self.image.id


def collect(world: World, engine: Engine, views: Mapping[str, View]) -> Mapping[str, tuple[RemoveImage, ...]]:
    """Project to the removals of its images: the nameless ones, and the oldest that exceed the budget.

    There is no budget while the host has no room for a build: a cache must not keep one waiting.
    """
    disk = world.observed.disk
    if disk is None or not world.desired.complete:
        return {}
    unneeded = list(_unneeded(world, engine, views=views, disk=disk))
    if not unneeded:
        return {}
    removals: dict[str, tuple[RemoveImage, ...]] = {}
    budget_bytes = 0 if world.observed.disk_problem else world.host.disk_budget_bytes
    for each, freed_bytes in _beyond_budget(unneeded, engine, disk=disk, budget_bytes=budget_bytes):
        removal = RemoveImage(
            project=each.project,
            cause=NOT_NEEDED,
            image=each.name,
            image_id=each.image.id,
            freed_bytes=freed_bytes,
        )
        removals[each.project] = (*removals.get(each.project, ()), removal)
    return removals


def prune_cache(world: World) -> tuple[PruneBuildCache, ...]:
    """Once an hour at most, where the host sets a limit and the cache is beyond it."""
    disk = world.observed.disk
    if disk is None or world.observed.engine is None or disk.build_cache_limit_bytes <= 0:
        return ()
    if disk.build_cache_bytes <= disk.build_cache_limit_bytes or disk.at < disk.cache_pruned_at + CACHE_PAUSE_S:
        return ()
    if JobKey(PLATFORM, 0, "prune") in world.observed.jobs:
        return ()
    cause = Cause("change", "the build cache takes more than limits.build_cache")
    keep_bytes = disk.build_cache_limit_bytes
    return (PruneBuildCache(project=PLATFORM, cause=cause, keep_bytes=keep_bytes, unused_s=CACHE_UNUSED_S),)


def _unneeded(world: World, engine: Engine, *, views: Mapping[str, View], disk: Disk) -> Iterator[_Unneeded]:
    in_use = {each.image_id for each in engine.containers} | {each.parent_id for each in engine.images}
    needed: dict[str, frozenset[str]] = {}
    for image in engine.images:
        view = views.get(image.project)
        if view is None or image.instance != world.host.instance or image.id in in_use or image.id not in disk.layers:
            continue
        name = _name_of_ours(view, image)
        if not name or not _is_known(view):
            continue
        if view.project not in needed:
            needed[view.project] = _needed(view, disk)
        if needed[view.project].isdisjoint((image.id, name)):
            used_at = view.past.retired.get(image.id, image.created_at)
            yield _Unneeded(view.project, image, name, used_at)


def _is_known(view: View) -> bool:
    """Whether it is certain what of the project is needed: Git says what, and history goes back far enough."""
    past = view.past
    return view.desired is not None and past.last_number > 0 and not past.adopted and adoption(view) is None


def _needed(view: View, disk: Disk) -> frozenset[str]:
    """Ids and names of the images that the project's releases need, or that a build wanted now would reuse."""
    past, window_s = view.past, view.spec.deploy.rollback_window_s
    serving = {each.image_id for each in (past.live, past.open) if each is not None}
    kept = {image_id for image_id, retired_at in past.retired.items() if disk.at < retired_at + window_s}
    keys = {view.content_key, past.open.content_key if past.open is not None else ""}
    return frozenset(serving | kept | {image_name(view.host.instance, view.project, key) for key in keys})


def _name_of_ours(view: View, image: Image) -> str:
    """The one name of an image that nobody else named, or the id of a nameless one that history knows; else "".

    Labels prove nothing of what has no name: whoever builds upon an image of ours inherits them.
    """
    if not image.names:
        known = image.id in view.past.retired or any(each.image_id == image.id for each in view.past.releases)
        return image.id if known else ""
    ours = len(image.names) == 1 and image.names[0].startswith(f"{view.network}:")
    return image.names[0] if ours else ""


def _beyond_budget(
    unneeded: list[_Unneeded], engine: Engine, *, disk: Disk, budget_bytes: int
) -> Iterator[tuple[_Unneeded, int]]:
    """What goes, with the bytes that are free then: layers that others share count for none of them."""
    gone_or_kept = {each.image.id for each in unneeded}
    stays = {key for image in engine.images if image.id not in gone_or_kept for key, _ in disk.layers.get(image.id, ())}
    own = {each.image.id: _own(disk, each.image.id, stays) for each in unneeded}
    users = Counter(key for layers in own.values() for key in layers)
    total = sum({key: size for layers in own.values() for key, size in layers.items()}.values())
    for each in sorted(unneeded, key=lambda one: (not one.is_nameless, one.used_at, one.image.id)):
        if not each.is_nameless and total <= budget_bytes:
            return
        layers = own[each.image.id]
        freed_bytes = sum(size for key, size in layers.items() if users[key] == 1)
        users.subtract(layers.keys())
        total -= freed_bytes
        yield each, freed_bytes


def _own(disk: Disk, image_id: str, stays: set[str]) -> dict[str, int]:
    return {key: size for key, size in disk.layers[image_id] if key not in stays}
