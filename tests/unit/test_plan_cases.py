"""Each file of `tests/cases` tells what happened to a server and the text of the plan that follows.

A file has `about` and `scenes`; a scene has a `story` (steps of `STEPS` below, on the simulated server of
`tests.world`), the whole `plan` as `gitstead plan` prints it, and may have `says` (health, reason and first
sentence of a project) and `wakes_in` (seconds until time alone changes the plan, or `never`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler import errors
from reconciler.model.condition import Reason
from reconciler.model.desired import SourceProblem
from reconciler.model.observed import Image, Routes
from reconciler.model.plan import Plan, render
from reconciler.model.spec import Diagnostic, Location
from reconciler.plan import gates
from tests.world import HOST, MB, World, desired_project, settle

CASES = sorted((Path(__file__).parents[1] / "cases").glob("*.yaml"))
NAME = "gs-k3v9qa-{}-web-1"


def _container(short: str) -> str:
    """`blog-d1` is the container of deployment 1 of blog."""
    return NAME.format(short)


def _want(world: World, projects: dict[str, dict[str, Any]]) -> None:
    """Git asks for these, at a new revision."""
    made = [desired_project(name, **(values or {})) for name, values in projects.items()]
    revision = f"main@{int(world.desired.revision.rpartition('@')[2]) + 1111111:07d}"
    world.want(*made, revision=revision)


def _spec_invalid(world: World, project: str) -> None:
    """Its file is there and cannot be used; there is no last good one."""
    desired = world.desired
    place = Location(f"projects/{project}.yaml", 7, 9)
    problem = Diagnostic(place, 'run.port is "eighty": a port is a whole number from 1 to 65535', project=project)
    others = tuple(each for each in desired.projects if each.name != project)
    world.desired = replace(desired, projects=others, diagnostics=(problem,), names=desired.names | {project})


def _spec_invalid_last_good_holds(world: World, project: str) -> None:
    desired = world.desired
    good = tuple(replace(each, stale=each.name == project) for each in desired.projects)
    _spec_invalid(world, project)
    world.desired = replace(world.desired, projects=good)


def _source_problem(world: World, project: str) -> None:
    """The app repository does not answer; what was read of it before is still known."""
    problem = SourceProblem(Reason.REMOTE_UNAVAILABLE, f"https://git.example/{project}.git did not answer within 10s")
    projects = tuple(
        replace(each, source_problem=problem) if each.name == project else each for each in world.desired.projects
    )
    world.desired = replace(world.desired, projects=projects)


def _source_never_read(world: World, project: str) -> None:
    _source_problem(world, project)
    projects = tuple(
        replace(each, commit=None, dockerfile=None, source_key="", config_digest="") if each.name == project else each
        for each in world.desired.projects
    )
    world.desired = replace(world.desired, projects=projects)


def _pass(world: World, count: int) -> None:
    for _ in range(count):
        world.apply(world.plan())


def _until(world: World, state: str) -> None:
    """Passes and jobs, until an open deployment is in `state`."""
    for _ in range(20):
        if any(each.state == state for each in world.deployments.values()):
            return
        plan = world.plan()
        world.finish_jobs() if plan.is_empty else world.apply(plan)
    raise AssertionError(f"no deployment came to be {state}")


def _edit(world: World, changes: dict[str, Any]) -> None:
    name = _container(changes.pop("container"))
    if "memory_m" in changes:
        changes["memory_bytes"] = changes.pop("memory_m") * MB
    world.edit(name, **changes)


def _upstream(world: World, ports: dict[str, int | None]) -> None:
    for project, port in ports.items():
        world.upstreams.pop(project, None)
        if port is not None:
            world.upstreams[project] = port


def _caddy(world: World, how: str) -> None:
    if how in ("up", "down"):
        world.caddy_up = how == "up"
    elif how == "empty":
        world.routes = Routes("")
    elif how == "edited":
        world.routes = replace(world.routes, digest="another")
    else:
        hosts = tuple(pair for pair in world.routes.hosts if pair[0] != how)
        world.routes = replace(world.routes, digest="another", hosts=hosts)


def _image(world: World, projects: dict[str, dict[str, Any]]) -> None:
    """Images of these were built before."""
    elsewhere = World(world.host)
    _want(elsewhere, projects)
    settle(elsewhere, until=elsewhere.now)
    world.images.update(elsewhere.images)


def _image_of(world: World, short: str) -> Image:
    """`blog-d1`: the image of that deployment."""
    project, _, number = short.rpartition("-d")
    return world.images[world.deployments[project, int(number)].image_id]


def _named_by_somebody(world: World, short: str) -> None:
    image = _image_of(world, short)
    world.images[image.id] = replace(image, names=(*image.names, "theirs:latest"))


def _built_upon(world: World, short: str) -> None:
    """Somebody built upon it without a name: the engine hands our labels on."""
    world.images["theirs"] = replace(_image_of(world, short), id="theirs", names=())


def _nameless(world: World, short: str) -> None:
    """Its name went to a newer image of the same tag."""
    image = _image_of(world, short)
    world.images[image.id] = replace(image, names=())


def _refuse(world: World, refusals: dict[str, list[str]]) -> None:
    """Operations that fail from now on: kind or resource, and the error."""
    world.refusals = {key: getattr(errors, kind)(text) for key, (kind, text) in refusals.items()}


def _approve(world: World, project: str) -> None:
    waiting = next(each.waiting for each in world.plan().projects if each.project == project)
    assert waiting is not None
    world.approved.add(waiting.digest)


def _ask(world: World, digest_of: Callable[[str, int], str], short: str) -> None:
    """`blog-d1`: what a person asks is kept as a digest."""
    project, _, number = short.rpartition("-d")
    world.approved.add(digest_of(project, int(number)))


def _wait(world: World, seconds: float) -> None:
    world.now += seconds


def _fail_job(world: World, outcome: dict[str, Any]) -> None:
    """The one job that runs fails."""
    (key,) = world.running_jobs()
    world.fail_job(key, Reason(outcome["reason"]), outcome["message"], retryable=outcome.get("retryable", False))


STEPS: dict[str, Callable[..., Any]] = {
    "want": _want,
    "spec invalid": _spec_invalid,
    "spec invalid, last good holds": _spec_invalid_last_good_holds,
    "source problem": _source_problem,
    "source never read": _source_never_read,
    "half a revision": lambda world, _: setattr(
        world, "desired", replace(world.desired, complete=False, projects=(), names=frozenset())
    ),
    "rest for": lambda world, seconds: settle(world, until=world.now + seconds),
    "passes": _pass,
    "until": _until,
    "jobs end": lambda world, _: world.finish_jobs(),
    "job fails": _fail_job,
    "wait": _wait,
    "apps": lambda world, faults: world.faults.update(faults),
    "kill": lambda world, short: world.kill(_container(short)),
    "exits": lambda world, end: world.kill(_container(end[0]), exit_code=end[1]),
    "remove": lambda world, short: world.containers.pop(_container(short)),
    "edit": _edit,
    "upstream": _upstream,
    "caddy": _caddy,
    "engine": lambda world, how: setattr(world, "engine_up", how == "up"),
    "port taken": lambda world, port: world.foreign_ports.add(port),
    "ports": lambda world, ports: setattr(world, "host", replace(HOST, ports=tuple(ports))),
    "image built": _image,
    "images removed": lambda world, _: world.images.clear(),
    "refuse": _refuse,
    "store lost": lambda world, _: world.lose_store(),
    "reconciler killed": lambda world, _: world.crash(),
    "approve": _approve,
    "cancel": lambda world, short: _ask(world, gates.cancellation, short),
    "retry": lambda world, short: _ask(world, gates.retry, short),
    "disk measured": lambda world, values: world.measure(**(values or {})),
    "disk problem": lambda world, text: setattr(world, "disk_problem", text),
    "disk budget": lambda world, megabytes: setattr(
        world, "host", replace(world.host, disk_budget_bytes=megabytes * MB)
    ),
    "named by somebody": _named_by_somebody,
    "built upon": _built_upon,
    "nameless": _nameless,
    "stranger": lambda world, values: world.add_foreign(_container(values) if "-d" in values else values),
}


def tell(world: World, story: list[dict[str, Any]]) -> None:
    for step in story:
        for what, value in step.items():
            STEPS[what](world, value)


def says(plan: Plan, project: str) -> str:
    verdict = plan.of(project).verdict  # type: ignore[union-attr]
    assert verdict is not None
    return f"{verdict.health} {verdict.conditions[0].reason}: {verdict.conditions[0].message}"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_plan_of_case(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    world = World()
    assert case["about"]
    for scene in case["scenes"]:
        tell(world, scene["story"])
        plan = world.plan()
        assert render(plan) == scene["plan"]
        for project, sentence in scene.get("says", {}).items():
            assert says(plan, project) == sentence
        if scene.get("wakes_in") == "never":
            assert plan.wake_at == 0
        elif "wakes_in" in scene:
            assert plan.wake_at - world.now == pytest.approx(scene["wakes_in"], rel=0.11)


def test_there_are_cases_for_everything_that_a_plan_may_say() -> None:
    text = "".join(path.read_text() for path in CASES)
    assert len(CASES) >= 25
    for verb in ("deploy", "build", "create", "start", "check", "switch", "verify", "live", "stop", "remove", "adopt"):
        assert f"  {verb} " in text
