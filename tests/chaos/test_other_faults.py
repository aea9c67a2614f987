"""Kills at no place in particular, two in a row, in a long build, beside a lost Caddy or store, and a clean stop.

Invariants 4, 10 and 14, each from outside.
"""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.adapters.process_marks import marked_pids
from reconciler.adapters.processes import MARK
from reconciler.model.release import State
from tests.chaos.cases import FULL, Case, a_share_of, cases_of, share
from tests.chaos.conftest import INJECTED, WHOLE_AFTER_S
from tests.chaos.scenarios import SCENARIOS, push_commit, serving
from tests.chaos.stage import SICK, Stage
from tests.chaos.whole import assert_quiet
from tests.platform_support import wait_for

UPDATE = cases_of(SCENARIOS[0])
STOP_S = 10.0
GOLDEN = 0.618034
UPDATE_S = 1.2
Property = Callable[[str, object], None]


def some(few: int, many: int) -> list[int]:
    """Numbers to choose by: `few` as a rule, `many` in a full run."""
    return list(range(many if share() == FULL else few))


def pair(number: int) -> tuple[Case, Case]:
    """Two places of an update, the first before anything is live."""
    before_live = UPDATE[: next(at for at, case in enumerate(UPDATE) if "MarkLive" in case.place)]
    mixed = number + max(share(), 0)
    return before_live[mixed * 17 % len(before_live)], UPDATE[mixed * 29 % len(UPDATE)]


# ---- where and when --------------------------------------------------------------------------


@pytest.mark.parametrize("number", some(4, 40))
def test_a_kill_at_any_moment_of_an_update_leaves_nothing_half_done(
    number: int, stage: Stage, record_property: Property
) -> None:
    serving(stage)
    before = stage.serving
    after_s = (number + max(share(), 0)) * GOLDEN % 1.0 * UPDATE_S
    push_commit(stage)
    stage.kill_after(after_s)
    record_property(INJECTED, 1)
    assert stage.answer()[0] == 200
    assert stage.answer()[1].strip() in (before, stage.serving)
    record_property(WHOLE_AFTER_S, stage.recover())
    assert_quiet(stage)


@pytest.mark.parametrize("places", [pair(number) for number in some(4, 40)], ids=lambda each: "+".join(map(str, each)))
def test_a_second_kill_while_it_recovers_from_the_first_changes_nothing(
    places: tuple[Case, Case], stage: Stage, record_property: Property
) -> None:
    first, second = places
    serving(stage)
    stage.aim(first.aim)
    push_commit(stage)
    stage.wait_killed()
    stage.aim(second.aim)
    stage.start()
    was_killed = stage.ends_or_is_whole()
    record_property(INJECTED, 1 + was_killed)
    assert stage.answer()[0] == 200
    stage.recover()
    assert_quiet(stage)


@pytest.mark.parametrize("number", some(1, 5))
def test_a_kill_while_what_a_kill_left_is_settled_changes_nothing(
    number: int, stage: Stage, record_property: Property
) -> None:
    """Before the open rows are closed: the next start closes them."""
    serving(stage)
    stage.aim(pair(number)[0].aim)
    push_commit(stage)
    stage.wait_killed()
    stage.aim("write:interrupt_open")
    stage.start()
    stage.wait_killed()
    record_property(INJECTED, 2)
    stage.recover()
    assert_quiet(stage)


# ---- with something else lost ----------------------------------------------------------------


@pytest.mark.parametrize("case", a_share_of(UPDATE, 4 if share() == FULL else 24, max(share(), 0)), ids=str)
def test_a_store_lost_after_a_kill_in_an_update_is_made_again(
    case: Case, stage: Stage, record_property: Property
) -> None:
    """Invariant 10: what serves is adopted, untouched, the update is done from there, and the next one tidies up."""
    serving(stage)
    stage.aim(case.aim)
    push_commit(stage)
    stage.wait_killed()
    stage.lose_store()
    record_property(INJECTED, 1)
    assert stage.answer()[0] == 200
    record_property(WHOLE_AFTER_S, stage.recover())
    assert_quiet(stage)
    stage.update_adopted()
    assert_quiet(stage)


