"""What an event of the engine makes dirty, and when."""

from __future__ import annotations

import time

from reconciler.adapters.engine_events import EngineEvent
from reconciler.loop.queue import ALL, DirtyQueue
from reconciler.loop.triggers import FOREIGN_PAUSE_S, EngineMarks


def test_an_event_of_ours_marks_its_project_and_a_gap_everything_at_once() -> None:
    queue = DirtyQueue()
    marks = EngineMarks(queue)
    marks(EngineEvent("container", "die", "one", "shop"))
    marks(EngineEvent("gap", "lost"))
    assert set(queue.take()) == {"shop", ALL}


def test_what_others_do_is_looked_at_once_within_two_seconds() -> None:
    queue, began = DirtyQueue(), time.monotonic()
    marks = EngineMarks(queue)
    for number in range(20):
        marks(EngineEvent("container", "start", str(number)))
    assert queue.take() == {}
    assert queue.wait(FOREIGN_PAUSE_S + 5)
    assert time.monotonic() - began >= FOREIGN_PAUSE_S * 0.9
    assert set(queue.take()) == {"engine"}
    assert not queue.wait(0.05)
    marks(EngineEvent("container", "die", "21"))
    assert queue.wait(FOREIGN_PAUSE_S + 5)
