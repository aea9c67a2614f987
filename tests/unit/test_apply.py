"""Apply decides nothing: a function for each operation, a walk that stops at the first failure."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import get_args

import pytest

from reconciler.adapters.docker_engine import DockerEngine
from reconciler.apply.build import close_log, public_source
from reconciler.apply.failpoints import Failpoints, places
from reconciler.apply.jobs import Cancel, Jobs, Outcome
from reconciler.apply.operations import HANDLERS
from reconciler.apply.output import Outputs
from reconciler.errors import BuildFailed, EngineUnavailable, StoreBusy, StoreUnusable
from reconciler.history.logs import BuildLogs
from reconciler.masking import Masker
from reconciler.model.condition import Reason
from reconciler.model.job import Job, JobKey, JobKind
from reconciler.model.operation import OPERATIONS


class Rows:
    """Collects what jobs tell; the rows themselves are tested in test_history_recorder."""

    def __init__(self) -> None:
        self.started: list[Job] = []
        self.ended: list[Job] = []
        self.is_full = False

    def job_started(self, job: Job) -> None:
        self.started.append(job)

    def job_ended(self, job: Job) -> None:
        if self.is_full:
            raise StoreBusy("the disk of state.db is full")
        self.ended.append(job)


def jobs_and_news() -> tuple[Jobs, Rows, threading.Event]:
    rows, news = Rows(), threading.Event()
    jobs = Jobs(rows, clock=lambda: 7.0, on_change=lambda _: news.set(), failpoints=Failpoints())  # type: ignore[arg-type]
    return jobs, rows, news


KEY = JobKey("shop", 1, "build")


def until_cancelled(cancel: Cancel) -> Outcome:
    assert cancel.event.wait(5)
    return Outcome()


def test_every_operation_has_exactly_one_function() -> None:
    assert set(HANDLERS) == set(OPERATIONS)
    assert len(set(HANDLERS.values())) == len(OPERATIONS)


def test_failpoints_are_on_both_sides_of_every_operation_and_job() -> None:
    found = set(places())
    for operation in OPERATIONS:
        assert {f"before:{operation.__name__}", f"after:{operation.__name__}"} <= found
    for kind in get_args(JobKind):
        assert {f"begin:{kind}", f"end:{kind}"} <= found


def test_a_job_that_went_well_is_observed_with_its_result() -> None:
    jobs, rows, news = jobs_and_news()
    jobs.start(KEY, lambda _: Outcome(image_id="sha256:1"), subject="key", deadline_s=5)
    assert news.wait(5)
    job = jobs.snapshot()[KEY]
    assert (job.state, job.image_id, job.subject, job.deadline_at) == ("succeeded", "sha256:1", "key", 12.0)
    assert [each.state for each in (*rows.started, *rows.ended)] == ["running", "succeeded"]


def test_an_error_of_a_job_becomes_its_outcome_with_reason_and_remedy() -> None:
    jobs, _, news = jobs_and_news()

    def work(_: Cancel) -> Outcome:
        raise BuildFailed("step 3 failed", remedy="Push a fix")

    jobs.start(KEY, work, subject="key", deadline_s=5)
    assert news.wait(5)
    job = jobs.snapshot()[KEY]
    assert (job.state, job.reason, job.message, job.hint, job.retryable) == (
        "failed",
        Reason.BUILD_FAILED,
        "step 3 failed",
        "Push a fix",
        False,
    )


def test_an_error_that_waiting_cures_is_retryable() -> None:
    jobs, _, news = jobs_and_news()

    def work(_: Cancel) -> Outcome:
        raise EngineUnavailable("no answer")

    jobs.start(KEY, work, subject="key", deadline_s=5)
    assert news.wait(5)
    assert jobs.snapshot()[KEY].retryable


def test_a_fault_of_ours_in_a_job_is_an_outcome_too() -> None:
    jobs, _, news = jobs_and_news()
    jobs.start(KEY, lambda _: 1 / 0, subject="key", deadline_s=5)  # type: ignore[arg-type,return-value]
    assert news.wait(5)
    assert "ZeroDivisionError" in jobs.snapshot()[KEY].message


def test_a_job_whose_end_cannot_be_written_down_is_over_all_the_same() -> None:
    jobs, rows, news = jobs_and_news()
    rows.is_full = True
    jobs.start(KEY, lambda _: Outcome(image_id="sha256:1"), subject="key", deadline_s=5)
    assert news.wait(5)
    assert (jobs.snapshot()[KEY].state, jobs.snapshot()[KEY].image_id) == ("succeeded", "sha256:1")


def test_a_log_that_takes_no_line_keeps_no_deployment_from_ending(tmp_path: Path) -> None:
    logs = BuildLogs(tmp_path / "logs.db", create=True)
    logs.close()
    engine = DockerEngine("unix:///nowhere.sock", instance="k3v9qa")
    with pytest.raises(StoreUnusable):
        logs.open_log("shop", 1, now=1.0)
    Outputs(lambda _: Masker(), engine, lambda name, number: logs.open_log(name, number, now=1.0), lambda: 1.0).keep(
        "shop", 1, "gs-k3v9qa-shop-d1-web-1"
    )


def test_a_log_that_cannot_be_closed_undoes_no_build(tmp_path: Path) -> None:
    logs = BuildLogs(tmp_path / "logs.db", create=True)
    sink, other = logs.open_log("shop", 1, now=1.0), logs.open_log("shop", 2, now=1.0)
    logs.close()
    with pytest.raises(StoreUnusable):
        other.close()
    close_log(sink, "shop d1")


def test_a_cancelled_job_leaves_no_outcome() -> None:
    jobs, _, news = jobs_and_news()
    jobs.start(KEY, until_cancelled, subject="key", deadline_s=5)
    jobs.cancel(KEY)
    assert news.wait(5)
    assert KEY not in jobs.snapshot()


def test_what_is_forgotten_is_settled_and_nothing_that_runs() -> None:
    jobs, _, news = jobs_and_news()
    jobs.start(KEY, lambda _: Outcome(), subject="key", deadline_s=5)
    assert news.wait(5)
    running = JobKey("shop", 1, "probe")
    jobs.start(running, until_cancelled, subject="x", deadline_s=5)
    jobs.forget("shop", 1)
    assert set(jobs.snapshot()) == {running}
    jobs.close()


@pytest.mark.parametrize(
    ("repo", "shown"),
    [
        ("https://git.example.com/acme/blog.git", "https://git.example.com/acme/blog.git"),
        ("https://ana:token@git.example.com/acme/blog.git", "https://git.example.com/acme/blog.git"),
        ("ssh://git@git.example.com/acme/blog.git", "ssh://git.example.com/acme/blog.git"),
        ("git@git.example.com:acme/blog.git", "git@git.example.com:acme/blog.git"),
    ],
)
def test_an_image_says_where_its_source_is_without_a_name_or_password(repo: str, shown: str) -> None:
    assert public_source(repo) == {"org.opencontainers.image.source": shown}


@pytest.mark.parametrize("repo", ["/srv/git/blog.git", "file:///srv/git/blog.git"])
def test_a_path_of_this_host_is_no_source_for_others(repo: str) -> None:
    assert public_source(repo) == {}