def test_a_kill_while_caddy_comes_back_empty_loses_no_route(stage: Stage, record_property: Property) -> None:
    """Caddy and its file were lost together with the reconciler, which then dies before it writes the routes."""
    serving(stage)
    stage.kill()
    stage.platform.end_caddy()
    (stage.platform.state / "caddy" / "last-good.json").unlink()
    stage.aim("before:PutRoutes")
    stage.start()
    stage.wait_killed()
    record_property(INJECTED, 1)
    stage.recover()
    assert_quiet(stage)


# ---- a long build, and a clean stop -----------------------------------------------------------


def begin_long_build(stage: Stage) -> str:
    """Push what builds for hours; the words that its step can be told by in the list of processes."""
    words = f"sleep {10000 + secrets.randbelow(80000)}"
    stage.platform.repos["app"].write({"Dockerfile": f"FROM gitstead/base-python\nRUN {words}\n"})
    stage.push_spec(build={"type": "dockerfile"})
    stage.serving = stage.push_version()
    wait_for(lambda: running(words), "the build's step")
    return words


def running(words: str) -> list[int]:
    """Processes of this host with exactly these words as their command, inside containers too."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == words.replace(" ", "\0").encode() + b"\0":
                found.append(int(path.parent.name))
        except OSError:  # it ended meanwhile
            continue
    return found


def builders(stage: Stage) -> set[int]:
    return {pid for pid, job in marked_pids(MARK).items() if job.startswith(f"{stage.platform.instance}/")}


def build_at_once(stage: Stage) -> None:
    stage.platform.repos["app"].write({"Dockerfile": None})
    stage.serving = stage.push_version()
    stage.push_spec()


@pytest.mark.real
def test_a_kill_in_a_long_build_ends_its_builder_and_builds_again(stage: Stage, record_property: Property) -> None:
    serving(stage)
    words = begin_long_build(stage)
    orphans, steps = builders(stage), set(running(words))
    number = stage.platform.deployments(stage.project)[0].number
    stage.kill()
    record_property(INJECTED, 1)
    assert stage.answer()[0] == 200
    stage.start()
    wait_for(lambda: stage.platform.deployments(stage.project)[0].number > number, "another deployment")
    interrupted = stage.platform.deployments(stage.project)[1]
    assert (interrupted.number, interrupted.state) == (number, State.INTERRUPTED)
    wait_for(lambda: not orphans & builders(stage) and not steps & set(running(words)), "the first builder has ended")
    wait_for(lambda: running(words), "it is built again")
    build_at_once(stage)
    stage.be_whole()
    assert_quiet(stage)
    assert not running(words)


@pytest.mark.real
def test_a_clean_stop_in_a_build_takes_seconds_and_the_next_start_goes_on(stage: Stage) -> None:
    serving(stage)
    before = stage.serving
    words = begin_long_build(stage)
    assert stop_s(stage) < STOP_S
    assert not builders(stage)
    wait_for(lambda: not running(words), "the build's step has ended")
    assert not list((stage.platform.state / "builds").iterdir())
    stage.start()
    wait_for(lambda: running(words), "it is built again")
    assert stage.answer() == (200, before)
    build_at_once(stage)
    stage.be_whole()
    assert_quiet(stage)


def test_a_clean_stop_in_a_check_takes_seconds_and_the_next_start_goes_on(stage: Stage) -> None:
    serving(stage)
    stage.aim("")
    stage.push_version(health=SICK)
    wait_for(lambda: "begin:probe" in stage.reached(), "the check")
    assert stop_s(stage) < STOP_S
    stage.serving = stage.push_version()
    stage.recover()
    assert_quiet(stage)


def stop_s(stage: Stage) -> float:
    """SIGTERM, and how many seconds until it has ended by itself with status 0."""
    assert stage.platform.process is not None
    begun_at = time.monotonic()
    stage.platform.process.send_signal(signal.SIGTERM)
    assert stage.platform.wait_ended(timeout_s=2 * STOP_S) == 0
    return time.monotonic() - begun_at
