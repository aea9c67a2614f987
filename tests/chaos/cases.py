"""Which kills are run: every place of every scenario that passes it, or a share of them that differs by commit.

Used by `conftest` and the tests. GITSTEAD_CHAOS=full runs all; GITSTEAD_CHAOS=<number> runs that share; without
it the share follows from the commit, so that it rotates and yet is the same on every worker.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from reconciler.apply.failpoints import places
from reconciler.history.recorder import Recorder
from tests.chaos.scenarios import SCENARIOS, Scenario

T = TypeVar("T")

THIRD = 3
FULL = -1
_PRUNING = "the engine has one build cache for all tests; pruning it again is what the next pass plans"
NOT_REACHED = {
    "intent:PruneBuildCache": _PRUNING,
    "before:PruneBuildCache": _PRUNING,
    "after:PruneBuildCache": _PRUNING,
    "begin:prune": _PRUNING,
    "end:prune": _PRUNING,
    "write:approve": "a person's request, which is taken from the inbox again until it is handled",
}


@dataclass(frozen=True)
class Case:
    """One kill: at the `passing`-th time that `scenario` reaches `place`."""

    scenario: Scenario
    place: str
    passing: int

    @property
    def aim(self) -> str:
        return f"{self.place}#{self.passing}"

    def __str__(self) -> str:
        return f"{self.scenario.name}-{self.aim}"


def all_places() -> list[str]:
    return places(Recorder)


def cases_of(scenario: Scenario) -> list[Case]:
    """Every place of what the scenario passes, as often as it passes it."""
    found = [(place, scenario.passes.get(place.partition(":")[2], 0)) for place in all_places()]
    return [Case(scenario, place, passing) for place, count in found for passing in range(1, count + 1)]


def share() -> int:
    """Which share of the cases is run now: FULL, or a number that differs from commit to commit."""
    wanted = os.environ.get("GITSTEAD_CHAOS", "")
    if wanted:
        return FULL if wanted == "full" else int(wanted)
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True)
    return int(done.stdout.strip()[:8] or "0", 16) if done.returncode == 0 else 0


def a_share_of(found: Sequence[T], one_in: int, number: int) -> list[T]:
    """One in `one_in`, beginning elsewhere for each number; all of them for FULL."""
    return [each for at, each in enumerate(found) if number == FULL or (at + number) % one_in == 0]


def chosen(number: int) -> list[Case]:
    """Each place of an update once, and a third of the rest."""
    update, *others = SCENARIOS
    if number == FULL:
        return [case for scenario in SCENARIOS for case in cases_of(scenario)]
    rest = [case for scenario in others for case in cases_of(scenario)]
    return [*_once(cases_of(update), number), *a_share_of(rest, THIRD, number)]


def _once(found: Iterable[Case], number: int) -> list[Case]:
    """Each place at one of its passings."""
    by_place: dict[str, list[Case]] = {}
    for case in found:
        by_place.setdefault(case.place, []).append(case)
    return [cases[number % len(cases)] for cases in by_place.values()]
