"""What is old is forgotten with all that belongs to it, and nothing that anybody goes back to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.history.logs import LogReader
from reconciler.history.retention import KEPT_DEPLOYMENTS, KEPT_RETIRED_S, KEPT_S, forget_old
from reconciler.history.store import Store
from reconciler.model.job import Job, JobKey
from reconciler.model.release import State
from tests.history_support import advancing, ending, going_live, make_store, opening, paths, releasing

NOW = 1_800_000_000.0
LONG_AGO = NOW - KEPT_RETIRED_S - 1000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = make_store(tmp_path)
    yield store
    store.close()


def fail(store: Store, number: int, at: float) -> None:
    """A deployment that failed, with a log, a journal row and a job."""
    operation = opening(number)
    row_id = store.recorder.begin(operation, request_id="r", now=at)
    store.recorder.open_deployment(operation, at)
    store.recorder.succeed(row_id, result="", now=at)
    job = Job(JobKey("blog", number, "build"), "failed", "key", at, at + 60, ended_at=at + 1)
    store.recorder.job_started(job)
    store.recorder.job_ended(job)
    with_log(store, number, at)
    store.recorder.end(ending(number), at)


def with_log(store: Store, number: int, at: float) -> None:
    sink = store.logs.open_log("blog", number, now=at)
    sink.write("stdout", f"line of d{number}", at=at)
    sink.close()


def go_live(store: Store, number: int, at: float, *, previous: int = 0) -> None:
    store.recorder.open_deployment(opening(number, previous=previous), at)
    store.recorder.assign_release(releasing(number, release=number, image=f"sha256:{number}"), at)
    for state in (State.CHECKING, State.SWITCHING):
        store.recorder.advance(advancing(number, state), at)
    store.recorder.mark_live(going_live(number, previous=previous), at)


def numbers(store: Store) -> list[int]:
    return [each.number for each in store.queries.deployments("blog", limit=1000)]


def test_what_is_old_and_beyond_the_newest_goes_with_its_journal_jobs_and_log(store: Store, tmp_path: Path) -> None:
    for number in range(1, KEPT_DEPLOYMENTS + 4):
        fail(store, number, LONG_AGO + number)
    assert forget_old(store.database, store.logs, NOW) == 3
    assert numbers(store) == list(range(KEPT_DEPLOYMENTS + 3, 3, -1))
    assert store.queries.operations("blog", 3) == []
    assert store.queries.job_rows("blog", 3) == []
    assert len(store.queries.operations("blog", 4)) == len(store.queries.job_rows("blog", 4)) == 1
    reader = LogReader(paths(tmp_path)["logs_db"])
    assert reader.info("blog", 3) is None
    assert [line.text for line in reader.read("blog", 4)] == ["line of d4"]
    reader.close()
    assert forget_old(store.database, store.logs, NOW) == 0


def test_what_is_not_old_stays_however_much_there_is(store: Store) -> None:
    for number in range(1, KEPT_DEPLOYMENTS + 4):
        fail(store, number, NOW - KEPT_S + number)
    assert forget_old(store.database, store.logs, NOW) == 0


def test_what_serves_or_could_be_gone_back_to_stays(store: Store) -> None:
    """d1 served until less than a year ago, d2 serves, however long ago it began."""
    go_live(store, 1, LONG_AGO)
    go_live(store, 2, NOW - KEPT_S - 100, previous=1)
    for number in range(3, KEPT_DEPLOYMENTS + 10):
        fail(store, number, NOW - KEPT_S - 50)
    forget_old(store.database, store.logs, NOW)
    assert numbers(store)[-2:] == [2, 1]
    past = store.queries.history().of("blog")
    assert past.live is not None
    assert past.live.number == 2
    assert past.retired == {"sha256:1": NOW - KEPT_S - 100}


def test_what_served_more_than_a_year_ago_goes(store: Store) -> None:
    for number in (1, 2, 3):
        go_live(store, number, LONG_AGO + number, previous=number - 1)
    for number in range(4, KEPT_DEPLOYMENTS + 10):
        fail(store, number, NOW)
    forget_old(store.database, store.logs, NOW)
    assert numbers(store)[-3:] == [4, 3, 2], "d3 serves, d2 is what it replaced"


def test_a_log_that_is_being_written_is_not_touched(store: Store) -> None:
    sink = store.logs.open_log("blog", 1, now=NOW)
    store.logs.forget([("blog", 1)])
    sink.write("stdout", "still here", at=NOW)
    sink.close()
