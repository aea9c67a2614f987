"""A look asks about a container only what the engine's list leaves out and nobody knows yet."""

from __future__ import annotations

from typing import Any

from reconciler.adapters.engine_cache import EngineCache
from reconciler.adapters.engine_rows import ContainerRows
from reconciler.model.naming import Identity

OURS = Identity(
    instance="k3v9qa",
    project="blog",
    process="web",
    index=1,
    deployment=7,
    release=3,
    image_id="sha256:1",
    content_key="c",
    source_key="s",
    config_digest="d",
    platform_revision="main@1",
    spec_blob="b",
    source_commit="a",
    port=20001,
)
CONFIG = {"HostConfig": {"Memory": 64, "RestartPolicy": {"Name": "no"}}}


def row(state: str, *, ours: bool = True, **more: Any) -> dict[str, Any]:
    labels = OURS.labels() if ours else {}
    return {"Id": "one", "Names": ["/x"], "State": state, "Labels": labels, "Created": 1, **more}


class Engine:
    """What the engine would say, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.cache = EngineCache()
        self.cache.enable()
        self.rows = ContainerRows(self.cache, "k3v9qa", self._inspect)

    def _inspect(self, container_id: str) -> dict[str, Any]:
        self.asked += 1
        return {"Id": container_id, "HostConfig": {"Memory": 128}, "State": {"ExitCode": 3}}


def test_what_we_just_made_is_known_until_it_is_started() -> None:
    """The engine answers nothing about it while it starts it."""
    engine = Engine()
    engine.rows.made("one", CONFIG)
    found = engine.rows.container(row("created"))
    assert found is not None
    assert (found.settings.memory_bytes, found.state, engine.asked) == (64, "created", 0)
    engine.rows.forget("one")
    found = engine.rows.container(row("running"))
    assert found is not None
    assert (found.settings.memory_bytes, engine.asked) == (128, 1)


def test_a_created_container_that_is_not_of_this_process_is_asked() -> None:
    engine = Engine()
    assert engine.rows.container(row("created")) is not None
    assert engine.asked == 1


def test_a_foreign_container_that_runs_is_never_asked_and_its_ports_are_known() -> None:
    engine = Engine()
    ports = [{"PublicPort": 8080, "Type": "tcp"}]
    found = engine.rows.container(row("running", ours=False, Ports=ports))
    assert found is not None
    assert (found.host_ports, found.identity, engine.asked) == ((8080,), None, 0)


def test_a_foreign_container_that_is_stopped_is_asked_once_since_it_keeps_its_ports() -> None:
    engine = Engine()
    for _ in range(3):
        assert engine.rows.container(row("exited", ours=False, Status="Exited (3) 2 hours ago")) is not None
    assert engine.asked == 1


def test_an_equal_row_gives_the_same_value_without_a_question() -> None:
    engine = Engine()
    first = engine.rows.container(row("running", Status="Up 2 seconds"))
    assert engine.rows.container(row("running", Status="Up 3 seconds")) is first
    assert engine.asked == 1


def test_what_is_gone_is_not_remembered_as_made() -> None:
    engine = Engine()
    engine.rows.made("one", CONFIG)
    engine.rows.keep_only([])
    assert engine.rows.container(row("created")) is not None
    assert engine.asked == 1
