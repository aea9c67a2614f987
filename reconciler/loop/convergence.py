"""Notices a plan that comes back unchanged right after it was applied without an error (invariant 11).

Used by `loop.worker`; keeps one small record per project and decides nothing but "not a third time".
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import replace

from reconciler.model.condition import Condition, Health, Reason, Verdict
from reconciler.model.plan import Plan, ProjectPlan

LIMIT = 2


class Convergence:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._applied: dict[str, tuple[str, int]] = {}

    def settle(self, plan: Plan, *, busy: Collection[str]) -> None:
        """Forget those of whom nothing is wanted, with a plan or without one; `busy` ones are judged later."""
        wanting = {each.project for each in plan.projects if each.operations}
        with self._lock:
            for project_name in self._applied.keys() - wanting - set(busy):
                del self._applied[project_name]

    def may_apply(self, plan: ProjectPlan) -> bool:
        """Whether there is something to apply that was not just applied twice in a row."""
        if not plan.operations:
            return False
        with self._lock:
            digest, count = self._applied.get(plan.project, ("", 0))
            return digest != plan.digest or count < LIMIT

    def applied(self, plan: ProjectPlan, *, clean: bool) -> None:
        """Remember a run; one that failed is retried by backoff and does not count."""
        with self._lock:
            digest, count = self._applied.get(plan.project, ("", 0))
            if clean:
                self._applied[plan.project] = (plan.digest, count + 1 if digest == plan.digest else 1)
            else:
                self._applied.pop(plan.project, None)

    def with_condition(self, plan: ProjectPlan) -> ProjectPlan:
        """The plan with `NotConverging` leading its verdict where it is held back."""
        if not plan.operations or plan.verdict is None or self.may_apply(plan):
            return plan
        first = plan.operations[0]
        message = f"{first.verb} {first.resource} was done twice and is wanted again: {first.cause.text}"
        condition = Condition("Stalled", "True", Reason.NOT_CONVERGING, message)
        return replace(plan, verdict=Verdict(Health.DEGRADED, (condition, *plan.verdict.conditions)))
