"""The stage that a worker keeps from test to test, and the count of faults at the end."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator

import pytest

from tests.chaos.cases import FULL, share
from tests.chaos.stage import Stage
from tests.chaos.stage import stage as make_stage

INJECTED = "faults injected"
WHOLE_AFTER_S = "seconds from the start to whole"


class Keeper:
    """Holds the stage of this worker; one that a failed test leaves behind is thrown away."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._stage: Stage | None = None

    def give(self) -> Stage:
        if self._stage is None:
            self._stage = self._stack.enter_context(make_stage())
        return self._stage

    def throw_away(self) -> None:
        self._stage = None
        self._stack.close()


@pytest.fixture(scope="session")
def keeper() -> Iterator[Keeper]:
    kept = Keeper()
    yield kept
    kept.throw_away()


@pytest.fixture
def stage(keeper: Keeper, request: pytest.FixtureRequest) -> Iterator[Stage]:
    given = keeper.give()
    failed_before = request.session.testsfailed
    yield given
    if request.session.testsfailed > failed_before:
        keeper.throw_away()
    else:
        given.aim("")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts = {outcome: sum(_properties(terminalreporter, outcome, INJECTED)) for outcome in ("passed", "failed")}
    total = sum(counts.values())
    if total:
        which = "all" if share() == FULL else f"share {share()} (GITSTEAD_CHAOS={share()} repeats it)"
        terminalreporter.write_line(f"chaos: {total:g} faults injected, {counts['passed']:g} survived; {which}")
    times = _properties(terminalreporter, "passed", WHOLE_AFTER_S)
    if times:
        middle, longest = statistics.median(times), max(times)
        terminalreporter.write_line(f"chaos: whole {middle:.1f} s after the start (median), {longest:.1f} s at most")


def _properties(terminalreporter: pytest.TerminalReporter, outcome: str, wanted: str) -> list[float]:
    return [
        float(str(value))
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in getattr(report, "user_properties", ())
        if name == wanted
    ]
