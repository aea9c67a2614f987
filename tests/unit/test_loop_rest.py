"""A look at a world that did not move needs no plan; anything that moved does (invariant 11)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.loop.rest import Rest
from reconciler.model.desired import Desired
from reconciler.model.observed import Engine, Image, Observed, Routes
from reconciler.model.operation import Cause, RemoveNetwork
from reconciler.model.plan import Plan, ProjectPlan
from reconciler.model.release import History
from reconciler.model.spec import PlatformSpec

DESIRED = Desired("main@1", PlatformSpec())
HISTORY = History()
SEEN = Observed(at=100.0, engine=Engine(), routes=Routes("d"), upstreams={"shop": 20001}, listening=frozenset({22}))
QUIET = Plan("main@1", (ProjectPlan("shop"),))


def rest(plan: Plan = QUIET) -> Rest | None:
    return Rest.of(plan, desired=DESIRED, observed=SEEN, history=HISTORY)


def test_the_same_world_later_is_at_rest() -> None:
    found = rest()
    assert found is not None
    assert found.lasts(DESIRED, replace(SEEN, at=1e9, engine=Engine(), upstreams={"shop": 20001}), HISTORY)


@pytest.mark.parametrize(
    "moved",
    [
        replace(SEEN, engine=Engine(images=(Image("sha256:1", ("x:1",)),))),
        replace(SEEN, engine=None, engine_problem="gone"),
        replace(SEEN, routes=Routes("other")),
        replace(SEEN, upstreams={}),
        replace(SEEN, listening=frozenset({22, 20001})),
        replace(SEEN, reserved=frozenset({20002})),
    ],
)
def test_a_world_that_moved_is_not(moved: Observed) -> None:
    found = rest()
    assert found is not None
    assert not found.lasts(DESIRED, moved, HISTORY)


def test_new_values_from_git_or_history_end_it() -> None:
    found = rest()
    assert found is not None
    assert not found.lasts(replace(DESIRED), SEEN, HISTORY)
    assert not found.lasts(DESIRED, SEEN, replace(HISTORY))


def test_the_time_at_which_time_alone_changes_the_plan_ends_it() -> None:
    found = rest(Plan("main@1", (ProjectPlan("shop", wake_at=160.0),)))
    assert found is not None
    assert found.lasts(DESIRED, replace(SEEN, at=159.9), HISTORY)
    assert not found.lasts(DESIRED, replace(SEEN, at=160.0), HISTORY)


def test_a_plan_with_something_to_do_is_no_rest() -> None:
    operation = RemoveNetwork(project="shop", cause=Cause("drift", "why"), network="gs")
    assert rest(Plan("main@1", (ProjectPlan("shop", (operation,)),))) is None
