"""Reading: cheap while nothing changes, cheap with a long past, and by pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.errors import StoreUnusable
from reconciler.history.queries import RELEASES_FOR_PLANNING, Queries
from reconciler.history.store import Store
from reconciler.model.release import History, State
from tests.history_support import bring_to, make_store, opening, paths

PROJECTS = 150
LONG_AGO = 700


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = make_store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def old_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """150 projects with 105,000 deployments, copied from one that was recorded."""
    store = make_store(tmp_path_factory.mktemp("old"))
    for number in range(PROJECTS):
        store.recorder.open_deployment(opening(1, f"project-{number}"), 1.0)
    with store.database.transaction() as connection:
        connection.execute("CREATE TEMP TABLE copy AS SELECT * FROM deployments")
        for number in range(2, LONG_AGO + 2):
            connection.execute("UPDATE copy SET id = NULL, state = 'retired', number = ?1, release = ?1", (number,))
            connection.execute("INSERT INTO deployments SELECT * FROM copy")
            connection.execute(
                "INSERT INTO releases SELECT project, number, 'sha256:' || number, 'c', 'k', 1.0 FROM copy"
            )
        connection.execute("UPDATE deployments SET state = 'live' WHERE number = ?", (LONG_AGO + 1,))
        connection.execute("UPDATE projects SET live = ?1, last_number = ?1", (LONG_AGO + 1,))
    yield store
    store.close()


def test_planning_reads_a_long_past_fast_and_an_unchanged_one_for_nothing(old_store: Store) -> None:
    began = time.perf_counter()
    history = old_store.queries.history()
    first_s = time.perf_counter() - began
    assert len(history.projects) == PROJECTS
    past = history.of("project-7")
    assert past.live is not None
    assert past.live.number == LONG_AGO + 1
    assert len(past.releases) <= RELEASES_FOR_PLANNING + 2
    began = time.perf_counter()
    for _ in range(100):
        assert old_store.queries.history() is history
    unchanged_s = (time.perf_counter() - began) / 100
    old_store.recorder.record_repair("project-7", 5.0)
    began = time.perf_counter()
    changed = old_store.queries.history()
    changed_s = time.perf_counter() - began
    assert changed.of("project-7").repairs == (5.0,)
    assert changed.of("project-8") is history.of("project-8")
    assert (first_s < 5.0, changed_s < 0.5, unchanged_s < 0.005) == (True, True, True)


def test_pages_of_deployments_go_back_by_number(old_store: Store) -> None:
    page = old_store.queries.deployments("project-3", limit=50)
    assert [each.number for each in page] == list(range(LONG_AGO + 1, LONG_AGO - 49, -1))
    page = old_store.queries.deployments("project-3", before=page[-1].number, limit=50)
    assert page[0].number == LONG_AGO - 49
    assert old_store.queries.deployments("project-3", before=1) == []
    assert [each.number for each in old_store.queries.releases("project-3", limit=2)] == [LONG_AGO + 1, LONG_AGO]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM deployments WHERE project = 'p' AND number < 9 ORDER BY number DESC LIMIT 50",
        "SELECT number, drain_until FROM deployments WHERE project = 'p' AND drain_until > 0 ORDER BY number DESC",
        "SELECT * FROM operations WHERE project = 'p' AND deployment = 3 ORDER BY id DESC LIMIT 1000",
        "SELECT * FROM events WHERE project = 'p' ORDER BY last_at DESC LIMIT 50",
        "SELECT * FROM projects WHERE touched > 5",
        "SELECT started_at FROM jobs WHERE project = 'p' AND kind = 'build' AND state = 'succeeded' ORDER BY id DESC",
    ],
)
def test_no_page_scans_or_sorts_a_table(store: Store, sql: str) -> None:
    steps = [row["detail"] for row in store.database.fetch(f"EXPLAIN QUERY PLAN {sql}")]
    assert all("SEARCH" in step and "TEMP B-TREE" not in step for step in steps), steps


def test_unknown_names_have_no_past(store: Store) -> None:
    queries = store.queries
    assert queries.history() == History()
    assert queries.deployment("nobody", 1) is None
    assert (queries.status("nobody"), queries.statuses(), queries.deployments("nobody")) == (None, [], [])
    assert (queries.events("nobody"), queries.operations("nobody", 1), queries.job_rows("nobody", 1)) == ([], [], [])


def test_a_reader_sees_what_another_process_wrote_and_the_version_moves(store: Store, tmp_path: Path) -> None:
    reader = Queries(paths(tmp_path)["state_db"])
    before = reader.data_version()
    assert reader.data_version() == before
    bring_to(store, 1, State.LIVE)
    assert reader.data_version() != before
    assert reader.deployments("blog")[0].state is State.LIVE
    reader.close()


def test_a_reader_may_be_made_before_the_store_and_follows_a_new_one(tmp_path: Path) -> None:
    """Invariant 10: the files are deleted while a reader is open."""
    reader = Queries(paths(tmp_path)["state_db"])
    with pytest.raises(StoreUnusable, match="there is no store at"):
        reader.history()
    first = make_store(tmp_path)
    bring_to(first, 1, State.LIVE)
    assert reader.history().of("blog").last_number == 1
    first.close()
    for path in paths(tmp_path).values():
        path.unlink()
    second = make_store(tmp_path)
    assert reader.history() == History()
    bring_to(second, 1, State.QUEUED, project="shop")
    assert set(reader.history().projects) == {"shop"}
    reader.close()
    second.close()
