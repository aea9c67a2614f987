"""The engine's event stream: what it tells, what it keeps the cache from believing, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reconciler.adapters.docker_engine import DockerEngine
from reconciler.adapters.engine_events import EngineEvent, EngineEvents
from reconciler.model import naming
from reconciler.model.observed import Container
from tests.caddy_support import short_folder, wait_until
from tests.engine_support import docker, engine_instance, new_instance, second_engine, tiny_image, wanted_container

pytestmark = pytest.mark.real
ATTACHED = EngineEvent("gap", "attached")
LOST = EngineEvent("gap", "lost")


class Heard(list[EngineEvent]):
    """Every event in order."""

    def actions(self, container_id: str) -> list[str]:
        return [event.action for event in self if event.id == container_id]


@contextmanager
def followed(engine: DockerEngine) -> Iterator[Heard]:
    heard = Heard()
    events = EngineEvents(engine, heard.append)
    events.start()
    try:
        yield heard
    finally:
        events.stop()


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with tiny_image() as name:
        yield name


@pytest.fixture
def engine() -> Iterator[DockerEngine]:
    with engine_instance() as engine:
        yield engine


def running(engine: DockerEngine, image: str) -> str:
    container_id = engine.create_container(wanted_container(engine, image))
    engine.start(container_id)
    return container_id


def seen(engine: DockerEngine, container_id: str) -> Container:
    return next(each for each in engine.look().containers if each.id == container_id)


def test_a_container_of_ours_tells_its_life_with_its_project_and_no_noise(engine: DockerEngine, image: str) -> None:
    with followed(engine) as heard:
        wait_until(lambda: ATTACHED in heard)
        container_id = running(engine, image)
        docker("exec", container_id, "sh", "-c", "exit 0")
        engine.stop(container_id, 5)
        engine.remove(container_id)
        wait_until(lambda: "destroy" in heard.actions(container_id))
        assert heard.actions(container_id) == ["create", "start", "die", "destroy"]
        assert {event.project for event in heard if event.id == container_id} == {"blog"}


def test_a_killed_container_is_told_at_once(engine: DockerEngine, image: str) -> None:
    with followed(engine) as heard:
        container_id = running(engine, image)
        killed_at = time.monotonic()
        docker("kill", container_id)
        wait_until(lambda: "die" in heard.actions(container_id), timeout_s=3)
        assert time.monotonic() - killed_at < 3


def test_what_is_not_ours_is_told_without_a_project(engine: DockerEngine, image: str) -> None:
    with followed(engine) as heard, engine_instance() as other:
        wait_until(lambda: ATTACHED in heard)
        container_id = running(other, image)
        wait_until(lambda: "start" in heard.actions(container_id))
        assert {event.project for event in heard if event.id == container_id} == {""}


def test_an_idle_look_is_one_question_while_events_are_followed(engine: DockerEngine, image: str) -> None:
    """Invariant 11, and the cost of a pass with nothing to do."""
    with followed(engine) as heard:
        wait_until(lambda: ATTACHED in heard)
        container_id = running(engine, image)
        wait_until(lambda: "start" in heard.actions(container_id))

        def asks_once() -> bool:
            before = dict(engine.reads)
            engine.look()
            return {kind: n - before.get(kind, 0) for kind, n in engine.reads.items() if n != before.get(kind, 0)} == {
                "list containers": 1
            }

        wait_until(asks_once)


@pytest.mark.parametrize("by_hand", ["update", "rename", "disconnect", "kill", "pause", "policy"])
def test_a_change_by_hand_is_believed_over_the_cache(engine: DockerEngine, image: str, by_hand: str) -> None:
    """Row 32: killed, paused, renamed or detached by hand is seen within a moment."""
    with followed(engine) as heard:
        wait_until(lambda: ATTACHED in heard)
        container_id = running(engine, image)
        before = seen(engine, container_id)
        commands = {
            "update": ("update", "--memory", "128m", "--memory-swap", "128m", container_id),
            "rename": ("rename", container_id, f"renamed-{engine.instance}"),
            "disconnect": ("network", "disconnect", naming.network_name(engine.instance, "blog"), container_id),
            "kill": ("kill", container_id),
            "pause": ("pause", container_id),
            "policy": ("update", "--restart", "always", container_id),
        }
        docker(*commands[by_hand])
        holds = {
            "update": lambda now: now.settings.memory_bytes == 128 * 1024 * 1024,
            "rename": lambda now: now.name == f"renamed-{engine.instance}",
            "disconnect": lambda now: now.settings.networks == (),
            "kill": lambda now: (now.state, now.exit_code) == ("exited", 137),
            "pause": lambda now: now.state == "paused",
            "policy": lambda now: now.settings.restart_policy == "always",
        }
        assert not holds[by_hand](before)
        wait_until(lambda: holds[by_hand](seen(engine, container_id)), timeout_s=3, what=f"the {by_hand} by hand")


def test_images_and_networks_made_by_hand_are_seen_while_events_are_followed(engine: DockerEngine, image: str) -> None:
    with followed(engine) as heard:
        wait_until(lambda: ATTACHED in heard)
        engine.look()
        name, network = f"gs-{engine.instance}-x:1", f"gs-{engine.instance}-byhand"
        docker("tag", image, name)
        docker("network", "create", "--label", f"{naming.LABEL_INSTANCE}={engine.instance}", network)
        wait_until(lambda: any(name in each.names for each in engine.look().images))
        wait_until(lambda: network in [each.name for each in engine.look().networks])
        docker("rmi", name)
        wait_until(lambda: not any(name in each.names for each in engine.look().images))


def test_an_engine_that_stops_is_a_gap_and_its_return_another() -> None:
    """Security facts, row 27: the stream ends silently, so its end means "look at everything"."""
    with second_engine() as second, engine_instance(host=second.url) as engine, followed(engine) as heard:
        wait_until(lambda: heard == [ATTACHED])
        second.stop()
        wait_until(lambda: heard == [ATTACHED, LOST])
        second.start()
        wait_until(lambda: heard[:3] == [ATTACHED, LOST, ATTACHED], timeout_s=15)


def test_nothing_is_remembered_from_before_a_gap() -> None:
    """What happened while the engine was away had no event."""
    with (
        second_engine() as second,
        tiny_image(host=second.url) as image,
        engine_instance(host=second.url) as engine,
        followed(engine) as heard,
    ):
        wait_until(lambda: ATTACHED in heard)
        container_id = running(engine, image)
        assert seen(engine, container_id).state == "running"
        second.stop()
        second.start()
        wait_until(lambda: heard.count(ATTACHED) == 2, timeout_s=15)
        assert (seen(engine, container_id).state, seen(engine, container_id).exit_code) != ("exited", 0)


def test_an_engine_that_is_not_there_is_one_gap_and_stop_is_prompt() -> None:
    with short_folder() as folder:
        engine = DockerEngine(f"unix://{folder}/none.sock", instance=new_instance())
        heard = Heard()
        events = EngineEvents(engine, heard.append)
        events.start()
        wait_until(lambda: LOST in heard)
        began = time.monotonic()
        events.stop()
        assert time.monotonic() - began < 1
        assert heard == [LOST]
        engine.close()


def test_stop_is_prompt_while_the_stream_is_silent(engine: DockerEngine) -> None:
    heard = Heard()
    events = EngineEvents(engine, heard.append)
    events.start()
    wait_until(lambda: ATTACHED in heard)
    began = time.monotonic()
    events.stop()
    assert time.monotonic() - began < 1
    assert LOST not in heard
