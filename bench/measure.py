"""Takes variants in turn, with a fixed piece of CPU work beside each round, and prints medians and ratios.

Used by every benchmark here. Times are milliseconds; a variant returns its own figure, so that what it
sets up or tidies away is not in it. Must not know what is measured.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

_FIXED_WORK = bytes(8 * 1024 * 1024)

Variant = Callable[[], float]


def gauge_ms() -> float:
    """How long the fixed work takes now: SHA-256 of 8 MB, ten times, which is longer than a slice of the scheduler.

    It tells how busy the machine is, not what we do.
    """
    began = time.perf_counter()
    for _ in range(10):
        hashlib.sha256(_FIXED_WORK).digest()
    return (time.perf_counter() - began) * 1000


def timed(work: Callable[[], object]) -> float:
    """Milliseconds that `work` takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


@dataclass(frozen=True)
class Rounds:
    """The figures of each variant, round by round, and the gauge of each round."""

    values: Mapping[str, Sequence[float]]
    gauge: Sequence[float]

    def median(self, name: str) -> float:
        return statistics.median(self.values[name])


def in_turn(variants: Mapping[str, Variant], rounds: int, *, warm_up: int = 1) -> Rounds:
    """Run every variant once a round, in an order that is turned around each time."""
    for _ in range(warm_up):
        for variant in variants.values():
            variant()
    values: dict[str, list[float]] = {name: [] for name in variants}
    gauge: list[float] = []
    for number in range(rounds):
        gauge.append(gauge_ms())
        names = list(variants) if number % 2 == 0 else list(variants)[::-1]
        for name in names:
            values[name].append(variants[name]())
    return Rounds(values, gauge)


@dataclass
class Report:
    """Prints figures as they come and remembers which bounds were missed."""

    missed: list[str] = field(default_factory=list)

    def title(self, text: str) -> None:
        print(f"\n{text}", flush=True)

    def say(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def rounds(self, found: Rounds, unit: str = "ms") -> None:
        """One line for each variant, and one for the gauge."""
        width = max(len(name) for name in (*found.values, _GAUGE))
        for name, values in found.values.items():
            self.say(f"{name:<{width}}  {spread(values)} {unit}")
        self.say(f"{_GAUGE:<{width}}  {spread(found.gauge)} ms")

    def ratio(self, found: Rounds, over: tuple[str, str], *, aim: float, must: float | None = None) -> None:
        """The ratio of two medians against its bounds; in brackets the lowest and highest of any round."""
        upper, lower = over
        value = found.median(upper) / found.median(lower)
        each = [one / other for one, other in zip(found.values[upper], found.values[lower], strict=True)]
        text = f"{upper} ÷ {lower} = {_shown(value)} (rounds {_shown(min(each))}–{_shown(max(each))})"
        self.bound(text, value, aim=aim, must=must)

    def bound(self, text: str, value: float, *, aim: float, must: float | None = None, unit: str = "") -> None:
        """A figure with what it is to stay below."""
        bounds = f"aim ≤ {aim:g}{unit}" + (f", must ≤ {must:g}{unit}" if must is not None else "")
        limit = aim if must is None else must
        verdict = "aim met" if value <= aim else ("must met, aim missed" if value <= limit else "MISSED")
        self.say(f"→ {text}   [{bounds}: {verdict}]")
        if value > limit:
            self.missed.append(text)


_GAUGE = "fixed CPU work"


def spread(values: Sequence[float]) -> str:
    """Median (lowest–highest)."""
    return f"{_shown(statistics.median(values))} ({_shown(min(values))}–{_shown(max(values))})"


def _shown(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else (f"{value:.1f}" if value >= 10 else f"{value:.2f}")
