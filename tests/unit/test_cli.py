"""The program on a real store: what each command prints, how it ends, and that errors are texts, not tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reconciler.cli import main
from reconciler.history.store import Store
from reconciler.model.condition import Condition, Health, Reason
from reconciler.model.release import State
from reconciler.model.status import ProjectStatus
from tests.history_support import bring_to, make_store

ROOT = Path(__file__).resolve().parents[2]
Program = Callable[..., Result]

LIVE = ProjectStatus(
    project="blog",
    health=Health.HEALTHY,
    conditions=(Condition("Ready", "True", Reason.LIVE, 'r2 (3f9c1e2) serves: "Fix cart total", Ana'),),
    release=2,
    deployment=2,
    commit="3f9c1e2" + "0" * 33,
    since=1000.0,
    address="http://blog.localhost:8680",
    desired={"run.memory": "256m"},
    observed={"container": "gs-abc123-blog-d2-web-1 running"},
)
WAITING = ProjectStatus(
    project="shop",
    health=Health.PROGRESSING,
    conditions=(Condition("Reconciling", "True", Reason.WAITING_FOR_APPROVAL, "3 of 4 projects would be removed"),),
    waiting="d" * 64,
    blocks=("a person's approval",),
    last_error="the last try failed",
    next_retry_at=1060.0,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Two projects: blog is live on its second deployment, shop waits for an approval."""
    made = make_store(tmp_path)
    bring_to(made, 1, State.LIVE)
    bring_to(made, 2, State.LIVE, at=2000.0)
    bring_to(made, 3, State.FAILED, at=3000.0)
    log = made.logs.open_log("blog", 2, now=2000.0)
    log.write("stdout", "Collecting flask", at=2001.5)
    log.write("stderr", "a warning", at=2002.0)
    log.close()
    made.recorder.save_statuses([LIVE, WAITING])
    yield made
    made.close()


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """`gitstead` with that state folder, without a terminal."""

    def run(*words: str, **env: str) -> Result:
        values = {"GITSTEAD_RUNTIME": str(tmp_path / "run"), "GITSTEAD_PLATFORM_REPO": None, "COLUMNS": "80", **env}
        return CliRunner().invoke(main, ["--state", str(tmp_path), *words], env=values)

    return run


def test_status_shows_each_project_with_what_it_waits_for(store: Store, program: Program) -> None:
    done = program("status")
    assert done.exit_code == 0
    blog, shop, why = done.stdout.splitlines()[1:4]
    assert blog.split()[:5] == ["blog", "●", "Healthy", "r2", "3f9c1e2"]
    assert blog.endswith("http://blog.localhost:8680")
    assert shop.startswith("shop")
    assert "WaitingForApproval: 3 of 4 projects would be removed" in why
    assert "1 healthy · 1 progressing · the reconciler does not run" in done.stdout


def test_status_of_one_project_says_why_it_is_as_it_is(store: Store, program: Program) -> None:
    text = program("status", "shop").stdout
    assert text.startswith("shop is Progressing. 3 of 4 projects would be removed")
    for part in ("Reconciling is True (WaitingForApproval)", "a person's approval", "the last try failed", "00:17:40"):
        assert part in text
    assert "run.memory" in program("status", "blog").stdout


def test_status_as_json_has_the_same_facts(store: Store, program: Program) -> None:
    rows = {row["project"]: row for row in json.loads(program("status", "--json").stdout)}
    assert rows["blog"]["release"] == 2
    assert rows["shop"]["conditions"][0]["reason"] == "WaitingForApproval"


def test_a_project_that_is_not_there_is_answered_with_those_that_are(store: Store, program: Program) -> None:
    done = program("status", "blgo")
    assert done.exit_code == 1
    assert 'there is no project "blgo"' in done.stderr
    assert "blog, shop" in done.stderr


def test_history_shows_state_commit_duration_and_cause(store: Store, program: Program) -> None:
    lines = program("history", "blog").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [["d3", "failed"], ["d2", "live"], ["d1", "retired"]]
    assert "step 3 failed" in lines[1]
    assert "3f9c1e2" in lines[2]
    assert "5.0s" in lines[2]
    assert "change: commit 3f9c1e2 by Ana" in lines[2]
    plain = json.loads(program("history", "blog", "--json", "--limit", "1").stdout)
    assert [each["number"] for each in plain["deployments"]] == [3]
    assert "no deployments yet" in program("history", "shop").stdout


