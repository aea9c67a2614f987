"""Whether builds get slower, in two medians, bars and one sentence."""

from __future__ import annotations

import pytest

from reconciler.model.trend import trend


def _seconds(value: float) -> str:
    return f"{value:g}s"


@pytest.mark.parametrize(
    ("newest_first", "told"),
    [
        ([], ""),
        ([31.0], "The one build that went well took 31s."),
        ([30.0, 40.0, 35.0], "A build takes 35s, the median of the last 3."),
        (
            [30.0] * 10 + [60.0] * 10,
            "A build takes 30s, the median of the last 10; the 10 before took 60s, so 50 % less.",
        ),
        (
            [60.0] * 10 + [30.0] * 2,
            "A build takes 60s, the median of the last 10; the 2 before took 30s, so 100 % more.",
        ),
        (
            [31.0] * 10 + [30.0] * 10,
            "A build takes 31s, the median of the last 10; the 10 before took 30s, so about as long.",
        ),
        ([0.0] * 12, "A build takes 0s, the median of the last 10."),
    ],
)
def test_a_trend_reads_as_one_sentence(newest_first: list[float], told: str) -> None:
    assert trend(newest_first).sentence(_seconds) == told


def test_bars_go_from_the_oldest_build_to_the_newest_and_are_twenty_at_most() -> None:
    assert trend([10.0, 20.0, 80.0]).bars == "█▃▂"
    assert trend([0.0, 0.0]).bars == "▁▁"
    assert len(trend([1.0] * 50).bars) == 20
