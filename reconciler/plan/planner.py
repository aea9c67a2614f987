"""Joins the passes: desired, observed, history and this host in; a plan out.

Called by the loop for each run and by `gitstead plan`; pure, `observed.at` is the only clock.
Looks at the whole host, since ports and host names clash across projects.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from reconciler.model.condition import Reason
from reconciler.model.desired import Desired
from reconciler.model.host import Host
from reconciler.model.job import Job
from reconciler.model.observed import Container, Engine, Observed
from reconciler.model.operation import PLATFORM, Operation, StartBuild, StartContainer
from reconciler.model.plan import Plan, ProjectPlan, Waiting
from reconciler.model.release import History
from reconciler.plan import collection, containers, prune, rollout, routing, trouble
from reconciler.plan.containers import Repair
from reconciler.plan.health import Planned, judge, unknown, waits_for_disk
from reconciler.plan.opening import Opening, open_deployment
from reconciler.plan.ownership import adoption, owned
from reconciler.plan.ports import Ports
from reconciler.plan.view import View, World

DISK_AGAIN_S = 30.0


def plan(desired: Desired, observed: Observed, history: History, host: Host) -> Plan:
    """Everything that should happen now, per project, the platform's routes first."""
    world = World(desired, observed, history, host, Ports(host, observed))
    unknowns = _unknowns(desired, observed)
    if observed.engine is None:
        return Plan(desired.revision, (*_platform_plan(world, frozenset()), *_blind(world)), unknowns)
    own = owned(world, observed.engine)
    views = {name: _view(world, observed.engine, name, own.get(name, ())) for name in _names(desired, own)}
    removals = _removals(world, views, frozenset(own))
    gone = frozenset(name for name, waiting in removals.items() if waiting is None and adoption(views[name]) is None)
    slots = _Slots(host.builds, observed)
    collected = collection.collect(world, observed.engine, views)
    plans = [*_platform_plan(world, gone)]
    for name in _fair_order(views):
        if name in removals:
            plans.append(_orphan_plan(views[name], removals[name]))
        else:
            plans.append(_project_plan(views[name], slots, collected.get(name, ())))
    return Plan(desired.revision, tuple(sorted(plans, key=lambda each: each.project)), unknowns)


def _removals(world: World, views: dict[str, View], own: frozenset[str]) -> dict[str, Waiting | None]:
    """The projects that left Git, and what holds the removal of each."""
    orphaned = prune.orphans(world, own)
    mass = tuple(views[name] for name in sorted(orphaned)) if prune.is_mass_removal(orphaned, own) else ()
    return {name: prune.gate(views[name], mass) for name in orphaned}


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
    known = {name for name, past in world.history.projects.items() if past.live is not None or past.open is not None}
    return tuple(ProjectPlan(name, verdict=verdict) for name in sorted(world.desired.names | known))


def _names(desired: Desired, own: dict[str, tuple[Container, ...]]) -> list[str]:
    return sorted(desired.names | {project.name for project in desired.projects} | own.keys())


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
        self.free = builds - sum(_is_build(job) for job in observed.jobs.values()) - observed.reserved_builds

    def use(self, operations: tuple[Operation, ...]) -> None:
        self.free -= sum(isinstance(each, StartBuild) for each in operations)


def _is_build(job: Job) -> bool:
    return job.key.kind == "build" and job.state == "running"


def _platform_plan(world: World, gone: frozenset[str]) -> tuple[ProjectPlan, ...]:
    pruning = collection.prune_cache(world)
    routes = routing.route(world, gone)
    if routes is None:
        return (ProjectPlan(PLATFORM, pruning),) if pruning else ()
    failure = world.history.last_failures.get(PLATFORM)
    due = trouble.due_at(failure)
    if failure is None or failure.resource != routes.resource or world.now >= due:
        return (ProjectPlan(PLATFORM, (routes, *pruning)),)
    return (ProjectPlan(PLATFORM, pruning, wake_at=due, retry_at=due),)


def _project_plan(view: View, slots: _Slots, collected: tuple[Operation, ...]) -> ProjectPlan:
    taken_over, end = adoption(view), trouble.end(view)
    if taken_over is not None:
        return _joined(view, steps=(taken_over,), planned=Planned(taken_over=taken_over.identity.container_name))
    if end:
        return _joined(view, steps=end)
    repair, cleared, due = _kept(view)
    opening = Opening()
    may_build = slots.free > 0 and not view.world.observed.disk_problem
    if view.past.open is not None:
        steps = rollout.advance(view, view.past.open, may_build=may_build)
        due.append(view.past.open.deadline_at)
    else:
        opening = open_deployment(view, may_build=may_build)
        steps = opening.operations
    if waits_for_disk(view, opening):
        due.append(view.now + DISK_AGAIN_S)
    steps = trouble.up_to_failed(view, steps)
    slots.use(steps)
    planned = Planned(opening, repair, opening.waiting)
    return _joined(view, steps=steps, cleared=(*cleared, *collected), planned=planned, due=due, held=opening.held)


def _orphan_plan(view: View, waiting: Waiting | None) -> ProjectPlan:
    taken_over = adoption(view)
    if taken_over is not None:
        planned = Planned(taken_over=taken_over.identity.container_name, orphan=True)
        return _joined(view, steps=(taken_over,), planned=planned)
    if waiting is not None:
        repair, cleared, due = _kept(view)
        planned = Planned(repair=repair, waiting=waiting, orphan=True)
        return _joined(view, steps=prune.stay(view), cleared=cleared, planned=planned, due=due, held=prune.remove(view))
    routes = view.world.observed.routes
    routed = routes is None or any(project == view.project for _, project in routes.hosts)
    removal = prune.remove(view)
    planned = Planned(orphan=True)
    return _joined(view, steps=() if routed else removal, planned=planned, held=removal if routed else ())


def _kept(view: View) -> tuple[Repair, tuple[Operation, ...], list[float]]:
    """Repairs of what is live, operations on leftovers, and when time alone changes them."""
    repair = containers.repair(view, view.past.live) if view.past.live else Repair()
    cleared, cleared_at = containers.leftovers(view)
    return repair, cleared, [repair.due_at, cleared_at]


def _joined(
    view: View,
    *,
    steps: tuple[Operation, ...],
    cleared: tuple[Operation, ...] = (),
    planned: Planned | None = None,
    due: Iterable[float] = (),
    held: tuple[Operation, ...] = (),
) -> ProjectPlan:
    """The project's plan: repairs first, then the rollout, then what is cleared away."""
    planned = planned or Planned()
    repairs = trouble.up_to_failed(view, planned.repair.operations)
    if containers.is_switching(view) and any(isinstance(each, StartContainer) for each in repairs):
        steps = ()  # who gets the visitors back is decided when the old one runs again
    operations = (*repairs, *trouble.up_to_failed(view, steps), *trouble.without_failed(view, cleared))
    quiet_until, failed_until = trouble.quiet_until(view.failure), trouble.due_at(view.failure)
    failed = view.failure.resource if view.failure else ""
    is_mended = view.now >= failed_until and all(each.resource != failed for each in operations)
    retries = (planned.opening.due_at, planned.repair.due_at, failed_until)
    return ProjectPlan(
        view.project,
        operations if view.now >= quiet_until else (),
        verdict=judge(view, replace(planned, is_mended=is_mended)),
        waiting=planned.waiting,
        held=held,
        wake_at=_next(view, (*due, *retries, quiet_until)),
        retry_at=_next(view, retries),
        partial=view.now < failed_until,
    )


def _next(view: View, times: Iterable[float]) -> float:
    return min((at for at in times if at > view.now), default=0.0)
