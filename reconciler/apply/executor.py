"""Walks a project's operations: journal, act, journal; stops at the first failure.

Called by the loop's apply workers, one run per project at a time (invariant 7). Decides
nothing: what to do after a failure is planned by the next pass, from what is then observed.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from reconciler.apply.effects import Effects
from reconciler.apply.failpoints import Failpoints
from reconciler.apply.operations import HANDLERS
from reconciler.errors import GitsteadError, Retryable
from reconciler.model.effects import Done, Journal
from reconciler.model.operation import Operation
from reconciler.model.plan import ProjectPlan

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Applied:
    """How a run went: all operations done, or the one that failed and why."""

    done: tuple[Operation, ...]
    failed: Operation | None = None
    error: GitsteadError | None = None


class Executor:
    def __init__(self, effects: Effects, journal: Journal, failpoints: Failpoints) -> None:
        self._effects, self._journal, self._failpoints = effects, journal, failpoints

    def apply(self, plan: ProjectPlan, *, request_id: str) -> Applied:
        """Carry out `plan.operations` in order. What the journal raises is raised."""
        done: list[Operation] = []
        last: Done | None = None
        try:
            for operation in plan.operations:
                row_id = self._begin(operation, request_id, after=last)
                last = None
                outcome = self._carry_out(operation, row_id)
                if isinstance(outcome, GitsteadError):
                    return Applied(tuple(done), operation, outcome)
                last = outcome
                done.append(operation)
        finally:
            if last is not None:
                self._journal.succeed(last.row_id, result=last.result, now=last.at)
        return Applied(tuple(done))

    def _begin(self, operation: Operation, request_id: str, *, after: Done | None) -> int:
        """The intent of this one, and the end of the one before it, in one write."""
        self._failpoints.reach(f"intent:{operation.name}")
        row_id = self._journal.begin(operation, request_id=request_id, now=self._effects.clock(), after=after)
        self._failpoints.reach(f"before:{operation.name}")
        return row_id

    def _carry_out(self, operation: Operation, row_id: int) -> Done | GitsteadError:
        clock = self._effects.clock
        try:
            result = HANDLERS[type(operation)](self._effects, operation)
        except GitsteadError as error:
            self._journal.fail(
                row_id, reason=error.reason, message=str(error), retryable=isinstance(error, Retryable), now=clock()
            )
            log.warning("operation.failed", **_named(operation), reason=error.reason, message=str(error))
            return error
        self._failpoints.reach(f"after:{operation.name}")
        log.info("operation.done", **_named(operation), cause=operation.cause.kind, why=operation.cause.text)
        return Done(row_id, result, clock())


def _named(operation: Operation) -> dict[str, object]:
    return {
        "operation": operation.name,
        "project": operation.project,
        "deployment": operation.deployment,
        "resource": operation.resource,
    }
