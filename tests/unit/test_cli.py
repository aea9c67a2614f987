"""The program on a real store: what each command prints, how it ends, and that errors are texts, not tracebacks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reconciler.cli import main
from reconciler.cli.build_output import fit
from reconciler.history.store import Store, open_store
from reconciler.model.condition import Condition, Health, Reason
from reconciler.model.effects import BuildStep
from reconciler.model.job import Job, JobKey
from reconciler.model.release import State
from reconciler.model.status import ProjectStatus
from tests.history_support import bring_to, ending, make_store, paths, releasing

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


def built(store: Store, number: int, *, seconds: float, steps: int, cached: int) -> None:
    key = JobKey("blog", number, "build")
    job = Job(key, "succeeded", "content", 2000.0, 3200.0, ended_at=2000.0 + seconds, steps=steps, cached=cached)
    store.recorder.job_ended(job)


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


@pytest.mark.parametrize("command", ["history", "retry", "cancel", "confirm", "approve"])
def test_no_command_tells_of_a_project_that_is_not_there(store: Store, program: Program, command: str) -> None:
    done = program(command, "blgo")
    assert done.exit_code == 1
    assert 'there is no project "blgo"' in done.stderr


def test_what_strangers_wrote_is_printed_as_it_is_and_never_obeyed(store: Store, program: Program) -> None:
    odd = "Fix [/bold] and [red]colour[/red] [skip ci]\x1b[2J"
    store.recorder.save_statuses(
        [replace(LIVE, desired={"commit": odd}, observed={"x": odd}, blocks=(odd,), last_error=odd)]
    )
    text = program("status", "blog").stdout
    assert text.count("Fix [/bold] and [red]colour[/red] [skip ci]\u241b[2J") == 4
    assert "\x1b" not in text


def test_history_shows_what_was_built_how_long_and_why(store: Store, program: Program) -> None:
    built(store, 2, seconds=31.0, steps=9, cached=7)
    lines = program("history", "blog").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:7:2]] == [["d3", "failed"], ["d2", "live"], ["d1", "retired"]]
    assert "step 3 failed" in lines[2]
    for fact in (
        "r2",
        "node (Next.js)",
        "31s",
        "5.0s",
        "7/9",
        "3f9c1e2 Fix cart total (Ana, main)",
        "1970-01-01 00:33:20",
    ):
        assert fact in lines[3]
    assert lines[4] == "  └ change: commit 3f9c1e2 by Ana"
    assert lines[7] == "█  The one build that went well took 31s."
    assert "no deployments yet" in program("history", "shop").stdout


def test_history_as_json_has_the_same_facts(store: Store, program: Program) -> None:
    built(store, 2, seconds=31.0, steps=9, cached=7)
    plain = json.loads(program("history", "blog", "--json", "--limit", "2").stdout)
    assert [each["number"] for each in plain["deployments"]] == [3, 2]
    assert plain["deployments"][0]["build"] is None
    assert plain["deployments"][1]["build"]["cached"] == 7
    assert plain["deployments"][1]["branch"] == "main"
    assert plain["trend"]["recent_s"] == 31.0


def test_logs_print_a_build_on_the_streams_it_wrote_to(store: Store, program: Program) -> None:
    done = program("logs", "blog", "--build", "2")
    assert done.exit_code == 0
    assert "Collecting flask" in done.stdout
    assert "a warning" in done.stderr
    assert "1970-01-01 00:33:21 Collecting flask" in program("logs", "blog", "--build", "2", "--timestamps").stdout


def failed_build(store: Store, number: int = 4) -> None:
    """Deployment `number` of blog fails in its second step."""
    bring_to(store, number, State.BUILDING, at=4000.0)
    log = store.logs.open_log("blog", number, now=4000.0)
    copy, install = "[1/2] COPY . .", "[2/2] RUN pip install"
    log.step(BuildStep(copy, 4001.0, 4001.0, "cached"))
    log.write("system", copy, at=4001.0, step=copy)
    log.write("system", "CACHED", at=4001.0, step=copy)
    log.step(BuildStep(install, 4001.0))
    log.write("system", install, at=4001.0, step=install)
    log.write("stdout", "\x1b[32mCollecting\x1b[0m flsk\x1b]0;gone\x07", at=4002.0, step=install)
    log.write("stderr", "ERROR: no flsk", at=4003.0, step=install)
    log.step(BuildStep(install, 4001.0, 4004.1, "failed"))
    log.close()
    store.recorder.end(ending(number, message="step 2/2: no flsk", hint="Correct its name"), 4005.0)


def test_a_failed_build_leads_with_why_and_with_the_last_lines_of_its_step(store: Store, program: Program) -> None:
    failed_build(store)
    lines = program("logs", "blog", "--build").stdout.splitlines()
    assert lines[0] == ("blog d4 failed: step 2/2: no flsk. r2 still serves. Correct its name, or gitstead retry blog")
    assert lines[1] == 'Last lines of step "[2/2] RUN pip install":'
    assert lines[2:4] == ["  Collecting flsk␛]0;gone␇", "  ERROR: no flsk"]
    assert lines[5:] == ["== [1/2] COPY . .  cached", "== [2/2] RUN pip install  failed after 3.1s", lines[2].strip()]


def test_status_of_a_project_whose_build_failed_shows_where(store: Store, program: Program) -> None:
    failed_build(store)
    text = program("status", "blog").stdout
    assert "  ERROR: no flsk\n  All of it: gitstead logs blog --build 4" in text


def test_following_a_build_ends_with_its_outcome(store: Store, program: Program) -> None:
    failed_build(store)
    failed = program("logs", "blog", "--build", "4", "-f")
    assert failed.exit_code == 1
    assert "blog d4 failed: step 2/2: no flsk" in failed.stderr.splitlines()[-1]
    built(store, 2, seconds=31.0, steps=9, cached=7)
    done = program("logs", "blog", "--build", "2", "-f")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "blog d2 is built in 31s, 7/9 steps cached; it is live"


def test_a_build_is_followed_over_the_loss_of_the_store_without_a_line_lost(
    tmp_path: Path, store: Store, program: Program
) -> None:
    """What a restore does: the files are away for a moment, then others lie in their place."""
    bring_to(store, 4, State.BUILDING, at=4000.0)
    log = store.logs.open_log("blog", 4, now=4000.0)
    state, away = tmp_path / "state", tmp_path / "away"
    seen: list[Result] = []
    follower = threading.Thread(target=lambda: seen.append(program("logs", "blog", "--build", "4", "-f")))
    for number in range(200):
        log.write("stdout", f"before {number}", at=4001.0)
    log.flush()
    follower.start()
    store.logs.close()
    state.rename(away)
    shutil.copytree(away, state)
    again = open_store(**paths(tmp_path))
    log = again.logs.open_log("blog", 4, now=4002.0)
    for number in range(200):
        log.write("stdout", f"after {number}", at=4002.0)
    log.close()
    again.recorder.assign_release(releasing(4, release=4, image="sha256:4"), 4003.0)
    follower.join(timeout=20)
    assert not follower.is_alive()
    again.close()
    expected = [f"{word} {number}" for word in ("before", "after") for number in range(200)]
    assert seen[0].stdout.splitlines()[:-1] == expected
    assert seen[0].exit_code == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--step", "pip"], ["== [2/2] RUN pip install  failed after 3.1s", "Collecting flsk␛]0;gone␇"]),
        (["--search", "collecting"], ["== [2/2] RUN pip install  failed after 3.1s", "4: Collecting flsk␛]0;gone␇"]),
        (["--raw", "--search", "flsk"], ["4: Collecting flsk␛]0;gone␇"]),
    ],
)
def test_a_part_of_a_build_is_printed_alone(
    store: Store, program: Program, options: list[str], expected: list[str]
) -> None:
    failed_build(store)
    assert program("logs", "blog", "--build", "4", *options).stdout.splitlines() == expected


def test_colours_reach_a_terminal_and_nothing_else(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal, (tmp_path / "file").open("w") as file:
        assert fit("\x1b[31mred\x1b[2J", terminal) == "\x1b[31mred\x1b[0m"
        assert fit("\x1b[31mred\x1b[2J", file) == "red"
    os.close(ours)


def test_what_waits_for_a_confirmation_is_shown_with_its_evidence(store: Store, program: Program) -> None:
    waiting = replace(
        WAITING,
        gate="confirmation",
        detected="node (Next.js)",
        evidence=('package.json depends on "next"',),
        others=("dockerfile: docker/Dockerfile (build.type: dockerfile)",),
        dockerfile="FROM node\nRUN npm ci\n",
    )
    store.recorder.save_statuses([waiting])
    text = program("status", "shop").stdout
    for part in (
        'It looks like node (Next.js)\n  package.json depends on "next"\n  or: dockerfile: docker/Dockerfile',
        "  FROM node\n  RUN npm ci\nIs that right? gitstead confirm shop",
    ):
        assert part in text


def test_steps_that_run_side_by_side_are_named_each_time(store: Store, program: Program) -> None:
    log = store.logs.open_log("blog", 1, now=1000.0)
    for step, text in (("a", "one"), ("b", "two"), ("a", "three")):
        log.write("stdout", text, at=1001.0, step=step)
    log.close()
    lines = program("logs", "blog", "--build", "1").stdout.splitlines()
    assert lines == ["== a", "one", "== b", "two", "== a goes on", "three"]


def test_logs_say_what_there_is_where_a_build_is_missing(store: Store, program: Program) -> None:
    missing = program("logs", "blog", "--build", "9")
    assert missing.exit_code == 1
    assert "blog has no deployment d9" in missing.stderr
    assert "has no build log: its image was there already" in program("logs", "blog", "--build", "1").stderr
    bring_to(store, 4, State.QUEUED, at=4000.0)
    assert "has no build log: it is queued, nothing was built yet" in program("logs", "blog", "--build").stderr
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
