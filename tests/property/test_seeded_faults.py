"""Planners that are wrong on purpose: `Safety` and `at_rest` must catch each of them.

A fault is the real plan, altered, or the real planner given something false; a scenario is a short life of a
server. Shows that the property test would notice such a fault, without mocks (acceptance 6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from reconciler.model import operation as ops
from reconciler.model.observed import Image
from reconciler.model.operation import Cause, Operation
from reconciler.model.plan import Plan, ProjectPlan
from reconciler.model.release import State
from reconciler.plan import planner
from tests.property.safety import Broken, Safety, approve, at_rest
from tests.world import INSTANCE, NotConverged, World, desired_project, settle

Planner = Callable[[World], Plan]
WRONG = Cause("change", "a fault on purpose")


# ---- scenarios -----------------------------------------------------------------------------


@dataclass
class Life:
    """One server, lived with one planner, watched."""

    planner_: Planner

    def __post_init__(self) -> None:
        self.world = World()
        self.world.faults = {"bad0build": "build", "bad3check": "check"}
        self.safety = Safety(self.world)

    def want(self, *projects: tuple[str, str], complete: bool = True) -> None:
        self.world.want(*(desired_project(name, commit) for name, commit in projects), complete=complete)
        self.safety.desired_changed()

    def watch(self, operation: Operation) -> None:
        self.safety.probes_ended()
        self.safety.watch(operation)

    def rest(self, seconds: float = 1e9) -> None:
        settle(self.world, planner_=self.planner_, watch=self.watch, passes=60, until=self.world.now + seconds)

    def passes(self, count: int) -> None:
        for _ in range(count):
            self.world.apply(self.planner_(self.world), watch=self.watch)
            self.world.finish_jobs()


def update(life: Life) -> None:
    """Two projects go live, then both get a newer commit."""
    life.want(("blog", "aaa1111"), ("docs", "aaa1111"))
    life.rest(10)
    life.want(("blog", "bbb2222"), ("docs", "bbb2222"))
    life.rest(10)
    life.rest(100)
    at_rest(life.world)


def newer_in_mid_build(life: Life) -> None:
    life.want(("blog", "aaa1111"))
    life.rest(10)
    life.want(("blog", "bbb2222"))
    life.passes(1)
    life.want(("blog", "ccc3333"))
    life.rest(100)
    at_rest(life.world)


def failing_update(life: Life) -> None:
    life.want(("blog", "aaa1111"))
    life.rest(10)
    for commit in ("bad3check", "bad0build"):
        life.want(("blog", commit))
        life.rest(100)
    at_rest(life.world)


def unverified_update(life: Life) -> None:
    """The new release passes its check and then dies while it is verified."""
    life.want(("blog", "aaa1111"))
    life.rest(10)
    life.want(("blog", "bbb2222"))
    while life.world.upstreams["blog"] == 20000:
        life.passes(1)
    life.world.kill("gs-k3v9qa-blog-d2-web-1", exit_code=1)
    life.world.faults["bbb2222"] = "crash"
    life.rest(100)
    at_rest(life.world)


def removal(life: Life) -> None:
    """One of four projects leaves Git, then comes a revision that could not be read whole."""
    life.want(*((name, "aaa1111") for name in ("blog", "docs", "shop", "wiki")))
    life.rest(10)
    life.want(("blog", "aaa1111"), ("docs", "aaa1111"), ("shop", "aaa1111"))
    life.rest(100)
    life.want(("blog", "aaa1111"), ("docs", "aaa1111"), complete=False)
    life.rest(100)
    at_rest(life.world)


def mass_removal(life: Life) -> None:
    """Three of four leave Git at once; two of these removals are approved, one is not."""
    life.want(*((name, "aaa1111") for name in ("blog", "docs", "shop", "wiki")))
    life.rest(10)
    life.want(("blog", "aaa1111"))
    life.rest(10)
    for name in ("docs", "shop"):
        approve(life.world, life.safety, name)
    life.rest(10)
    at_rest(life.world)


def strangers(life: Life) -> None:
    """Somebody else's containers, ports and images are about; our store is lost."""
    life.world.foreign_ports |= {20000, 20003}
    life.want(("blog", "aaa1111"), ("docs", "aaa1111"))
    life.rest(10)
    worn = life.world.containers["gs-k3v9qa-blog-d1-web-1"].identity
    life.world.add_foreign("copy-of-blog", identity=worn)
    life.world.images["theirs"] = Image("theirs", ("theirs:latest",), INSTANCE, "blog", "0123")
    life.world.lose_store()
    life.want(("docs", "aaa1111"))
    life.rest(100)
    approve(life.world, life.safety, "blog")
    life.rest(100)
    at_rest(life.world)


