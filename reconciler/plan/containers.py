"""Keeps the containers of what already went live, and clears away what serves nobody.

Two passes of `planner`; pure. `repair` puts back what the world moved on the live deployment;
`leftovers` stops what has drained, keeps the previous release and removes the rest. Neither
ever stops or removes a running container that the upstream file names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from reconciler.model.condition import Reason
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
from reconciler.plan.causes import size
from reconciler.plan.creation import KEPT_POLICY, LIVE_POLICY, create, new_identity, port_is_taken, start_operation
from reconciler.plan.rollout import no_port
from reconciler.plan.view import View, identity

STOPPED = ("exited", "dead", "created")
STOP_GRACE_S = 10.0
HAD_VISITORS = (Reason.ROUTE_NOT_VERIFIED, Reason.DEADLINE_EXCEEDED)
Timed = tuple[tuple[Operation, ...], float]


@dataclass(frozen=True)
class Repair:
    """`due_at` is when the next start may happen (0: nothing waits); `blocked` says why it cannot be repaired."""

    operations: tuple[Operation, ...] = ()
    due_at: float = 0.0
    blocked: str = ""


def repair(view: View, live: Deployment) -> Repair:
    """Makes the live deployment run and be reached; nothing where it does."""
    container = view.container_of(live.number)
    if container is None or container.state in STOPPED:
        return _revive(view, live, container)
    if container.state != "running":
        return Repair()
    return Repair((*_reach(view, live, container), *_policy(container, LIVE_POLICY)))


def _revive(view: View, live: Deployment, container: Container | None) -> Repair:
    due = repair_at(view.past.repairs, view.now, view.project)
    if view.now < due:
        return Repair(due_at=due)
    broken = _why_again(view, live)
    if broken or container is None:
        return _recreate(view, live, container, broken)
    cause = Cause("drift", f"container {container.name} was {container.state} (exit code {container.exit_code})")
    return Repair((start_operation(container, cause), *_reach(view, live, container)))


def _why_again(view: View, live: Deployment) -> str:
    """Why the container must be made again, since a start does not help; "" where it need not."""
    container = view.container_of(live.number)
    if container is None:
        name = new_identity(view, live, release=1, image_id="", port=1).container_name
        return f"container {name} was removed by hand"
    if container.state == "dead":
        return f"container {container.name} is dead: the engine could not remove it"
    if container.state in STOPPED and port_is_taken(view, container):
        return f"port {identity(container).port} of {container.name} was taken by another program"
    return ""


def beyond_repair(view: View, live: Deployment) -> str:
    """Why the live container can only be replaced by a new deployment; "" where it runs or can be repaired."""
    if not _why_again(view, live):
        return ""
    if not view.has_image(live.image_id):
        return f"the image of r{live.release} is gone"
    if view.name_is_taken(live.number):
        return "somebody else's container has its name"
    return ""


def _recreate(view: View, live: Deployment, broken: Container | None, text: str) -> Repair:
    """The same container again, of the same image; `broken` makes way for it."""
    blocked = beyond_repair(view, live)
    if blocked:
        return Repair(blocked=blocked)
    port = view.world.ports.lease_again(view.upstream)
    if port is None:
        return Repair(blocked=no_port(view))
    cause = Cause("drift", text)
    who = new_identity(view, live, release=live.release, image_id=live.image_id, port=port)
    again = create(view, live, who, restart_policy=LIVE_POLICY, cause=cause)
    if not again:
        return Repair(blocked="its run settings are not known any more")
    switch = WriteUpstream(project=view.project, deployment=live.number, cause=cause, port=port)
    return Repair(
        (
            *((_remove(broken, cause),) if broken is not None else ()),
            *again,
            *((switch,) if port != view.upstream and not is_switching(view) else ()),
        )
    )


def is_switching(view: View) -> bool:
    """The upstream file belongs to the deployment under way, whose container answered."""
    return view.past.open is not None and view.past.open.state is State.SWITCHING


def _reach(view: View, live: Deployment, container: Container) -> tuple[Operation, ...]:
    port = identity(container).port
    if view.upstream == port or is_switching(view):
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


def drifted_fields(view: View, live: Deployment, run: RunSpec) -> tuple[str, ...]:
    """What was changed on the live container by hand and needs a fresh one; empty while it does not run.

    Each item reads `field found → wanted`.
    """
    container = view.container_of(live.number)
    if container is None or container.state not in ("running", "paused"):
        return ()
    settings, who = container.settings, identity(container)
    compared = (
        ("memory", size(settings.memory_bytes), size(run.memory_bytes)),
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
        if identity(container).deployment in active or container.state == "removing":
            continue
        if identity(container).port == view.upstream:
            continue
        done, due = _leftover(view, container)
        operations += done
        times += [due] if due else []
    return tuple(operations), min(times, default=0.0)


def _leftover(view: View, container: Container) -> Timed:
    number = identity(container).deployment
    running = container.state not in STOPPED
    drained_at = _drained_at(view, container)
    if running and drained_at:
        return (_stop(view, container), 0.0) if view.now >= drained_at else ((), drained_at)
    if _is_unknown(view, container):
        return (), 0.0
    kept = view.past.previous_live
    if kept is None or kept.number != number or container.state == "dead":
        return (_remove(container, Cause("change", f"d{number} of {view.project} serves nobody")),), 0.0
    if view.desired is None:
        return _stop(view, container), 0.0
    window_ends = kept.ended_at + view.desired.spec.deploy.rollback_window_s
    if view.now >= window_ends:
        return (_remove(container, Cause("change", f"the rollback window of d{number} has ended")),), 0.0
    return _stop(view, container), window_ends


def _drained_at(view: View, container: Container) -> float:
    """When a running container that had visitors may be stopped; 0 for one that had none."""
    number = identity(container).deployment
    last, live = view.past.last_ended, view.past.live
    if number in view.past.draining:
        return view.past.draining[number]
    if _is_unknown(view, container) and live is not None:
        return live.live_at + view.drain_s
    if last is not None and last.number == number and last.reason in HAD_VISITORS:
        until = last.ended_at + view.drain_s
        return until if view.now < until else 0.0
    return 0.0


def _is_unknown(view: View, container: Container) -> bool:
    """Found by its labels after the store was lost (invariant 10): stopped at most, until a release goes live."""
    return view.past.adopted and container.id not in view.world.history.inventory


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
