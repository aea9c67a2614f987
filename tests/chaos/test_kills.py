"""SIGKILL at every place between and within operations; then start, and everything is as it should be.

Invariant 4, for a first deployment, an update, a repair, a removal, an adoption, and what ends badly.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable

import pytest

from tests.chaos.cases import NOT_REACHED, Case, all_places, cases_of, chosen, share
from tests.chaos.conftest import INJECTED, WHOLE_AFTER_S
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.stage import Stage
from tests.chaos.whole import assert_quiet


@pytest.mark.parametrize("case", chosen(share()), ids=str)
def test_a_kill_leaves_nothing_half_done(
    case: Case, stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    case.scenario.begin(stage)
    with stage.answering() if case.scenario.serves_throughout else contextlib.nullcontext():
        stage.aim(case.aim)
        case.scenario.act(stage)
        stage.wait_killed()
        record_property(INJECTED, 1)
        if case.scenario.serves_throughout:
            assert stage.answer()[0] == 200
        record_property(WHOLE_AFTER_S, stage.recover())
    assert_quiet(stage)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_a_scenario_passes_what_its_cases_say(scenario: Scenario, stage: Stage) -> None:
    """So that an operation that is added, or passed once more, is killed at as well."""
    scenario.begin(stage)
    stage.aim("")
    scenario.act(stage)
    stage.be_whole()
    reached = Counter(stage.reached())
    last = {case.place: case.passing for case in cases_of(scenario)}
    too_few = {place: (count, reached[place]) for place, count in last.items() if reached[place] < count}
    assert not too_few
    if scenario.is_exact:
        more = {place: reached[place] for place in last if place.startswith("intent:") and reached[place] > last[place]}
        assert not more
    uncovered = set(reached) - {case.place for each in SCENARIOS for case in cases_of(each)}
    assert not uncovered


def test_every_place_is_a_case_or_says_why_not() -> None:
    covered = {case.place for scenario in SCENARIOS for case in cases_of(scenario)}
    assert set(all_places()) - covered == set(NOT_REACHED)
