"""Keeps the containers of what already went live, and clears away what serves nobody.

Two passes of `planner`; pure. `repair` puts back what the world moved on the live deployment;
`leftovers` stops what has drained, keeps the previous release and removes the rest. Neither
ever touches the container that the upstream file names.
"""

from __future__ import annotations

from typing import TypedDict

from reconciler.model.observed import Container
from reconciler.model.operation import (
    Cause,
    Operation,
    RemoveContainer,
    SetRestartPolicy,
    StopContainer,
    WriteUpstream,
)
from reconciler.model.release import Deployment, State
from reconciler.model.spec import RunSpec
from reconciler.plan.backoff import repair_at
from reconciler.plan.rollout import KEPT_POLICY, LIVE_POLICY, create, new_identity, start_operation
from reconciler.plan.view import View, identity

STOPPED = ("exited", "dead", "created")
STOP_GRACE_S = 10.0
Timed = tuple[tuple[Operation, ...], float]


def repair(view: View, live: Deployment) -> Timed:
    """Operations that make the live deployment run and be reached, and when to look again (0 = no need)."""
    container = view.container_of(live.number)
    if container is None:
        return _recreate(view, live, f"container {_name(view, live)} was removed by hand"), 0.0
    if container.state in STOPPED:
        return _start_again(view, live, container)
    if container.state != "running":
        return (), 0.0
    return (*_reach(view, live, container), *_policy(container, LIVE_POLICY)), 0.0


def _name(view: View, live: Deployment) -> str:
    return new_identity(view, live, release=1, image_id="", port=1).container_name


def _recreate(view: View, live: Deployment, text: str) -> tuple[Operation, ...]:
    if not view.has_image(live.image_id):
        return ()
    port = view.upstream if view.upstream and _is_free(view, view.upstream) else view.world.ports.lease()
    if port is None:
        return ()
    who = new_identity(view, live, release=live.release, image_id=live.image_id, port=port)
    cause = Cause("drift", text)
    again = create(view, live, who, restart_policy=LIVE_POLICY, cause=cause)
    switch = WriteUpstream(project=view.project, deployment=live.number, cause=cause, port=port)
    return (*again, *((switch,) if again and port != view.upstream else ()))


def _is_free(view: View, port: int) -> bool:
    published = any(port in each.host_ports for each in view.engine.containers)
    return not published and port not in view.world.observed.listening and port not in view.world.observed.reserved


def _start_again(view: View, live: Deployment, container: Container) -> Timed:
    due = repair_at(view.past.repairs, view.now, view.project)
    if view.now < due:
        return (), due
    if identity(container).port in view.world.observed.listening:
        text = f"port {identity(container).port} of {container.name} was taken by another program"
        removal = _remove(container, Cause("drift", text))
        return (removal, *_recreate(view, live, text)), 0.0
    text = f"container {container.name} was {container.state} (exit code {container.exit_code})"
    cause = Cause("drift", text)
    return (start_operation(container, cause), *_reach(view, live, container)), 0.0


def _reach(view: View, live: Deployment, container: Container) -> tuple[Operation, ...]:
    port = identity(container).port
    under_way = view.past.open
    if view.upstream == port or (under_way is not None and under_way.state is State.SWITCHING):
        return ()
    found = "is missing" if view.upstream is None else f"names port {view.upstream}"
    cause = Cause("drift", f"upstream file of {view.project} {found}, d{live.number} serves on {port}")
    return (WriteUpstream(project=view.project, deployment=live.number, cause=cause, port=port),)


def _policy(container: Container, policy: str) -> tuple[Operation, ...]:
    found = container.settings.restart_policy
    if found == policy:
        return ()
    cause = Cause("drift", f"restart policy of {container.name} is {found}, {policy} is wanted")
    return (SetRestartPolicy(**_about(container, cause), policy=policy),)


def drifted_fields(view: View, live: Deployment, run: RunSpec | None) -> tuple[str, ...]:
    """What was changed on the live container by hand and needs a fresh one; empty while it is unknown.

    Each item reads `field found → wanted`.
    """
    container = view.container_of(live.number)
    if container is None or run is None or container.state not in ("running", "paused"):
        return ()
    settings, who = container.settings, identity(container)
    compared = (
        ("memory", f"{settings.memory_bytes // 2**20}m", f"{run.memory_bytes // 2**20}m"),
        ("cpus", f"{settings.cpus:g}", f"{run.cpus:g}"),
        ("pids", str(settings.pids), str(run.pids)),
        ("network", ", ".join(settings.networks) or "none", view.network),
        ("name", container.name, who.container_name),
        ("state", container.state, "running"),
    )
    return tuple(f"{field} {found} → {wanted}" for field, found, wanted in compared if found != wanted)


def leftovers(view: View) -> Timed:
    """Operations on containers that are neither live nor under way, and when to look again."""
    operations: list[Operation] = []
    times: list[float] = []
    active = {each.number for each in (view.past.live, view.past.open) if each is not None}
    for container in view.containers:
        if identity(container).deployment in active or identity(container).port == view.upstream:
            continue
        done, due = _leftover(view, container)
        operations += done
        times += [due] if due else []
    return tuple(operations), min(times, default=0.0)


def _leftover(view: View, container: Container) -> Timed:
    number = identity(container).deployment
    drained_at = view.past.draining.get(number)
    running = container.state not in STOPPED
    if running and drained_at is not None:
        return (_stop(view, container), 0.0) if view.now >= drained_at else ((), drained_at)
    kept = view.past.previous_live
    if kept is None or kept.number != number:
        return (_remove(container, Cause("change", f"d{number} of {view.project} serves nobody")),), 0.0
    window_ends = kept.ended_at + (view.desired.spec.deploy.rollback_window_s if view.desired else 0.0)
    if view.now >= window_ends:
        return (_remove(container, Cause("change", f"the rollback window of d{number} has ended")),), 0.0
    return _stop(view, container), window_ends


def _stop(view: View, container: Container) -> tuple[Operation, ...]:
    """Stopped to be kept: its restart policy goes first, else an engine restart would revive it."""
    who = identity(container)
    stopping = view.job(who.deployment, "stop")
    if stopping is not None and stopping.state == "running":
        return ()
    cause = Cause("change", f"d{who.deployment} of {view.project} has drained")
    policy = SetRestartPolicy(**_about(container, cause), policy=KEPT_POLICY)
    return (
        *((policy,) if container.settings.restart_policy != KEPT_POLICY else ()),
        *((StopContainer(**_about(container, cause), grace_s=STOP_GRACE_S),) if container.state not in STOPPED else ()),
    )


class _About(TypedDict):
    project: str
    deployment: int
    cause: Cause
    container_id: str
    container: str


def _about(container: Container, cause: Cause) -> _About:
    who = identity(container)
    return _About(
        project=who.project, deployment=who.deployment, cause=cause, container_id=container.id, container=container.name
    )


def _remove(container: Container, cause: Cause) -> RemoveContainer:
    return RemoveContainer(**_about(container, cause))
