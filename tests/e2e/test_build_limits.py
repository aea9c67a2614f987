"""However a build ends (acceptance 5): the right state with its reason, nothing of it is left, and the others go on."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.adapters.process_marks import marked_pids
from reconciler.history.logs import LogReader
from reconciler.model.release import Deployment
from tests.engine_support import import_tiny_image, second_engine
from tests.inside_support import inside
from tests.platform_support import Platform, app_files, wait_for

pytestmark = pytest.mark.real
PROMPT_S = 2.0


def long_step() -> str:
    """A step of hours whose words no other process of this machine has."""
    return f"sleep {10000 + secrets.randbelow(80000)}"


def running(words: str) -> set[int]:
    """Processes with exactly these words as their command, inside the engine's builds too."""
    wanted, found = words.replace(" ", "\0").encode() + b"\0", set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == wanted:
                found.add(int(path.parent.name))
        except OSError:  # it ended meanwhile
            continue
    return found


def builders(platform: Platform, name: str) -> set[int]:
    return {pid for pid, job in marked_pids().items() if job.startswith(f"{platform.instance}/{name}/")}


def begin(platform: Platform, name: str, base: str = "gitstead/base-python") -> str:
    """Push what builds for hours; its words, once it does."""
    words = long_step()
    platform.repos[name].push({"Dockerfile": f"FROM {base}\nRUN {words}\n"}, "Too slow")
    wait_for(lambda: running(words), f"the step of {name} runs")
    return words


def newest(platform: Platform, name: str) -> Deployment:
    return platform.deployments(name)[0]


def ended(platform: Platform, name: str, number: int) -> Deployment:
    def question() -> Deployment | None:
        return next((each for each in platform.deployments(name) if each.number == number and each.ended_at), None)

    return wait_for(question, f"d{number} of {name} has ended")


def nothing_is_left(platform: Platform, name: str, words: str) -> None:
    """No step in the engine, no builder, no checkout, no container of the deployment."""
    wait_for(lambda: not running(words) and not builders(platform, name), "its processes are gone", timeout_s=PROMPT_S)
    wait_for(lambda: not list((platform.state / "builds").glob(f"{name}-*")), "its checkout is gone", timeout_s=5)
    assert platform.containers(name) == [platform.live(name)]


def log_is_sealed(platform: Platform, name: str, number: int) -> None:
    """The log that a killed reconciler left: closed, with a last line that says so, and no step at work."""
    logs = LogReader(platform.state / "state/logs.db")
    info = logs.info(name, number)
    assert info is not None
    assert info.closed_at > 0
    lines = logs.read(name, number)
    assert lines[0].text.startswith(f"Building {name} d{number}")
    assert lines[-1].text == "[the reconciler ended here]"
    assert [row.step.outcome for row in logs.steps(name, number)][-1] == "failed"
    logs.close()


def by_deadline(platform: Platform) -> None:
    """It ends by itself."""


def by_a_person(platform: Platform) -> None:
    platform.cli("cancel", "shop")


def by_a_newer_commit(platform: Platform) -> None:
    platform.repos["shop"].push(app_files("v2"))


@pytest.mark.parametrize(
    ("end", "timeout", "state", "reason"),
    [
        (by_deadline, "5s", "failed", "BuildTimedOut"),
        (by_a_person, "20m", "cancelled", "Cancelled"),
        (by_a_newer_commit, "20m", "superseded", "Superseded"),
    ],
)
def test_a_build_that_is_ended_leaves_nothing_and_the_neighbours_goes_on(
    platform: Platform, end: Callable[[Platform], None], timeout: str, state: str, reason: str
) -> None:
    platform.settings["GITSTEAD_BUILDS"] = "2"
    platform.deploy("shop", "docs", build={"type": "dockerfile", "timeout": timeout})
    platform.push_spec("docs")
    neighbours = begin(platform, "docs")
    beside = running(neighbours)
    words = begin(platform, "shop")
    number = newest(platform, "shop").number
    end(platform)
    wait_for(lambda: not running(words), "the step has ended", timeout_s=15 if end is by_deadline else PROMPT_S + 1)
    found = ended(platform, "shop", number)
    assert (found.state, found.reason) == (state, reason)
    if end is by_a_newer_commit:
        platform.answers("shop", "v2")
    else:
        nothing_is_left(platform, "shop", words)
        assert platform.get("shop.localhost") == (200, "v1")
    if end is by_deadline:
        assert found.message == f'the build was ended after 5 s in build step 2/2 "{words}"; build.timeout is 5s'
    assert running(neighbours) == beside, "the build of docs goes on, the very same one"
    assert newest(platform, "docs").state == "building"