def test_logs_print_a_build_on_the_streams_it_wrote_to(store: Store, program: Program) -> None:
    done = program("logs", "blog", "--build", "2")
    assert done.exit_code == 0
    assert "Collecting flask" in done.stdout
    assert "a warning" in done.stderr
    assert "1970-01-01 00:33:21 Collecting flask" in program("logs", "blog", "--build", "2", "--timestamps").stdout


def test_logs_say_what_there_is_where_a_build_is_missing(store: Store, program: Program) -> None:
    missing = program("logs", "blog", "--build", "9")
    assert missing.exit_code == 1
    assert "blog has no deployment d9" in missing.stderr
    assert "has no build log" in program("logs", "blog", "--build", "1").stderr
    assert "nothing of shop has gone live yet" in program("logs", "shop").stderr


def answered(store: Store, outcome: str, message: str) -> threading.Thread:
    """The reconciler's part: takes the one request and answers it."""

    def take() -> None:
        deadline = time.monotonic() + 10
        while not (requests := store.inbox.take_requests(time.time())):
            assert time.monotonic() < deadline
        store.inbox.mark_handled(requests[0].id, outcome=outcome, message=message, now=time.time())

    thread = threading.Thread(target=take)
    thread.start()
    return thread


def test_approve_leaves_the_digest_that_is_shown_and_prints_the_answer(store: Store, program: Program) -> None:
    taker = answered(store, "done", "shop goes on")
    done = program("approve", "shop")
    taker.join()
    assert (done.exit_code, done.stdout) == (0, "shop goes on\n")
    refused = program("approve", "blog")
    assert refused.exit_code == 1
    assert "blog waits for no approval" in refused.stderr


def test_a_request_that_is_turned_down_ends_with_1_and_the_reason(store: Store, program: Program) -> None:
    taker = answered(store, "refused", "the plan has changed: look again")
    done = program("approve", "shop")
    taker.join()
    assert done.exit_code == 1
    assert "the plan has changed: look again" in done.stderr


@pytest.mark.parametrize("words", [["status"], ["history", "blog"], ["approve", "blog"], ["logs", "blog"], ["sync"]])
def test_without_a_store_a_command_says_so_and_makes_none(tmp_path: Path, program: Program, words: list[str]) -> None:
    """No state never means anything but no state."""
    done = program(*words)
    assert done.exit_code == 1
    assert done.stderr.startswith("gitstead: ")
    assert "Traceback" not in done.output
    assert not (tmp_path / "state" / "state.db").exists()


def test_validate_ends_with_0_or_1_and_prints_every_problem(tmp_path: Path, program: Program) -> None:
    good = program("validate", str(ROOT / "examples" / "platform-repo"))
    assert good.exit_code == 0, good.output
    (tmp_path / "bad" / "projects").mkdir(parents=True)
    (tmp_path / "bad" / "platform.yaml").write_text("apiVersion: gitstead/v1\nkind: Platform\nx: 1\n")
    (tmp_path / "bad" / "projects" / "blog.yaml").write_text("apiVersion: gitstead/v1\nkind: Project\n")
    bad = program("validate", str(tmp_path / "bad"))
    assert bad.exit_code == 1
    assert "platform.yaml:3:1" in bad.stdout
    assert "projects/blog.yaml:1:1" in bad.stdout
    assert json.loads(program("validate", str(tmp_path / "bad"), "--json").stdout)


def test_up_without_a_platform_repository_says_how_to_name_one(program: Program) -> None:
    done = program("up")
    assert done.exit_code == 1
    assert "GITSTEAD_PLATFORM_REPO" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--host-file", "/nowhere/host.yaml", "status"], "/nowhere/host.yaml cannot be read"),
        (["plan", "main"], "gitstead: "),
        (["demo", "--reset", "--folder", "/nowhere/demo"], "/nowhere/demo is no demo of Gitstead"),
        (["demo", "--folder", "/tmp/a:b"], "without : { }"),
        (["demo", "--folder", "/tmp/" + "a" * 80], "at most 70 bytes"),
        (["demo", "--once", "--reset"], "exclude each other"),
    ],
)
def test_a_mistake_is_answered_with_one_readable_text(program: Program, words: list[str], told: str) -> None:
    done = program(*words)
    assert done.exit_code in (1, 2)
    assert told in done.stderr
    assert "Traceback" not in done.output


def test_a_traceback_comes_with_debug_alone(program: Program) -> None:
    assert isinstance(program("up").exception, SystemExit)
    assert type(program("--debug", "up").exception).__name__ == "HostUnfit"


def test_the_program_runs_as_a_module_and_says_its_version() -> None:
    done = subprocess.run([sys.executable, "-m", "reconciler", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("gitstead, version ")