SCENARIOS = (update, newer_in_mid_build, failing_update, unverified_update, removal, mass_removal, strangers)


# ---- faults --------------------------------------------------------------------------------


def altered(change: Callable[[World, ProjectPlan, list[Operation]], list[Operation]]) -> Planner:
    """The real plan with the operations of each project changed."""

    def wrong(world: World) -> Plan:
        found = world.plan()
        projects = [
            replace(each, operations=tuple(change(world, each, list(each.operations)))) for each in found.projects
        ]
        return replace(found, projects=tuple(projects))

    return wrong


def without(kind: type[Operation], condition: Callable[[Operation], bool] = lambda _: True) -> Planner:
    return altered(
        lambda world, plan, todo: [each for each in todo if not (isinstance(each, kind) and condition(each))]
    )


def leases_a_port_twice(world: World, plan: ProjectPlan, todo: list[Operation]) -> list[Operation]:
    return [
        replace(each, identity=replace(each.identity, port=20001)) if isinstance(each, ops.CreateContainer) else each
        for each in todo
    ]


def removes_before_the_switch(world: World, plan: ProjectPlan, todo: list[Operation]) -> list[Operation]:
    """The old container goes when the new one is made: what recreating in place does."""
    live = world.of(plan.project, world.row(plan.project).live)
    if live is None or not any(isinstance(each, ops.CreateContainer) for each in todo):
        return todo
    about = {"container_id": live.id, "container": live.name}
    number = world.row(plan.project).live
    return [ops.RemoveContainer(project=plan.project, cause=WRONG, deployment=number, **about), *todo]


def skips_the_gate(world: World, plan: ProjectPlan, todo: list[Operation]) -> list[Operation]:
    return [*todo, *plan.held]


def switches_before_the_probe(world: World, plan: ProjectPlan, todo: list[Operation]) -> list[Operation]:
    return [
        each
        if not isinstance(each, ops.StartProbe)
        else ops.WriteUpstream(project=each.project, cause=WRONG, deployment=each.deployment, port=each.port)
        for each in todo
    ]


def is_live_without_verifying(world: World, plan: ProjectPlan, todo: list[Operation]) -> list[Operation]:
    return [
        each
        if not isinstance(each, ops.StartVerify)
        else ops.MarkLive(
            project=each.project,
            cause=WRONG,
            deployment=each.deployment,
            previous=world.row(each.project).live,
            drain_s=30.0,
        )
        for each in todo
    ]


def does_not_drain(world: World, plan: ProjectPlan, todo: list[Operation]) -> list[Operation]:
    """The old container is stopped in the run that makes the new one live."""
    marks = [each for each in todo if isinstance(each, ops.MarkLive) and each.previous]
    old = world.of(plan.project, marks[0].previous) if marks else None
    if old is None:
        return todo
    about = {"container_id": old.id, "container": old.name}
    return [*todo, ops.StopContainer(project=plan.project, cause=WRONG, deployment=marks[0].previous, **about)]


def touches_foreign_containers(world: World, plan: ProjectPlan, todo: list[Operation]) -> list[Operation]:
    """Labels alone are taken for proof."""
    worn = [each for each in world.containers.values() if each.id not in world.ours and each.identity is not None]
    return [
        *todo,
        *(
            ops.RemoveContainer(
                project=plan.project, cause=WRONG, deployment=1, container_id=each.id, container=each.name
            )
            for each in worn
        ),
    ]


def removes_images_by_any_name(world: World, plan: ProjectPlan, todo: list[Operation]) -> list[Operation]:
    if not any(isinstance(each, ops.RemoveImage) for each in todo):
        return todo
    return [*todo, ops.RemoveImage(project=plan.project, cause=WRONG, image="theirs:latest", image_id="theirs")]


def removes_the_upstream_under_its_route(world: World, plan: ProjectPlan, todo: list[Operation]) -> list[Operation]:
    if not any(isinstance(each, ops.PutRoutes) for each in todo):
        return todo
    left = sorted(world.upstreams.keys() - world.desired.names)
    return [*(ops.RemoveUpstream(project=name, cause=WRONG) for name in left), *todo]


