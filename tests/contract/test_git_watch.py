"""A push to a repository of this host is noticed at once, and every kind of vanishing is survived."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.loop.watch import LocalWatch
from tests.git_servers import Source, git, until


class Told:
    """What the watch reported, with the times."""

    def __init__(self) -> None:
        self.repos: list[str] = []
        self.times: list[float] = []
        self._lock = threading.Lock()

    def __call__(self, repo: str) -> None:
        with self._lock:
            self.repos.append(repo)
            self.times.append(time.monotonic())

    def clear(self) -> None:
        with self._lock:
            self.repos.clear()
            self.times.clear()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def watch(told: Told) -> Iterator[LocalWatch]:
    made = LocalWatch(told)
    yield made
    made.close()


@pytest.fixture
def source(tmp_path: Path) -> Source:
    made = Source(tmp_path)
    made.push({"a": "1"})
    return made


def test_a_push_is_reported_before_it_returns_or_within_a_moment(source: Source, told: Told, watch: LocalWatch) -> None:
    watch.watch(frozenset({str(source.bare)}))
    assert told.repos == [str(source.bare)], "a new one is reported once, for what came before"
    told.clear()
    source.push({"a": "2"})
    returned = time.monotonic()
    until(lambda: told.repos, timeout_s=2, what="the report")
    assert set(told.repos) == {str(source.bare)}
    assert told.times[0] - returned < 0.5


def test_a_new_branch_in_a_new_folder_a_deletion_and_packed_refs_are_reported(
    source: Source, told: Told, watch: LocalWatch
) -> None:
    watch.watch(frozenset({str(source.bare)}))
    for step in (
        lambda: source.push({"a": "2"}, branch="feature/deep/one"),
        lambda: source.push({"a": "3"}, branch="feature/deep/one"),
        lambda: git("pack-refs", "--all", "--prune", cwd=source.bare),
        lambda: git("push", "-q", "origin", ":feature/deep/one", cwd=source.work),
        lambda: source.rewrite({"a": "4"}),
    ):
        told.clear()
        step()
        until(lambda: told.repos, timeout_s=5, what="the report")


def test_a_commit_in_a_working_repository_is_reported_under_each_spelling(
    source: Source, told: Told, watch: LocalWatch
) -> None:
    spellings = frozenset({str(source.work), f"file://{source.work}"})
    watch.watch(spellings)
    assert watch.watched == spellings
    told.clear()
    git("commit", "-q", "--allow-empty", "-m", "Here", cwd=source.work)
    until(lambda: set(told.repos) == spellings, timeout_s=5, what="both spellings")


def test_work_in_the_tree_without_a_commit_is_not_reported(source: Source, told: Told, watch: LocalWatch) -> None:
    watch.watch(frozenset({str(source.work)}))
    told.clear()
    (source.work / "a").write_text("edited")
    git("add", "a", cwd=source.work)
    (source.work / ".git" / "refs" / "heads" / "main.lock").write_text("")
    git("tag", "after", cwd=source.work)
    until(lambda: told.repos, timeout_s=5, what="the tag that came last")
    assert len(told.repos) <= 3, "only the tag"


def test_what_is_not_there_or_not_local_is_passed_over(source: Source, told: Told, watch: LocalWatch) -> None:
    there = str(source.bare)
    watch.watch(frozenset({"/nowhere/app.git", "https://example.com/app.git", "git@example.com:app.git", "", there}))
    assert watch.watched == {there}


def test_a_repository_that_is_removed_and_made_again_is_watched_again(
    source: Source, told: Told, watch: LocalWatch
) -> None:
    repos = frozenset({str(source.bare)})
    watch.watch(repos)
    shutil.rmtree(source.bare)
    watch.watch(repos)
    assert watch.watched == frozenset()
    git("init", "-q", "--bare", "-b", "main", str(source.bare), cwd=source.bare.parent)
    told.clear()
    watch.watch(repos)
    assert told.repos == [str(source.bare)]
    told.clear()
    source.push({"a": "2"})
    until(lambda: told.repos, timeout_s=5, what="the push to the new one")


def test_a_repository_that_is_replaced_between_two_looks_is_watched_again(
    source: Source, told: Told, watch: LocalWatch
) -> None:
    repos = frozenset({str(source.bare)})
    watch.watch(repos)
    source.bare.rename(source.bare.with_name("old.git"))
    git("init", "-q", "--bare", "-b", "main", str(source.bare), cwd=source.bare.parent)
    watch.watch(repos)
    told.clear()
    source.push({"a": "2"})
    until(lambda: told.repos, timeout_s=5, what="the push to the new one")


def test_watching_the_same_again_changes_nothing_and_what_left_is_silent(
    source: Source, told: Told, watch: LocalWatch, tmp_path: Path
) -> None:
    other = Source(tmp_path, "other")
    both = frozenset({str(source.bare), str(other.bare)})
    watch.watch(both)
    told.clear()
    threads = threading.active_count()
    for _ in range(5):
        watch.watch(both)
    assert told.repos == []
    assert threading.active_count() == threads
    watch.watch(frozenset({str(other.bare)}))
    source.push({"a": "2"})
    other.push({"b": "1"})
    until(lambda: told.repos, timeout_s=5, what="the other one")
    assert set(told.repos) == {str(other.bare)}


def test_close_ends_every_thread_and_may_be_called_twice(source: Source) -> None:
    before = threading.active_count()
    watch = LocalWatch(lambda repo: None)
    watch.watch(frozenset({str(source.bare)}))
    watch.close()
    watch.close()
    until(lambda: threading.active_count() == before, what="the threads to end")
