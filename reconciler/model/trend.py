"""Whether the builds of a project get slower or faster: two medians, a row of bars and a sentence.

Made by CLI and web from the durations that history keeps. Pure; says what was, and never why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

COMPARED = 10
_BARS = "▁▂▃▄▅▆▇█"
_ALIKE = 0.05


@dataclass(frozen=True)
class Trend:
    """`durations_s` are of the last builds that went well, oldest first, at most twenty of them."""

    durations_s: tuple[float, ...]

    @property
    def recent_s(self) -> float:
        """The median of the last ten; 0 without any."""
        return median(self.durations_s[-COMPARED:]) if self.durations_s else 0.0

    @property
    def before_s(self) -> float:
        """The median of those before the last ten; 0 without any."""
        earlier = self.durations_s[:-COMPARED]
        return median(earlier) if earlier else 0.0

    @property
    def bars(self) -> str:
        """One bar a build, oldest first; the highest is the longest build."""
        longest = max(self.durations_s, default=0.0)
        top = len(_BARS) - 1
        return "".join(_BARS[round(each / longest * top) if longest else 0] for each in self.durations_s)

    def sentence(self, duration: Callable[[float], str]) -> str:
        """`A build takes 31s, the median of the last 10; the 10 before took 35s, so 11 % less.` "" without builds."""
        count = len(self.durations_s)
        if not count:
            return ""
        recent = min(count, COMPARED)
        if recent == 1:
            return f"The one build that went well took {duration(self.recent_s)}."
        now = f"A build takes {duration(self.recent_s)}, the median of the last {recent}"
        if not self.before_s:
            return f"{now}."
        return f"{now}; the {count - recent} before took {duration(self.before_s)}, so {self._change}."

    @property
    def _change(self) -> str:
        change = self.recent_s / self.before_s - 1
        if abs(change) < _ALIKE:
            return "about as long"
        return f"{abs(change):.0%} {'more' if change > 0 else 'less'}".replace("%", " %")


def trend(newest_first: Sequence[float]) -> Trend:
    """Of durations in seconds as history gives them."""
    return Trend(tuple(reversed(newest_first[: 2 * COMPARED])))
