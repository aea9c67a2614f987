"""A plan that comes back unchanged after clean runs is not applied a third time (invariant 11)."""

from __future__ import annotations

from reconciler.loop.convergence import Convergence
from reconciler.model.condition import Condition, Health, Reason, Verdict
from reconciler.model.operation import Cause, RemoveNetwork
from reconciler.model.plan import Plan, ProjectPlan

HEALTHY = Verdict(Health.HEALTHY, (Condition("Ready", "True", Reason.LIVE, "r1 serves"),))


def plan_of(*networks: str) -> ProjectPlan:
    operations = tuple(RemoveNetwork(project="shop", cause=Cause("drift", "why"), network=each) for each in networks)
    return ProjectPlan("shop", operations, verdict=HEALTHY)


def test_an_empty_plan_is_nothing_to_apply() -> None:
    assert not Convergence().may_apply(plan_of())


def test_the_same_plan_is_applied_twice_and_not_a_third_time() -> None:
    convergence = Convergence()
    for _ in range(2):
        assert convergence.may_apply(plan_of("a"))
        convergence.applied(plan_of("a"), clean=True)
    assert not convergence.may_apply(plan_of("a"))
    told = convergence.with_condition(plan_of("a")).verdict
    assert told is not None
    assert told.health is Health.DEGRADED
    assert told.conditions[0].reason is Reason.NOT_CONVERGING
    assert "remove-network a" in told.conditions[0].message


def test_a_look_with_nothing_to_do_in_between_forgets_the_count() -> None:
    convergence = Convergence()
    for _ in range(3):
        assert convergence.may_apply(plan_of("a"))
        convergence.applied(plan_of("a"), clean=True)
        convergence.settle(Plan("main@1", (plan_of(),)), busy=())


def test_a_plan_that_is_not_there_any_more_is_forgotten_too() -> None:
    """The platform has none while its routes are as they should be."""
    convergence = Convergence()
    for _ in range(3):
        assert convergence.may_apply(plan_of("a"))
        convergence.applied(plan_of("a"), clean=True)
        convergence.settle(Plan("main@1", ()), busy=())


def test_a_look_in_the_middle_of_a_run_forgets_nothing() -> None:
    convergence = Convergence()
    for _ in range(2):
        convergence.applied(plan_of("a"), clean=True)
        convergence.settle(Plan("main@1", (plan_of(),)), busy=("shop",))
    assert not convergence.may_apply(plan_of("a"))


def test_runs_that_failed_do_not_count() -> None:
    convergence = Convergence()
    for _ in range(5):
        assert convergence.may_apply(plan_of("a"))
        convergence.applied(plan_of("a"), clean=False)


def test_another_plan_is_applied() -> None:
    convergence = Convergence()
    for _ in range(2):
        convergence.applied(plan_of("a"), clean=True)
    assert convergence.may_apply(plan_of("b"))
    assert convergence.with_condition(plan_of("b")).verdict == HEALTHY