def writes_what_is_equal(world: World, plan: ProjectPlan, todo: list[Operation]) -> list[Operation]:
    """The upstream file is written in every pass, changed or not."""
    live = world.of(plan.project, world.row(plan.project).live)
    if todo or live is None:
        return todo
    number = world.row(plan.project).live
    return [ops.WriteUpstream(project=plan.project, cause=WRONG, deployment=number, port=live.host_ports[0])]


def does_not_give_back(world: World, plan: ProjectPlan, todo: list[Operation]) -> list[Operation]:
    """A deployment ends while it is being switched, and the upstream file stays as it is."""
    ended = any(isinstance(each, ops.EndDeployment) for each in todo)
    return [each for each in todo if not (ended and isinstance(each, ops.WriteUpstream))]


def removes_on_half_a_revision(world: World) -> Plan:
    return planner.plan(replace(world.desired, complete=True), world.observe(), world.history(), world.host)


def retries_what_failed_for_good(world: World) -> Plan:
    history = world.history()
    forgetful = {name: replace(past, last_ended=None) for name, past in history.projects.items()}
    return planner.plan(world.desired, world.observe(), replace(history, projects=forgetful), world.host)


def leases_what_others_listen_on(world: World) -> Plan:
    return planner.plan(world.desired, replace(world.observe(), listening=frozenset()), world.history(), world.host)


def forgets_the_inventory_gate(world: World) -> Plan:
    history = world.history()
    trusting = {name: replace(past, adopted=False) for name, past in history.projects.items()}
    known = frozenset(world.ours)
    history = replace(history, projects=trusting, inventory=known)
    return planner.plan(world.desired, world.observe(), history, world.host)


def approves_of_itself(world: World) -> Plan:
    """One approval is taken for all of a mass removal."""
    history = world.history()
    waiting = {each.waiting.digest for each in world.plan().projects if each.waiting is not None}
    approved = history.approved | (waiting if history.approved else set())
    return planner.plan(world.desired, world.observe(), replace(history, approved=approved), world.host)


def _ends(state: State) -> Callable[[Operation], bool]:
    return lambda each: isinstance(each, ops.EndDeployment) and each.state is state


FAULTS: dict[str, tuple[Planner, Callable[[Life], None]]] = {
    "drops the switch": (without(ops.WriteUpstream), update),
    "leases a port twice": (altered(leases_a_port_twice), update),
    "leases what others listen on": (leases_what_others_listen_on, strangers),
    "removes before the switch": (altered(removes_before_the_switch), update),
    "switches before the probe": (altered(switches_before_the_probe), update),
    "is live without verifying": (altered(is_live_without_verifying), update),
    "does not drain": (altered(does_not_drain), update),
    "never stops the old one": (without(ops.StopContainer), update),
    "keeps what an engine restart would revive": (without(ops.SetRestartPolicy), update),
    "forgets the routes": (without(ops.PutRoutes), update),
    "writes what is equal": (altered(writes_what_is_equal), update),
    "forgets to end what is superseded": (without(ops.EndDeployment, _ends(State.SUPERSEDED)), newer_in_mid_build),
    "retries what failed for good": (retries_what_failed_for_good, failing_update),
    "leaves failed containers behind": (without(ops.RemoveContainer), failing_update),
    "does not give visitors back": (altered(does_not_give_back), unverified_update),
    "skips the gate": (altered(skips_the_gate), mass_removal),
    "takes some approvals for all": (approves_of_itself, mass_removal),
    "removes on half a revision": (removes_on_half_a_revision, removal),
    "removes the upstream file under its route": (altered(removes_the_upstream_under_its_route), removal),
    "trusts labels after the store was lost": (forgets_the_inventory_gate, strangers),
    "touches foreign containers": (altered(touches_foreign_containers), strangers),
    "removes images by any name": (altered(removes_images_by_any_name), strangers),
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_the_planner_lives_through(scenario: Callable[[Life], None]) -> None:
    scenario(Life(World.plan))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planner_is_caught_that(fault: str) -> None:
    wrong, scenario = FAULTS[fault]
    with pytest.raises((Broken, NotConverged)):
        scenario(Life(wrong))
