"""Ages, durations and links in a few characters."""

from __future__ import annotations

import pytest

from reconciler.model.condition import Condition, Health, Reason
from reconciler.model.release import State
from reconciler.model.status import ProjectStatus
from web import present


@pytest.mark.parametrize(
    ("seconds", "told"), [(-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (200000, "2d")]
)
def test_an_age_has_one_unit(seconds: float, told: str) -> None:
    assert present.age(seconds) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(-1, "0ms"), (0.04, "40ms"), (4.13, "4.1s"), (72, "1m 12s"), (7500, "2h 5m")]
)
def test_a_duration_has_two_units_at_most(seconds: float, told: str) -> None:
    assert present.duration(seconds) == told


@pytest.mark.parametrize("address", ["https://blog.example.com", "http://hello.localhost:8680"])
def test_an_address_is_a_link(address: str) -> None:
    assert present.link(address) == address


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//evil", "https://", "http://[", ""])
def test_what_is_no_web_address_is_never_a_link(address: str) -> None:
    assert present.link(address) == ""


@pytest.mark.parametrize("health", list(Health))
def test_every_health_has_a_symbol_of_its_own(health: Health) -> None:
    others = {present.health_symbol(each) for each in Health if each is not health}
    assert present.health_symbol(health) not in others


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_symbol(state: State) -> None:
    assert present.state_symbol(state) != "·"


def test_the_condition_that_leads_is_the_one_with_trouble() -> None:
    ready = Condition("Ready", "True", Reason.LIVE, "r4 serves.")
    stalled = Condition("Stalled", "True", Reason.BUILD_FAILED, "step 3/6")
    assert present.lead(ProjectStatus("guest", Health.HEALTHY, (ready, stalled))) is stalled
    assert present.lead(ProjectStatus("guest", Health.HEALTHY, (ready,))) is None


def test_operations_and_revisions_read_as_words() -> None:
    assert present.words("CreateContainer") == "create container"
    assert present.revision("feature@x@3f9c1e2a77ab") == "feature@x@3f9c1e2"
    assert present.revision("") == ""
