"""Which images are needed, one reason at a time; how the budget counts; what is never judged at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from reconciler.errors import EngineConflict
from reconciler.model.condition import Reason
from reconciler.model.observed import Image
from reconciler.model.operation import RemoveImage
from reconciler.model.release import State
from tests.world import BASE, MB, WINDOW_S, World, desired_project, settle

COMMITS = ("aaa1111", "bbb2222", "ccc3333")


@pytest.fixture
def world() -> World:
    """Three releases of blog, each live in turn; the window of the first two is over, and nothing fits the budget."""
    world = World()
    world.host = replace(world.host, disk_budget_bytes=1)
    for commit in COMMITS:
        world.want(desired_project("blog", commit))
        settle(world, until=world.now + 100)
    settle(world, until=world.now + WINDOW_S)
    return world


def image_of(world: World, number: int) -> Image:
    return world.images[world.deployments["blog", number].image_id]


def removals(world: World) -> list[RemoveImage]:
    plans = world.plan().projects
    return [each for plan in plans for each in plan.operations if isinstance(each, RemoveImage)]


def collected(world: World) -> set[str]:
    return {each.image_id for each in removals(world)}


def ids(world: World, *numbers: int) -> set[str]:
    return {image_of(world, number).id for number in numbers}


def test_what_is_not_live_goes_beyond_the_budget(world: World) -> None:
    world.measure()
    assert collected(world) == ids(world, 1, 2)


def test_an_image_that_somebodys_container_uses_stays(world: World) -> None:
    world.add_foreign("theirs", image_id=image_of(world, 1).id, state="exited")
    world.measure()
    assert collected(world) == ids(world, 2)


def test_an_image_that_another_was_made_from_stays(world: World) -> None:
    """By the engine's old builder, which keeps parents."""
    world.images["theirs"] = Image("theirs", ("theirs:1",), parent_id=image_of(world, 1).id)
    world.measure()
    assert collected(world) == ids(world, 2)


def test_an_image_that_came_after_the_measurement_stays(world: World) -> None:
    late = image_of(world, 1)
    del world.images[late.id]
    world.measure()
    world.images[late.id] = late
    assert collected(world) == ids(world, 2)


def test_where_git_was_not_read_wholly_nothing_goes(world: World) -> None:
    world.measure()
    world.desired = replace(world.desired, complete=False)
    assert collected(world) == set()


def test_where_the_spec_is_not_known_nothing_goes(world: World) -> None:
    world.measure()
    world.desired = replace(world.desired, projects=())
    assert collected(world) == set()


@pytest.mark.parametrize("runs", [True, False])
def test_after_a_lost_store_nothing_goes_until_a_release_went_live(world: World, *, runs: bool) -> None:
    """Invariant 10: nobody knows what the rollback window needs."""
    if not runs:
        world.containers = {}
    world.lose_store()
    world.measure()
    assert collected(world) == set()
    world.apply(world.plan())
    if runs:
        assert world.row("blog").adopted
        assert collected(world) == set()


def test_an_image_of_another_instance_stays(world: World) -> None:
    first = image_of(world, 1)
    world.images[first.id] = replace(first, instance="other1")
    world.measure()
    assert collected(world) == ids(world, 2)


def test_an_image_that_was_just_built_stays_though_its_base_moved_on(world: World) -> None:
    """The deployment goes on with it; what is asked now has another key already."""
    world.want(desired_project("blog", "ddd4444"))
    world.apply(world.plan())
    world.finish_jobs()
    assert world.deployments["blog", 4].state is State.BUILDING
    built = max(world.images.values(), key=lambda image: image.created_at)
    world.images["base"] = Image("newer", (BASE,))
    world.measure()
    assert built.id not in collected(world)


def test_what_a_revert_would_build_is_kept_while_it_is_asked_for(world: World) -> None:
    world.want(desired_project("blog", COMMITS[0]))
    world.desired = replace(world.desired, revision="main@9")
    world.measure()
    assert collected(world) == ids(world, 2)


def layered(world: World, layers: dict[int, Iterable[tuple[str, int]]]) -> None:
    """The layers of the images of these deployments, in megabytes."""
    for number, each in layers.items():
        world.layers[image_of(world, number).id] = tuple((key, size * MB) for key, size in each)
    world.measure()


def test_layers_that_what_stays_has_too_take_nothing(world: World) -> None:
    world.host = replace(world.host, disk_budget_bytes=10 * MB)
    layered(world, {1: [("base", 300), ("one", 5)], 2: [("base", 300), ("two", 5)], 3: [("base", 300), ("three", 5)]})
    assert collected(world) == set()


def test_layers_that_only_old_images_share_count_once_and_are_free_with_the_last(world: World) -> None:
    world.host = replace(world.host, disk_budget_bytes=309 * MB)
    layered(world, {1: [("old", 300), ("one", 5)], 2: [("old", 300), ("two", 5)], 3: [("three", 5)]})
    assert [(each.image_id, each.freed_bytes) for each in removals(world)] == [(image_of(world, 1).id, 5 * MB)]
    world.host = replace(world.host, disk_budget_bytes=1)
    assert [each.freed_bytes for each in removals(world)] == [5 * MB, 305 * MB]


def test_the_budget_is_one_for_all_projects_and_the_longest_unused_goes_first(world: World) -> None:
    world.want(desired_project("blog", COMMITS[2]), desired_project("docs", COMMITS[0]))
    settle(world, until=world.now + 100)
    world.want(desired_project("blog", COMMITS[2]), desired_project("docs", COMMITS[1]))
    settle(world, until=world.now + WINDOW_S + 100)
    world.host = replace(world.host, disk_budget_bytes=200 * MB)
    world.measure()
    assert collected(world) == ids(world, 1)
    world.host = replace(world.host, disk_budget_bytes=100 * MB)
    assert collected(world) == ids(world, 1, 2)


def test_below_the_floor_nothing_is_kept_as_a_cache(world: World) -> None:
    world.host = replace(world.host, disk_budget_bytes=1000 * MB)
    world.measure()
    assert collected(world) == set()
    world.disk_problem = "1.2 GB free at /var/lib/docker, 2.0 GB is the floor"
    assert collected(world) == ids(world, 1, 2)


def test_a_removal_that_failed_is_told_until_nothing_wants_it_any_more(world: World) -> None:
    world.measure()
    world.refusals["RemoveImage"] = EngineConflict("a container uses it")
    world.apply(world.plan())
    assert Reason.RETRYING in reasons(world)
    for number in (1, 2):
        world.add_foreign(f"theirs-{number}", image_id=image_of(world, number).id)
    world.now += 3600.0
    assert reasons(world) == [Reason.LIVE]


def reasons(world: World) -> list[Reason]:
    verdict = next(each.verdict for each in world.plan().projects if each.project == "blog")
    return [each.reason for each in verdict.conditions] if verdict else []
