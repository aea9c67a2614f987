"""The steps of a deployment: which are allowed, what each leaves behind, and that repeating one is nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import StepRefused
from reconciler.history.store import Store
from reconciler.model.release import OPEN, TRANSITIONS, Commit, State
from tests.history_support import (
    RUN,
    adopting,
    advancing,
    bring_to,
    ending,
    going_live,
    make_store,
    opening,
    releasing,
    retiring,
)

ENDS = (State.FAILED, State.CANCELLED, State.SUPERSEDED, State.INTERRUPTED)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = make_store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for many cases, each in a project of its own."""
    opened = make_store(tmp_path_factory.mktemp("shared"))
    yield opened
    opened.close()


def take(store: Store, project: str, state: State) -> None:
    """Take the one step that leads deployment 1 to `state`."""
    if state is State.STARTING:
        store.recorder.assign_release(releasing(1, release=7, image="sha256:x", project=project), 2000.0)
    elif state is State.LIVE:
        store.recorder.mark_live(going_live(1, project=project), 2000.0)
    elif state in ENDS:
        store.recorder.end(ending(1, state, project), 2000.0)
    else:
        store.recorder.advance(advancing(1, state, project), 2000.0)


def state_of(store: Store, project: str) -> State:
    found = store.queries.deployment(project, 1)
    assert found is not None
    return found.state


@pytest.mark.parametrize("begin", list(State))
@pytest.mark.parametrize("to", [state for state in State if state is not State.RETIRED])
def test_a_step_is_taken_exactly_where_the_transitions_allow_it(shared: Store, begin: State, to: State) -> None:
    project = f"{begin}-{to}"
    bring_to(shared, 1, begin, project=project)
    if to in TRANSITIONS[begin]:
        take(shared, project, to)
        assert state_of(shared, project) is to
    elif to is begin and to is not State.STARTING:
        before = shared.recorder.writes
        take(shared, project, to)
        assert shared.recorder.writes == before
    else:
        with pytest.raises(StepRefused):
            take(shared, project, to)
        assert state_of(shared, project) is begin


def test_what_was_opened_reads_back_whole(store: Store) -> None:
    store.recorder.open_deployment(opening(1, previous=0, attempt=3), 1000.0)
    found = store.queries.deployment("blog", 1)
    assert found is not None
    assert (found.state, found.cause, found.cause_text) == (State.QUEUED, "change", "commit 3f9c1e2 by Ana")
    assert (found.commit.author, found.commit.subject, found.commit.committed_at) == ("Ana", "Fix cart total", 900.0)
    assert (found.created_at, found.deadline_at, found.attempt) == (1000.0, 1600.0, 3)
    assert found.config == {"run.port": "8080"}
    assert found.run == RUN
    assert found.drift_fields == ("run.memory",)


def test_every_step_taken_twice_writes_once(store: Store) -> None:
    recorder = store.recorder
    steps = [
        lambda: recorder.open_deployment(opening(1), 1.0),
        lambda: recorder.advance(advancing(1, State.BUILDING), 2.0),
        lambda: recorder.assign_release(releasing(1, release=1, image="i"), 3.0),
        lambda: recorder.advance(advancing(1, State.CHECKING), 4.0),
        lambda: recorder.advance(advancing(1, State.SWITCHING), 5.0),
        lambda: recorder.mark_live(going_live(1), 6.0),
        lambda: recorder.retire_project(retiring(), 7.0),
        lambda: recorder.adopt(adopting(9), 8.0),
    ]
    for step in steps:
        step()
        before = recorder.writes
        step()
        assert recorder.writes == before


def test_going_live_retires_and_drains_what_served(store: Store) -> None:
    bring_to(store, 1, State.LIVE)
    bring_to(store, 2, State.SWITCHING)
    store.recorder.mark_live(going_live(2, previous=1), 3000.0)
    past = store.queries.history().of("blog")
    assert past.live is not None
    assert past.previous_live is not None
    assert (past.live.number, past.live.live_at, past.live.drain_until) == (2, 3000.0, 0.0)
    assert (past.previous_live.number, past.previous_live.state) == (1, State.RETIRED)
    assert (past.previous_live.ended_at, past.previous_live.drain_until) == (3000.0, 3030.0)
    assert past.draining == {1: 3030.0}
    assert past.open is None


def test_a_failure_is_the_last_ended_until_something_newer_is_live(store: Store) -> None:
    bring_to(store, 1, State.LIVE)
    bring_to(store, 2, State.FAILED)
    last = store.queries.history().of("blog").last_ended
    assert last is not None
    assert (last.number, last.reason, last.message, last.hint) == (2, "BuildFailed", "step 3 failed", "Push a fix")
    bring_to(store, 3, State.LIVE)
    assert store.queries.history().of("blog").last_ended is None


def test_a_second_deployment_waits_for_the_end_of_the_first(store: Store) -> None:
    bring_to(store, 1, State.BUILDING)
    with pytest.raises(StepRefused, match="d2 of blog cannot be opened; expected the end of d1"):
        store.recorder.open_deployment(opening(2), 5.0)


def test_a_number_is_used_once(store: Store) -> None:
    bring_to(store, 5, State.FAILED)
    for number in (5, 4):
        with pytest.raises(StepRefused, match="a number above 5"):
            store.recorder.open_deployment(opening(number), 5.0)


