"""The journal, jobs, failures, events and what stands until it is replaced."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.history.recorder import EVENT_MERGE_S, EVENTS_KEPT
from reconciler.history.store import Store
from reconciler.masking import Masker
from reconciler.model.condition import Condition, Health, Reason
from reconciler.model.effects import Done, Journal
from reconciler.model.job import Job, JobKey
from reconciler.model.operation import PLATFORM, Cause, CreateNetwork
from reconciler.model.release import Commit, State
from reconciler.model.status import ProjectStatus
from tests.history_support import CHANGE, adopting, bring_to, ending, make_store, opening

NETWORK = CreateNetwork(project="blog", deployment=3, cause=CHANGE, network="gs-abc123-blog")
STATUS = ProjectStatus(
    project="blog",
    health=Health.DEGRADED,
    conditions=(Condition("Ready", "False", Reason.CRASH_LOOP, "exit 127, again and again"),),
    release=3,
    address="http://blog.localhost",
    desired={"run.port": "8000"},
    observed={"container": "exited"},
    blocks=("nothing",),
)
ROWS_OF_A_PROJECT = (
    "SELECT * FROM operations WHERE project = ?",
    "SELECT * FROM deployments WHERE project = ?",
    "SELECT * FROM jobs WHERE project = ?",
    "SELECT * FROM failures WHERE project = ?",
    "SELECT * FROM events WHERE project = ?",
    "SELECT * FROM statuses WHERE project = ?",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = make_store(tmp_path, masker_of=lambda _: Masker(["hunter22"]))
    yield opened
    opened.close()


def test_the_recorder_is_the_journal_that_apply_is_handed(store: Store) -> None:
    journal: Journal = store.recorder
    row_id = journal.begin(NETWORK, request_id="r-1", now=10.0)
    [row] = store.queries.operations("blog", 3)
    assert (row.operation, row.resource, row.request_id, row.outcome) == ("CreateNetwork", "gs-abc123-blog", "r-1", "")
    assert (row.cause, row.cause_text) == ("change", "commit 3f9c1e2 by Ana")
    journal.succeed(row_id, result="net-1", now=11.0)
    [row] = store.queries.operations("blog", 3)
    assert (row.outcome, row.result, row.begun_at, row.ended_at) == ("ok", "net-1", 10.0, 11.0)


def test_the_next_intent_closes_the_operation_before_it_in_the_same_write(store: Store) -> None:
    first = store.recorder.begin(NETWORK, request_id="r-1", now=10.0)
    version = store.queries.data_version()[1]
    second = store.recorder.begin(NETWORK, request_id="r-1", now=11.5, after=Done(first, "net-1", 11.0))
    assert store.queries.data_version()[1] == version + 1
    rows = store.queries.operations(NETWORK.project, NETWORK.deployment)
    assert [(row.id, row.outcome, row.result, row.ended_at) for row in rows] == [
        (first, "ok", "net-1", 11.0),
        (second, "", "", 0.0),
    ]


def test_a_failed_operation_says_why_and_never_holds_a_secret(store: Store) -> None:
    """Invariant 6."""
    row_id = store.recorder.begin(NETWORK, request_id="r-1", now=10.0)
    store.recorder.fail(row_id, reason="EngineRefused", message="login hunter22 refused", retryable=True, now=12.0)
    store.recorder.record_failure("blog", "x", reason="R", message="hunter22", retryable=False, now=1.0)
    store.recorder.record_event("blog", "drift", "env has hunter22", now=1.0)
    store.recorder.open_deployment(opening(1), 1.0)
    store.recorder.end(ending(1, message="hunter22", hint="hunter22"), 2.0)
    [row] = store.queries.operations("blog", 3)
    assert (row.outcome, row.reason, row.message, row.retryable) == (
        "failed",
        "EngineRefused",
        "login [masked] refused",
        True,
    )
    store.close(clean=False)
    assert b"hunter22" not in b"".join(each.read_bytes() for each in store.database.path.parent.iterdir())


def test_start_closes_open_rows_of_journal_and_jobs(store: Store) -> None:
    """Invariant 4: the journal is evidence, never instruction."""
    done = store.recorder.begin(NETWORK, request_id="r-1", now=10.0)
    store.recorder.succeed(done, result="", now=10.5)
    store.recorder.begin(NETWORK, request_id="r-1", now=11.0)
    store.recorder.job_started(Job(JobKey("blog", 3, "build"), "running", "key", 11.0, 99.0))
    store.recorder.interrupt_open(20.0)
    assert [row.outcome for row in store.queries.operations("blog", 3)] == ["ok", "interrupted"]
    [job] = store.queries.job_rows("blog", 3)
    assert (job.state, job.reason, job.retryable, job.ended_at) == ("failed", "Interrupted", True, 20.0)


def test_a_job_has_one_row_from_start_to_end(store: Store) -> None:
    running = Job(JobKey("blog", 3, "build"), "running", "key", 11.0, 99.0)
    ended = replace(running, state="succeeded", ended_at=42.0, image_id="sha256:1")
    for _ in range(2):
        store.recorder.job_started(running)
        store.recorder.job_ended(ended)
    store.recorder.job_ended(replace(ended, key=JobKey("blog", 4, "build"), ended_at=21.0))
    assert store.queries.job_rows("blog", 3) == [ended]
    assert store.queries.build_durations("blog") == [10.0, 31.0]


def test_failures_count_until_one_goes_well(store: Store) -> None:
    told = {"reason": "EngineUnavailable", "message": "no answer", "retryable": True}
    assert store.recorder.record_failure("blog", "gs-1", now=1.0, **told) == 1
    assert store.recorder.record_failure("blog", "gs-1", now=2.0, **told) == 2
    failure = store.queries.history().last_failures["blog"]
    assert (failure.attempts, failure.at, failure.reason, failure.retryable) == (2, 2.0, "EngineUnavailable", True)
    assert store.recorder.clear_failure("blog")
    assert not store.recorder.clear_failure("blog")
    assert store.queries.history().last_failures == {}


def test_repairs_are_remembered_up_to_twenty_oldest_first(store: Store) -> None:
    for at in range(30):
        store.recorder.record_repair("blog", float(at))
    assert store.queries.history().of("blog").repairs == tuple(float(at) for at in range(10, 30))


def test_equal_events_close_together_are_one_row_with_a_count(store: Store) -> None:
    record = store.recorder.record_event
    assert record("blog", "drift", "killed", now=100.0, reason="Exited")
    assert record("blog", "condition", "Ready", now=101.0, reason="Live")
    assert not record("blog", "drift", "killed again", now=102.0, reason="Exited")
    assert record("shop", "drift", "killed", now=102.0, reason="Exited")
    assert record("blog", "drift", "killed", now=5000.0, reason="Exited")
    assert [(each.text, each.count, each.first_at, each.last_at) for each in store.queries.events("blog")] == [
        ("killed", 1, 5000.0, 5000.0),
        ("killed again", 2, 100.0, 102.0),
        ("Ready", 1, 101.0, 101.0),
    ]


def test_events_of_a_project_are_bounded(store: Store) -> None:
    for number in range(EVENTS_KEPT + 5):
        store.recorder.record_event("blog", "drift", f"event {number}", now=float(number), reason=str(number))
    events = store.queries.events("blog", limit=10_000)
    assert len(events) == EVENTS_KEPT
    assert events[0].text == f"event {EVENTS_KEPT + 4}"


def test_a_status_reads_back_whole_and_is_written_only_when_it_changed(store: Store) -> None:
    """Invariant 11."""
    assert store.recorder.save_statuses([STATUS])
    assert store.queries.status("blog") == STATUS
    version, writes = store.queries.data_version(), store.recorder.writes
    assert not store.recorder.save_statuses([replace(STATUS)])
    assert (store.queries.data_version(), store.recorder.writes) == (version, writes)
    changed = replace(STATUS, health=Health.HEALTHY)
    other = replace(STATUS, project="shop")
    assert store.recorder.save_statuses([changed, other, changed]) == 2
    assert store.recorder.told_projects == {"blog", "shop"}
    assert store.queries.statuses() == [changed, other]
    assert store.recorder.forget_status("shop")
    assert not store.recorder.forget_status("shop")
    assert store.queries.status("shop") is None


def test_a_project_s_rows_tell_nobody_which_words_are_another_s_secrets(tmp_path: Path) -> None:
    """Invariant 6: else whoever pushes a word list reads in its commit's subject which of them are masked."""
    maskers = {"blog": Masker(["hunter22"]), "shop": Masker(), PLATFORM: Masker(["hunter22"])}
    store = make_store(tmp_path, masker_of=maskers.__getitem__)
    guesses, masked = "hunter21 hunter22", "hunter21 [masked]"
    for name in maskers:
        _say_everywhere(store, name, guesses)
        kept = [str([tuple(row) for row in store.database.fetch(sql, (name,))]) for sql in ROWS_OF_A_PROJECT]
        shown, hidden = (guesses, masked) if name == "shop" else (masked, guesses)
        assert [text for text in kept if shown not in text or hidden in text] == [], name
    deployment, status = store.queries.deployment("shop", 1), store.queries.status("shop")
    assert deployment is not None
    assert status is not None
    assert (deployment.commit.subject, deployment.cause_text, status.subject) == (guesses, guesses, guesses)
    store.close()


