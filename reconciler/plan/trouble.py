"""What follows from an operation that failed: wait and try again, or end the deployment.

One pass of `planner`; pure. A failed operation is a row of history (`Failure`), cleared by the
next run of the project that goes well.
"""

from __future__ import annotations

from reconciler.model.condition import Reason
from reconciler.model.operation import EndDeployment
from reconciler.model.release import Failure
from reconciler.plan.backoff import delay_s
from reconciler.plan.rollout import failed
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


def holds(view: View) -> tuple[float, EndDeployment | None]:
    """(until when the project is left alone, how its open deployment ends because of the failure)."""
    failure = view.world.history.last_failures.get(view.project)
    under_way = view.past.open
    if failure is None:
        return 0.0, None
    if under_way is None or failure.retryable or failure.at < under_way.changed_at:
        return due_at(failure), None
    reason = Reason(failure.reason) if failure.reason in set(Reason) else Reason.START_FAILED
    message = f"{failure.resource}: {failure.message}"
    return 0.0, failed(view, under_way, reason, message, hint="Push a fix", retryable=False)
