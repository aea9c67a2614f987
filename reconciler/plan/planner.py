"""Joins the passes: desired, observed, history and this host in; a plan out.

Called by the loop for each run and by `gitstead plan`; pure, `observed.at` is the only clock.
Looks at the whole host, since ports and host names clash across projects.
"""

from __future__ import annotations

from reconciler.model.condition import Reason
from reconciler.model.desired import Desired
from reconciler.model.host import Host
from reconciler.model.job import Job
from reconciler.model.observed import Container, Engine, Observed
from reconciler.model.operation import PLATFORM, AdoptDeployment, Cause, Operation, StartBuild
from reconciler.model.plan import Plan, ProjectPlan
from reconciler.model.release import History
from reconciler.plan import containers, prune, rollout, routing, trouble
from reconciler.plan.health import Planned, judge, unknown
from reconciler.plan.opening import Opening, open_deployment
from reconciler.plan.ports import Ports
from reconciler.plan.view import View, World, identity


def plan(desired: Desired, observed: Observed, history: History, host: Host) -> Plan:
    """Everything that should happen now, per project, the platform's routes first."""
    unknowns = _unknowns(desired, observed)
    ports = Ports(host, observed)
    world = World(desired, observed, history, host, ports)
    if observed.engine is None:
        return Plan(desired.revision, _blind(world), unknowns)
    owned = _owned(world, observed.engine)
    orphaned = prune.orphans(world, frozenset(owned))
    mass = prune.is_mass_removal(orphaned, frozenset(owned))
    views = {name: _view(world, observed.engine, name, owned.get(name, ())) for name in _names(desired, owned)}
    gone = frozenset(name for name in orphaned if prune.gate(views[name], mass=mass) is None)
    routes = routing.route(world, gone)
    ready = World(desired, observed, history, host, ports, routes_ready=routing.is_ready(world, gone))
    slots = _Slots(host.builds, observed)
    plans = [_platform_plan(world, routes)] if routes is not None else []
    for name in _fair_order(views):
        view = View(ready, name, views[name].desired, views[name].past, observed.engine, views[name].containers)
        if name in orphaned:
            plans.append(_orphan_plan(view, mass=mass))
        else:
            plans.append(_project_plan(view, slots))
    return Plan(desired.revision, tuple(sorted(plans, key=lambda each: each.project)), unknowns)


def _unknowns(desired: Desired, observed: Observed) -> tuple[str, ...]:
    texts = []
    if observed.engine is None:
        texts.append(f"Docker does not answer: {observed.engine_problem}")
    if observed.routes is None:
        texts.append(f"Caddy does not answer: {observed.caddy_problem}")
    if desired.problem:
        texts.append(desired.problem)
    return tuple(texts)


def _blind(world: World) -> tuple[ProjectPlan, ...]:
    message = f"Docker does not answer ({world.observed.engine_problem}); nothing is concluded from its silence"
    verdict = unknown(Reason.ENGINE_UNAVAILABLE, message)
    return tuple(
        ProjectPlan(name, verdict=verdict) for name in sorted(world.desired.names | set(world.history.projects))
    )


def _owned(world: World, engine: Engine) -> dict[str, tuple[Container, ...]]:
    """Projects that we have something of, with their containers, newest deployment first."""
    found: dict[str, list[Container]] = {}
    for container in engine.containers:
        if container.identity is not None and container.identity.instance == world.host.instance:
            found.setdefault(container.identity.project, []).append(container)
    for name in world.observed.upstreams:
        found.setdefault(name, [])
    for network in engine.networks:
        if network.instance == world.host.instance and network.project:
            found.setdefault(network.project, [])
    for name, past in world.history.projects.items():
        if past.live is not None or past.open is not None:
            found.setdefault(name, [])
    return {
        name: tuple(sorted(each, key=lambda container: -identity(container).deployment)) for name, each in found.items()
    }


