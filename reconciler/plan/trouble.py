"""What follows from an operation that failed: wait and try again, or end the deployment.

One pass of `planner`; pure. A failed operation is a row of history (`Failure`), cleared by the
next run of the project that goes well. Only the failed resource waits for its backoff: a
leftover that cannot be removed must not keep a repair or a newer push from happening.
"""

from __future__ import annotations

from reconciler.model.condition import Reason
from reconciler.model.naming import container_name
from reconciler.model.operation import Operation
from reconciler.model.release import Deployment, Failure
from reconciler.plan import ending
from reconciler.plan.backoff import FIRST_S, delay_s
from reconciler.plan.view import View

AT_ONCE = frozenset({"PortTaken", "CaddyConflict"})
TRIES_AT_ONCE = 5


def due_at(failure: Failure | None) -> float:
    """When the resource may be touched again; 0 where nothing failed.

    A port that was taken and a lost compare-and-swap are tried again at once, a few times:
    reading again is their cure.
    """
    if failure is None or (failure.reason in AT_ONCE and failure.attempts <= TRIES_AT_ONCE):
        return 0.0
    return failure.at + delay_s(failure.attempts, f"{failure.project}/{failure.resource}")


def quiet_until(failure: Failure | None) -> float:
    """Until when nothing at all of the project is done, lest two failures take turns without a pause."""
    if failure is None or (not failure.retryable and failure.attempts == 1):
        return 0.0
    return min(due_at(failure), failure.at + FIRST_S)


def up_to_failed(view: View, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """`operations`, which build on each other, up to the first one on a resource that must wait."""
    failure = view.failure
    if failure is None or view.now >= due_at(failure):
        return operations
    blocked = next((at for at, each in enumerate(operations) if each.resource == failure.resource), len(operations))
    return operations[:blocked]


def without_failed(view: View, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """`operations`, each on its own, without those on a resource that must wait."""
    failure = view.failure
    if failure is None or view.now >= due_at(failure):
        return operations
    return tuple(each for each in operations if each.resource != failure.resource)


def end(view: View) -> tuple[Operation, ...]:
    """How the open deployment ends, where an operation of it failed for good."""
    failure, under_way = view.failure, view.past.open
    if failure is None or under_way is None or not _is_fatal(view, failure, under_way):
        return ()
    if failure.attempts > 1 and view.now < due_at(failure):
        return ()
    reason = Reason(failure.reason) if failure.reason in set(Reason) else Reason.START_FAILED
    message = f"{failure.resource}: {failure.message}"
    return ending.failed(view, under_way, reason, message, hint="Push a fix", retryable=False)


def _is_fatal(view: View, failure: Failure, under_way: Deployment) -> bool:
    if failure.retryable or failure.at < under_way.changed_at:
        return False
    container = container_name(view.host.instance, view.project, under_way.number, "web", 1)
    return failure.resource in (view.project, view.network, container)