def test_the_same_image_and_config_keep_their_release_number(store: Store) -> None:
    bring_to(store, 1, State.LIVE)
    bring_to(store, 2, State.BUILDING)
    assert store.recorder.assign_release(releasing(2, release=2, image="sha256:1"), 9.0) == 1
    past = store.queries.history().of("blog")
    assert [each.number for each in past.releases] == [1]
    assert past.open is not None
    assert past.open.release == 1


def test_a_release_number_of_another_image_is_refused_and_nothing_is_half_written(store: Store) -> None:
    bring_to(store, 1, State.LIVE)
    bring_to(store, 2, State.BUILDING)
    with pytest.raises(StepRefused, match="r1; expected a free number"):
        store.recorder.assign_release(releasing(2, release=1, image="sha256:other"), 9.0)
    past = store.queries.history().of("blog")
    assert past.open is not None
    assert past.open.state is State.BUILDING


def test_what_is_adopted_is_live_under_its_own_numbers_until_something_of_ours_goes_live(store: Store) -> None:
    """Invariant 10."""
    store.recorder.adopt(adopting(57, release=42), 100.0)
    past = store.queries.history().of("blog")
    assert past.adopted
    assert past.last_number == 57
    assert past.live is not None
    assert (past.live.number, past.live.release, past.live.run) == (57, 42, None)
    assert past.live.cause_text.startswith("adopted gs-abc123-blog-d57-web-1")
    assert past.releases[0].number == 42
    bring_to(store, 58, State.LIVE)
    assert not store.queries.history().of("blog").adopted


def test_an_older_store_adopts_what_runs_and_retires_what_it_thought_live(store: Store) -> None:
    """A backup of yesterday: the labels are newer than the rows."""
    bring_to(store, 1, State.LIVE)
    store.recorder.adopt(adopting(3), 5000.0)
    past = store.queries.history().of("blog")
    assert past.live is not None
    assert past.previous_live is not None
    assert (past.live.number, past.previous_live.number) == (3, 1)


def test_what_is_under_way_is_not_adopted(store: Store) -> None:
    bring_to(store, 1, State.SWITCHING)
    with pytest.raises(StepRefused, match="be adopted while it is switching"):
        store.recorder.adopt(adopting(1), 5000.0)


def test_an_interrupted_deployment_that_serves_is_adopted(store: Store) -> None:
    bring_to(store, 1, State.SWITCHING)
    store.recorder.interrupt_open(4000.0)
    store.recorder.adopt(adopting(1), 5000.0)
    past = store.queries.history().of("blog")
    assert past.live is not None
    assert (past.live.number, past.live.reason, past.last_ended) == (1, "Adopted", None)
    assert past.live.commit.author == "Ana"


def test_a_project_that_left_is_retired_and_may_come_back(store: Store) -> None:
    bring_to(store, 1, State.LIVE)
    store.recorder.retire_project(retiring(), 9.0)
    past = store.queries.history().of("blog")
    assert (past.live, past.previous_live, past.last_number) == (None, None, 1)
    bring_to(store, 2, State.LIVE)
    assert store.queries.history().of("blog").live is not None


@pytest.mark.parametrize("state", sorted(OPEN))
def test_start_interrupts_what_nobody_works_on(store: Store, state: State) -> None:
    """Invariant 4: nothing stays `building` without a builder."""
    bring_to(store, 1, state)
    bring_to(store, 1, State.LIVE, project="shop")
    interrupted = store.recorder.interrupt_open(2000.0)
    assert [(each.project, each.number, each.state) for each in interrupted] == [("blog", 1, State.INTERRUPTED)]
    past = store.queries.history().of("blog")
    assert past.open is None
    assert past.last_ended is not None
    assert past.last_ended.retryable
    assert str(state) in past.last_ended.message
    assert store.queries.history().of("shop").live is not None
    before = store.recorder.writes
    assert store.recorder.interrupt_open(2001.0) == []
    assert store.recorder.writes == before


def test_durations_come_from_the_states_that_were_entered(store: Store) -> None:
    bring_to(store, 1, State.LIVE, at=100.0)
    store.recorder.open_deployment(opening(2), 200.0)
    store.recorder.advance(advancing(2, State.BUILDING), 201.5)
    store.recorder.end(ending(2), 209.5)
    bring_to(store, 3, State.BUILDING, at=300.0)
    timings = store.queries.timings("blog", [1, 2, 3, 99])
    assert {number: (each.build_s, each.total_s) for number, each in timings.items()} == {
        1: (1.0, 5.0),
        2: (8.0, 9.5),
        3: (0.0, 0.0),
    }
    assert list(timings[1].entered)[:3] == [State.QUEUED, State.BUILDING, State.STARTING]


def test_a_hostile_commit_subject_is_kept_short_and_valid(store: Store) -> None:
    commit = Commit("a" * 40, "t", "Ana \udce9", "x\0" + "y" * 1_000_000, 0.0)
    store.recorder.open_deployment(opening(1, commit=commit), 1.0)
    found = store.queries.deployment("blog", 1)
    assert found is not None
    assert len(found.commit.subject) == 300
    assert "\0" not in found.commit.subject
    assert found.commit.author == "Ana ?"
