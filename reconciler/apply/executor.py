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
from reconciler.model.effects import Journal
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
        """Carry out `plan.operations` in order."""
        done: list[Operation] = []
        for operation in plan.operations:
            error = self._one(operation, request_id)
            if error is not None:
                return Applied(tuple(done), operation, error)
            done.append(operation)
        return Applied(tuple(done))

    def _one(self, operation: Operation, request_id: str) -> GitsteadError | None:
        clock = self._effects.clock
        self._failpoints.reach(f"intent:{operation.name}")
        row_id = self._journal.begin(operation, request_id=request_id, now=clock())
        self._failpoints.reach(f"before:{operation.name}")
        try:
            result = HANDLERS[type(operation)](self._effects, operation)
        except GitsteadError as error:
            self._journal.fail(
                row_id, reason=error.reason, message=str(error), retryable=isinstance(error, Retryable), now=clock()
            )
            log.warning(
                "operation.failed",
                operation=operation.name,
                project=operation.project,
                deployment=operation.deployment,
                resource=operation.resource,
                reason=error.reason,
                message=str(error),
            )
            return error
        self._failpoints.reach(f"after:{operation.name}")
        self._journal.succeed(row_id, result=result, now=clock())
        log.info(
            "operation.done",
            operation=operation.name,
            project=operation.project,
            deployment=operation.deployment,
            resource=operation.resource,
            cause=operation.cause.kind,
            why=operation.cause.text,
        )
        return None