def test_a_build_that_dies_with_the_reconciler_is_settled_at_the_next_start(platform: Platform) -> None:
    platform.deploy("shop")
    words = begin(platform, "shop")
    number = newest(platform, "shop").number
    logs = LogReader(platform.state / "state/logs.db")
    wait_for(lambda: logs.steps("shop", number), "the step is in the store")
    platform.kill()
    wait_for(lambda: not running(words), "the builder ends with its reconciler, and its step with it", timeout_s=5)
    platform.repos["shop"].push(app_files("v2"))
    platform.start()
    platform.answers("shop", "v2")
    found = ended(platform, "shop", number)
    assert (found.state, found.reason) == ("interrupted", "Interrupted")
    log_is_sealed(platform, "shop", number)
    assert "Interrupted" not in platform.healthy("shop").headline
    assert not list((platform.state / "builds").iterdir())
    assert not builders(platform, "shop")


def test_no_more_builds_run_than_the_host_allows_and_who_waits_longest_comes_next(platform: Platform) -> None:
    """One at a time for a project as well: a newer commit takes the place of the one that is built."""
    platform.settings["GITSTEAD_BUILDS"] = "1"
    platform.deploy("shop", "docs", "blog")
    first = begin(platform, "shop")
    for name in ("docs", "blog"):
        platform.repos[name].push(app_files("v2"))
        wait_for(lambda: newest(platform, name).number == 2, f"{name} is queued")  # noqa: B023
        assert newest(platform, name).state == "queued"
    again = long_step()
    platform.repos["shop"].push({"Dockerfile": f"FROM gitstead/base-python\nRUN {again}\n"}, "Again")
    for name in ("docs", "blog"):
        platform.answers(name, "v2")
    wait_for(lambda: running(again), "shop is built last: it asked last")
    assert not running(first)
    with platform.queries() as queries:
        began = [queries.job_rows(name, number)[0] for name, number in (("docs", 2), ("blog", 2), ("shop", 3))]
    assert [each.key.kind for each in began] == ["build"] * 3
    assert began[0].ended_at <= began[1].started_at
    assert began[1].ended_at <= began[2].started_at


def test_a_build_that_a_restart_of_the_engine_ended_is_built_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's source is to blame."""
    with second_engine() as engine, inside(engine, monkeypatch) as platform:
        import_tiny_image("gs-aaaaaa-tiny:test", "aaaaaa", host=engine.url)
        words = long_step()
        platform.app("shop", files={"Dockerfile": f"FROM gs-aaaaaa-tiny:test\nRUN {words}\n"})
        platform.push_spec("shop")
        platform.start()
        before = wait_for(lambda: running(words), "the step runs")
        engine.stop()
        wait_for(lambda: not running(words), "the step ended with the engine", timeout_s=PROMPT_S)
        engine.start()
        again = wait_for(lambda: running(words), "it is built again by itself")
        assert not before & again
        first = ended(platform, "shop", 1)
        assert (first.state, first.retryable) == ("failed", True)
        assert "Docker" in first.message
        assert "is building" in platform.condition("shop", "Deploying")
        assert len(builders(platform, "shop")) == 1
        assert len(list((platform.state / "builds").glob("shop-*"))) == 1
        platform.cli("cancel", "shop")
        wait_for(lambda: not running(words), "the step has ended", timeout_s=PROMPT_S + 1)
