"""The engine's answers as values, its refusals as our errors, and what must never be believed of them."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from reconciler.adapters import engine_values as values
from reconciler.adapters.engine_cache import EngineCache
from reconciler.adapters.engine_errors import refusal
from reconciler.errors import EngineConflict, EngineRefused, EngineUnavailable, GitsteadError, PortTaken

ROW: dict[str, Any] = {"Id": "c1", "Names": ["/web"], "State": "running", "Status": "Up 3 minutes"}


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("driver failed (8d): Bind for 127.0.0.1:20001 failed: port is already allocated", 20001),
        (
            "Error starting userland proxy: listen tcp4 127.0.0.1:20001: bind: address already in use",
            20001,
        ),
        ("failed to bind host port for 127.0.0.1:20001:172.18.0.2:8000/tcp: address already in use", 20001),
        ("failed to bind host port 127.0.0.1:20001/tcp: address already in use", 20001),
        ("Ports are not available: exposing port TCP failed", 0),
    ],
)
def test_every_wording_of_a_taken_port_is_understood(text: str, port: int) -> None:
    error = refusal("start container", text, status=500, reading=False)
    assert isinstance(error, PortTaken)
    assert error.port == port


@pytest.mark.parametrize(
    ("text", "status", "reading", "kind", "words"),
    [
        ('exec: "gunicorn": executable file not found in $PATH', 400, False, EngineRefused, '"gunicorn" is not in'),
        ('exec: "/run": permission denied', 400, False, EngineRefused, '"/run" may not be executed'),
        ("No such image: gs-x:1", 404, False, EngineConflict, "image gs-x:1 does not exist"),
        ("No such container: c1", 404, False, EngineConflict, "No such container"),
        ("write /var/lib/docker/x: no space left on device", 500, False, EngineUnavailable, "no space left"),
        ("server busy", 500, True, EngineUnavailable, "server busy"),
        ("server busy", 500, False, EngineRefused, "server busy"),
        ("error while removing network: network n id 1 has active endpoints", 403, False, EngineConflict, "active"),
        ("Conflict. The container name is already in use", 409, False, EngineConflict, "already in use"),
    ],
)
def test_a_refusal_is_sorted_by_what_can_cure_it(
    text: str, status: int, reading: bool, kind: type[GitsteadError], words: str
) -> None:
    error = refusal("do it", text, status=status, reading=reading)
    assert type(error) is kind
    assert words in str(error)


def test_what_is_absent_or_null_in_an_answer_does_no_harm() -> None:
    """A container that is just being removed has hardly a field left."""
    inspected = values.inspected_from({"State": None, "HostConfig": None})
    container = values.container_from({**ROW, "Names": None, "Labels": None, "Ports": None}, inspected, "k3v9qa")
    assert (container.name, container.identity, container.host_ports) == ("", None, ())
    assert container.settings.restart_policy == "no"
    assert values.image_from({"Id": "i", "RepoTags": None, "Labels": None}).names == ()


def test_an_age_is_no_change_but_an_end_is() -> None:
    assert values.marker_of(ROW) == values.marker_of({**ROW, "Status": "Up 4 minutes"})
    ended = {**ROW, "State": "exited", "Status": "Exited (1) 3 seconds ago"}
    assert values.marker_of(ended) == values.marker_of({**ended, "Status": "Exited (1) 4 seconds ago"})
    assert values.marker_of(ended) != values.marker_of({**ended, "Status": "Exited (2) 1 second ago"})
    assert values.marker_of(ROW) != values.marker_of({**ROW, "NetworkSettings": {"Networks": {"n": {}}}})


def test_all_spellings_of_a_host_port_count_and_udp_does_not() -> None:
    bindings = {
        "80/tcp": [{"HostPort": "20000"}, {"HostPort": "20005-20006"}],
        "81/tcp": None,
        "82/tcp": [{"HostPort": ""}],
        "53/udp": [{"HostPort": "53"}],
    }
    assert sorted(values.bound_ports({"PortBindings": bindings})) == [20000, 20005, 20006]


def test_the_containers_own_name_is_told_from_links() -> None:
    assert values.name_of({"Names": ["/other/alias", "/web"]}) == "web"


@pytest.mark.parametrize(
    ("text", "at"), [("0001-01-01T00:00:00Z", 0.0), ("", 0.0), (None, 0.0), ("2026-11-24T08:00:00.5Z", 1795507200.5)]
)
def test_times_are_unix_seconds_and_never_is_zero(text: str | None, at: float) -> None:
    assert values.seconds(text) == at


@pytest.mark.parametrize(("policy", "name", "count"), [("no", "no", 0), ("on-failure:3", "on-failure", 3)])
def test_restart_policies_are_written_and_read_alike(policy: str, name: str, count: int) -> None:
    written = values.policy_json(policy)
    assert written == {"Name": name, "MaximumRetryCount": count}
    assert values.inspected_from({"HostConfig": {"RestartPolicy": written}}).restart_policy == policy


def test_a_quota_is_cpus_too() -> None:
    assert values.inspected_from({"HostConfig": {"CpuQuota": 50_000}}).cpus == 0.5
    assert values.inspected_from({"HostConfig": {"NanoCpus": 250_000_000}}).cpus == 0.25


def test_free_subnets_are_small_disjoint_and_begin_where_the_seed_says() -> None:
    used = ["10.213.0.0/27", "172.17.0.0/16", "fd00::/64", "nonsense", "10.213.0.64/26"]
    assert list(values.free_subnets("10.213.0.0/24", used, seed=0)) == [
        "10.213.0.32/27",
        "10.213.0.128/27",
        "10.213.0.160/27",
        "10.213.0.192/27",
        "10.213.0.224/27",
    ]
    assert next(values.free_subnets("10.213.0.0/24", [], seed=9)) == "10.213.0.32/27"


def frame(kind: int, text: bytes) -> bytes:
    return struct.pack(">BxxxL", kind, len(text)) + text


def test_log_frames_are_decoded_wherever_the_chunks_cut_them() -> None:
    stream = frame(1, b"2026-11-24T08:00:00.5Z out\n") + frame(2, b"2026-11-24T08:00:01Z err\n") + frame(1, b"cut")[:-1]
    chunks = [stream[i : i + 3] for i in range(0, len(stream), 3)]
    assert list(values.log_messages(chunks)) == [
        ("stdout", 1795507200.5, b"out\n"),
        ("stderr", 1795507201.0, b"err\n"),
    ]


def test_a_message_of_absurd_size_is_cut_and_the_next_one_is_whole() -> None:
    """Row 31."""
    huge = frame(1, b"2026-11-24T08:00:00Z " + b"x" * 3_000_000) + frame(1, b"2026-11-24T08:00:00Z next")
    chunks = [huge[i : i + 65536] for i in range(0, len(huge), 65536)]
    first, second = values.log_messages(chunks)
    assert len(first[2]) < 1024 * 1024
    assert second[2] == b"next"


def test_nothing_is_remembered_while_nobody_tells_what_changes() -> None:
    cache, loads = EngineCache(), iter(range(10))
    assert [cache.get("k", None, lambda: next(loads)) for _ in range(2)] == [0, 1]
    cache.enable()
    assert [cache.get("k", None, lambda: next(loads)) for _ in range(2)] == [2, 2]
    cache.forget("k")
    assert cache.get("k", None, lambda: next(loads)) == 3
    assert cache.get("k", "other marker", lambda: next(loads)) == 4
    cache.keep_only([])
    assert cache.get("k", "other marker", lambda: next(loads)) == 5
    cache.forget_all()
    assert cache.get("k", "other marker", lambda: next(loads)) == 6
    cache.disable()
    assert cache.get("k", "other marker", lambda: next(loads)) == 7


def test_an_answer_that_an_event_overtook_is_not_remembered() -> None:
    cache = EngineCache()
    cache.enable()

    def overtaken() -> str:
        cache.forget("another")
        return "old"

    assert cache.get("k", None, overtaken) == "old"
    assert cache.get("k", None, lambda: "new") == "new"
    assert cache.get("k", None, lambda: "newer") == "new"
