"""A world in which there was nothing to do: the plan is pure, so in the same world there still is not.

Used by `loop.worker`, so that a look at what did not change ends after the reading. Must never outlive a look
that found something to do, or one that fell into a run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from reconciler.model.desired import Desired
from reconciler.model.observed import Observed
from reconciler.model.plan import Plan
from reconciler.model.release import History


@dataclass(frozen=True)
class Rest:
    """What the last look saw, and until when (Unix seconds) time alone changes nothing in its plan."""

    desired: Desired
    observed: Observed
    history: History
    until: float

    @staticmethod
    def of(plan: Plan, *, desired: Desired, observed: Observed, history: History) -> Rest | None:
        """None where the plan has anything to do."""
        if any(each.operations for each in plan.projects):
            return None
        return Rest(desired, replace(observed, at=0.0), history, plan.wake_at or math.inf)

    def lasts(self, desired: Desired, observed: Observed, history: History) -> bool:
        """Whether nothing moved since and no time has come. Desired and history are the very same values then:
        whoever hands them out makes new ones only for something new.
        """
        if desired is not self.desired or history is not self.history or observed.at >= self.until:
            return False
        return replace(observed, at=0.0) == self.observed