def test_a_status_is_masked_anew_when_its_own_project_s_secrets_become_known(tmp_path: Path) -> None:
    """Invariant 11: those of another write nothing."""
    maskers = {"blog": Masker(), "shop": Masker(["of-the-shop"])}
    store = make_store(tmp_path, masker_of=maskers.__getitem__)
    told = [replace(STATUS, project=name, subject="hunter22") for name in maskers]
    assert store.recorder.save_statuses(told) == 2
    maskers["shop"].add("another-of-the-shop")
    assert store.recorder.save_statuses(told) == 0
    maskers["blog"].add("hunter22")
    assert store.recorder.save_statuses(told) == 1
    assert [each.subject for each in store.queries.statuses()] == ["[masked]", "hunter22"]
    store.close()


def _say_everywhere(store: Store, name: str, text: str) -> None:
    recorder, cause = store.recorder, Cause("change", text)
    operation = replace(NETWORK, project=name, cause=cause)
    first = recorder.begin(operation, request_id="r", now=1.0)
    second = recorder.begin(operation, request_id="r", now=2.0, after=Done(first, text, 2.0))
    recorder.fail(second, reason="R", message=text, retryable=False, now=3.0)
    recorder.succeed(recorder.begin(operation, request_id="r", now=4.0), result=text, now=4.0)
    commit = Commit("3f9c1e2", subject=text)
    recorder.open_deployment(replace(opening(1, name, commit=commit), cause=cause), 1.0)
    recorder.end(ending(1, project=name, message=text, hint=text), 2.0)
    recorder.job_ended(Job(JobKey(name, 1, "build"), "failed", "key", 1.0, 9.0, message=text, hint=text))
    recorder.record_failure(name, "x", reason="R", message=text, retryable=False, now=1.0)
    for at in (1.0, 2.0, EVENT_MERGE_S * 2):
        recorder.record_event(name, "drift", text, now=at)
    recorder.save_statuses([replace(STATUS, project=name, subject=text, last_error=text)])