def _names(desired: Desired, owned: dict[str, tuple[Container, ...]]) -> list[str]:
    return sorted(desired.names | {project.name for project in desired.projects} | owned.keys())


def _view(world: World, engine: Engine, name: str, own: tuple[Container, ...]) -> View:
    return View(world, name, world.desired.find(name), world.history.of(name), engine, own)


def _fair_order(views: dict[str, View]) -> list[str]:
    """Who waits longest for a build slot comes first."""

    def waiting_since(name: str) -> tuple[float, str]:
        under_way = views[name].past.open
        return (under_way.created_at if under_way else float("inf")), name

    return sorted(views, key=waiting_since)


class _Slots:
    """Build slots of this host, less those in use."""

    def __init__(self, builds: int, observed: Observed) -> None:
        self.free = builds - sum(_is_build(job) for job in observed.jobs.values())

    def use(self, operations: tuple[Operation, ...]) -> None:
        self.free -= sum(isinstance(each, StartBuild) for each in operations)


def _is_build(job: Job) -> bool:
    return job.key.kind == "build" and job.state == "running"


def _platform_plan(world: World, routes: Operation) -> ProjectPlan:
    due = trouble.due_at(world.history.last_failures.get(PLATFORM))
    return ProjectPlan(PLATFORM, (routes,)) if world.now >= due else ProjectPlan(PLATFORM, wake_at=due)


def _project_plan(view: View, slots: _Slots) -> ProjectPlan:
    adopted = _adopt(view)
    if adopted is not None:
        return ProjectPlan(view.project, (adopted,), verdict=judge(view, Planned((adopted,))))
    held_until, end = trouble.holds(view)
    if end is not None or view.now < held_until:
        operations = () if end is None else (end,)
        verdict = judge(view, Planned(operations))
        return ProjectPlan(view.project, operations, verdict=verdict, wake_at=held_until)
    opening, times = Opening(), []
    if view.past.open is not None:
        operations = rollout.advance(view, view.past.open, may_build=slots.free > 0)
        times.append(view.past.open.deadline_at)
    else:
        opening = open_deployment(view, may_build=slots.free > 0)
        operations = opening.operations
        times.append(opening.due_at)
    slots.use(operations)
    repairs, repair_due = containers.repair(view, view.past.live) if view.past.live else ((), 0.0)
    cleared, clear_due = containers.leftovers(view)
    everything = (*repairs, *operations, *cleared)
    wake_at = min((at for at in (*times, repair_due, clear_due) if at > view.now), default=0.0)
    verdict = judge(view, Planned(everything, opening, repair_due_at=repair_due))
    return ProjectPlan(view.project, everything, verdict=verdict, wake_at=wake_at)


def _adopt(view: View) -> AdoptDeployment | None:
    """Invariant 10: what serves and is unknown to history was made by us before this store existed."""
    if view.past.live is not None or view.past.open is not None:
        return None
    serving = view.served_by or next((each for each in view.containers if each.state == "running"), None)
    if serving is None or identity(serving).deployment <= view.past.last_number:
        return None
    return AdoptDeployment(
        project=view.project,
        deployment=identity(serving).deployment,
        cause=Cause("drift", "it runs, and this store does not know it"),
        identity=identity(serving),
    )


def _orphan_plan(view: View, *, mass: bool) -> ProjectPlan:
    waiting = prune.gate(view, mass=mass)
    adopted = _adopt(view)
    if adopted is not None:
        return ProjectPlan(view.project, (adopted,), verdict=judge(view, Planned((adopted,), orphan=True)))
    removal = prune.remove(view)
    if waiting is not None:
        verdict = judge(view, Planned(waiting=waiting, orphan=True))
        return ProjectPlan(view.project, verdict=verdict, waiting=waiting, held=removal)
    routed = view.world.observed.routes is None or any(
        project == view.project for _, project in view.world.observed.routes.hosts
    )
    operations = () if routed else removal
    return ProjectPlan(view.project, operations, verdict=judge(view, Planned(operations, orphan=True)))
