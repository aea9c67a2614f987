"""The dirty queue: bursts collapse, nothing is lost, one run per project (invariant 7)."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from reconciler.loop.queue import DirtyQueue


def test_a_burst_of_marks_is_taken_once() -> None:
    queue = DirtyQueue()
    for number in range(50):
        queue.mark("shop", f"push {number}")
    assert list(queue.take()) == ["shop"]
    assert queue.take() == {}


def test_a_mark_that_arrives_after_taking_stays_for_the_next_run() -> None:
    queue = DirtyQueue()
    queue.mark("shop", "push")
    queue.take()
    queue.mark("shop", "push again")
    assert queue.take()["shop"].reason == "push again"


def test_what_a_failed_look_gives_back_never_hides_a_newer_mark() -> None:
    queue = DirtyQueue()
    queue.mark("shop", "old")
    taken = queue.take()
    queue.mark("shop", "new")
    queue.give_back(taken)
    assert queue.take()["shop"].reason == "new"


def test_a_mark_keeps_the_request_that_first_asked() -> None:
    queue = DirtyQueue()
    queue.mark("shop", "approve", request_id="abc")
    queue.mark("shop", "container start")
    assert queue.take()["shop"].request_id == "abc"


def test_a_second_run_of_a_project_is_refused_while_one_is_in_flight() -> None:
    queue = DirtyQueue()
    assert queue.begin("shop", "r1")
    assert not queue.begin("shop", "r2")
    assert queue.begin("blog", "r3")
    assert queue.in_flight() == {"shop", "blog"}


def test_the_end_of_a_run_marks_its_project_with_its_request() -> None:
    queue = DirtyQueue()
    queue.begin("shop", "r1")
    queue.finish("shop", "applied")
    assert queue.take()["shop"].request_id == "r1"
    assert queue.in_flight() == frozenset()


def test_what_a_run_does_is_no_reason_to_look_before_its_end() -> None:
    queue = DirtyQueue()
    queue.begin("shop", "r1")
    queue.mark("shop", "container start")
    assert not queue.wait(0.01)
    assert queue.take() == {}
    queue.mark("blog", "push")
    assert set(queue.take()) == {"blog"}
    queue.finish("shop", "applied")
    assert queue.wait(0.01)
    assert set(queue.take()) == {"shop"}


def test_the_platform_is_looked_at_while_its_routes_are_put() -> None:
    """Its mark stands for the time and for Caddy as well, which concern every project."""
    queue = DirtyQueue()
    queue.begin("", "r1")
    queue.mark("", "time")
    assert set(queue.take()) == {""}


def test_waiting_ends_as_soon_as_something_is_dirty() -> None:
    queue = DirtyQueue()
    threading.Timer(0.01, queue.mark, args=("shop", "push")).start()
    assert queue.wait(10.0)


def test_waiting_ends_without_a_mark_when_the_time_is_over() -> None:
    assert not DirtyQueue().wait(0.01)


@given(st.lists(st.tuples(st.sampled_from(["mark", "take", "begin", "finish"]), st.sampled_from(["a", "b", "c"]))))
def test_every_mark_is_in_some_later_take(steps: list[tuple[str, str]]) -> None:
    """Whatever is interleaved: what was marked is taken by the next take, or by the first after the run of
    that project; and runs never overlap.
    """
    queue, dirty, running = DirtyQueue(), set(), set()
    for step, key in steps:
        if step == "mark":
            queue.mark(key, "x")
            dirty.add(key)
        elif step == "take":
            assert set(queue.take()) == dirty - running
            dirty &= running
        elif step == "begin":
            assert queue.begin(key, "r") == (key not in running)
            running.add(key)
        elif key in running:
            queue.finish(key, "done")
            running.discard(key)
            dirty.add(key)
    assert set(queue.take()) == dirty - running