def test_a_secret_that_is_spelled_like_a_word_of_ours_leaves_the_status_readable(tmp_path: Path) -> None:
    masker = Masker(["project", "Healthy", "conditions", '", "', "null", "hunter22"])
    store = make_store(tmp_path, masker_of=lambda _: masker)
    conditions = (Condition("Ready", "True", Reason.LIVE, "it printed hunter22"),)
    told = replace(STATUS, conditions=conditions, last_error="hunter22 again", blocks=("hunter22",))
    assert store.recorder.save_statuses([told])
    read = store.queries.status(STATUS.project)
    store.close()
    assert read is not None
    assert (read.project, read.health) == (STATUS.project, STATUS.health)
    assert (read.last_error, read.blocks) == ("[masked] again", ("[masked]",))
    assert read.conditions[0].message == "it printed [masked]"


def test_statuses_are_known_unchanged_after_a_restart_too(tmp_path: Path) -> None:
    first = make_store(tmp_path)
    first.recorder.save_statuses([STATUS])
    first.close()
    second = make_store(tmp_path)
    assert not second.recorder.save_statuses([STATUS])
    assert second.writes == 0
    second.close()


def test_a_pass_with_nothing_to_do_writes_nothing(store: Store) -> None:
    """Invariant 11."""
    recorder = store.recorder

    def one_pass() -> None:
        recorder.save_statuses([STATUS])
        recorder.save_good_spec("blog", blob="b1", text=b"name: blog", revision="main@1")
        recorder.save_good_platform(blob="p1", text=b"domain: x", revision="main@1")
        recorder.add_inventory("c1", project_name="blog", container_name="gs-1", adopted=False, now=1.0)
        recorder.save_routes_digest("d1")
        recorder.approve("a" * 64, project_name="blog", by="ana", now=1.0)
        recorder.clear_failure("blog")
        recorder.adopt(adopting(4), 1.0)
        recorder.interrupt_open(1.0)
        store.inbox.take_requests(1.0)
        store.logs.settle(1.0)
        store.queries.history()

    one_pass()
    writes, version, history = store.writes, store.queries.data_version(), store.queries.history()
    one_pass()
    assert store.writes == writes
    assert store.queries.data_version() == version
    assert store.queries.history() is history


def test_good_specs_are_kept_with_the_revision_that_first_had_them(store: Store) -> None:
    recorder = store.recorder
    assert recorder.save_good_spec("blog", blob="b1", text=b"\xffone", revision="main@1")
    assert not recorder.save_good_spec("blog", blob="b1", text=b"\xffone", revision="main@2")
    assert store.queries.good_specs() == {"blog": ("b1", b"\xffone", "main@1")}
    assert recorder.save_good_spec("blog", blob="b2", text=b"two", revision="main@3")
    assert store.queries.good_platform() is None
    assert recorder.save_good_platform(blob="p", text=b"platform", revision="main@3")
    assert store.queries.good_platform() == ("p", b"platform", "main@3")
    assert store.queries.good_specs() == {"blog": ("b2", b"two", "main@3")}
    assert recorder.forget_good_spec("blog")
    assert not recorder.forget_good_spec("blog")
    assert store.queries.good_specs() == {}


def test_inventory_approvals_and_the_routes_digest_are_part_of_what_planning_knows(store: Store) -> None:
    recorder = store.recorder
    recorder.add_inventory("c1", project_name="blog", container_name="gs-1", adopted=False, now=1.0)
    recorder.add_inventory("c2", project_name="blog", container_name="gs-2", adopted=True, now=1.0)
    recorder.approve("d" * 64, project_name="blog", by="ana", now=1.0)
    recorder.save_routes_digest("r1")
    recorder.save_routes_digest("r2")
    history = store.queries.history()
    assert history.inventory == {"c1", "c2"}
    assert history.approved == {"d" * 64}
    assert history.routes_digest == "r2"
    assert recorder.remove_inventory("c1")
    assert not recorder.remove_inventory("c1")
    assert store.queries.history().inventory == {"c2"}


def test_many_threads_may_write_at_once(store: Store) -> None:
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for count in range(20):
                row_id = store.recorder.begin(NETWORK, request_id=f"{number}-{count}", now=float(count))
                store.recorder.succeed(row_id, result="ok", now=float(count))
                store.queries.history()
            bring_to(store, 1, State.LIVE, project=f"project-{number}")
        except BaseException as error:
            problems.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert problems == []
    rows = store.queries.operations("blog", 3)
    assert len(rows) == 160
    assert {row.outcome for row in rows} == {"ok"}
    assert len(store.queries.history().projects) == 8
