"""The adapter of the Docker engine against a real engine: what it sees, what it makes, whose things it leaves alone."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.adapters.docker_engine import DockerEngine
from reconciler.errors import EngineConflict, EngineRefused, EngineUnavailable, NotOurs, PortTaken
from reconciler.model import naming
from reconciler.model.observed import Container
from tests.caddy_support import free_port, short_folder, wait_until
from tests.engine_support import docker, engine_instance, new_instance, second_engine, tiny_image, wanted_container

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with tiny_image() as name:
        yield name


@pytest.fixture
def engine() -> Iterator[DockerEngine]:
    with engine_instance() as engine:
        yield engine


def ours(engine: DockerEngine) -> list[Container]:
    return [each for each in engine.look().containers if each.identity is not None]


def inspected(container: str) -> Any:
    return json.loads(docker("inspect", container))[0]


def started(engine: DockerEngine, image: str, script: str = "exec sleep 1000", **wanted: Any) -> str:
    container_id = engine.create_container(wanted_container(engine, image, script, **wanted))
    engine.start(container_id)
    return container_id


def build_upon(image: str, *names: str, instance: str) -> None:
    tags = [word for name in names for word in ("-t", name)]
    label = f"{naming.LABEL_INSTANCE}={instance}"
    docker("build", *tags, "--label", label, "-", stdin=f"FROM {image}".encode())


# ---- a container's life -----------------------------------------------------------------------


def test_a_container_lives_from_created_to_gone_and_each_step_can_be_repeated(engine: DockerEngine, image: str) -> None:
    wanted = wanted_container(engine, image)
    container_id = engine.create_container(wanted)
    [seen] = ours(engine)
    assert (seen.id, seen.state, seen.identity) == (container_id, "created", wanted.identity)
    assert seen.name == wanted.identity.container_name
    assert seen.host_ports == (wanted.identity.port,)

    engine.start(container_id)
    engine.start(container_id)
    [seen] = ours(engine)
    assert seen.state == "running"
    assert seen.started_at > seen.created_at - 1

    engine.stop(container_id, 5)
    engine.stop(container_id, 5)
    [seen] = ours(engine)
    assert seen.state == "exited"
    assert seen.finished_at >= seen.started_at
    assert seen.host_ports == (wanted.identity.port,), "a stopped container keeps its lease"

    engine.remove(container_id)
    engine.remove(container_id)
    engine.stop(container_id, 5)
    assert ours(engine) == []


def test_a_container_that_ignores_sigterm_is_killed_after_the_grace(engine: DockerEngine, image: str) -> None:
    container_id = started(engine, image, "trap '' TERM; while :; do sleep 1; done")
    engine.stop(container_id, 1)
    [seen] = ours(engine)
    assert (seen.state, seen.exit_code) == ("exited", 137)


def test_hardening_is_really_applied(engine: DockerEngine, image: str) -> None:
    """Security facts, row 29: no capability, no new privileges, and every limit."""
    container_id = started(engine, image, run={"memory_bytes": 64 * 1024 * 1024, "cpus": 0.25, "pids": 64})
    raw = inspected(container_id)
    host = raw["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 64 * 1024 * 1024
    assert host["NanoCpus"] == 250_000_000
    assert host["PidsLimit"] == 64
    assert host["Init"] is True
    assert host["Privileged"] is False
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert not host["Binds"]
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{raw['State']['Pid']}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    [seen] = ours(engine)
    assert (seen.settings.memory_bytes, seen.settings.cpus, seen.settings.pids) == (64 * 1024 * 1024, 0.25, 64)


def test_only_the_capabilities_that_a_spec_names_are_there(engine: DockerEngine, image: str) -> None:
    container_id = started(engine, image, run={"capabilities": ("NET_BIND_SERVICE",)})
    pid = inspected(container_id)["State"]["Pid"]
    bounding = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("CapBnd"))
    assert int(bounding.split()[1], 16) == 1 << 10


def test_the_port_is_published_on_loopback_alone_and_env_says_the_port(engine: DockerEngine, image: str) -> None:
    port = free_port()
    container_id = started(engine, image, port=port, run={"port": 9000, "env": {"GREETING": "a\nb", "PORT": "1"}})
    raw = inspected(container_id)
    assert raw["HostConfig"]["PortBindings"] == {"9000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    assert {"PORT=9000", "GREETING=a\nb"} <= set(raw["Config"]["Env"])
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_a_container_is_found_by_its_project_in_its_own_network(engine: DockerEngine, image: str) -> None:
    container_id = started(engine, image)
    networks = inspected(container_id)["NetworkSettings"]["Networks"]
    assert list(networks) == [naming.network_name(engine.instance, "blog")]
    [(_, network)] = networks.items()
    assert "blog" in network["Aliases"]


def test_an_app_that_needs_too_much_memory_is_seen_as_killed_for_it(engine: DockerEngine, image: str) -> None:
    # The engine hears of the kernel's kill and of the app's end apart: an end right after the kill may win.
    hog = '(x=0123456789; while :; do x="$x$x"; done); i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 137'
    wanted = wanted_container(engine, image, hog, run={"memory_bytes": 16 * 1024 * 1024})
    container_id = engine.create_container(wanted)
    engine.set_restart_policy(container_id, "no")
    engine.start(container_id)
    wait_until(lambda: ours(engine)[0].state == "exited", timeout_s=30, what="the end of the hog")
    [seen] = ours(engine)
    assert seen.oom_killed
    assert seen.exit_code != 0


def test_the_restart_policy_can_be_changed_and_is_seen(engine: DockerEngine, image: str) -> None:
    container_id = engine.create_container(wanted_container(engine, image))
    assert ours(engine)[0].settings.restart_policy == "on-failure:3"
    for policy in ("no", "unless-stopped", "on-failure:5"):
        engine.set_restart_policy(container_id, policy)
        assert ours(engine)[0].settings.restart_policy == policy
    engine.remove(container_id)
    with pytest.raises(EngineConflict, match="is gone"):
        engine.set_restart_policy(container_id, "no")


def test_an_app_that_keeps_failing_is_restarted_three_times_and_then_left(engine: DockerEngine, image: str) -> None:
    started(engine, image, "exit 3")
    wait_until(lambda: ours(engine)[0].restart_count == 3 and ours(engine)[0].state == "exited", timeout_s=30)
    assert ours(engine)[0].exit_code == 3


def test_a_paused_container_goes_on_when_it_is_started(engine: DockerEngine, image: str) -> None:
    container_id = started(engine, image)
    docker("pause", container_id)
    assert ours(engine)[0].state == "paused"
    engine.start(container_id)
    assert ours(engine)[0].state == "running"


# ---- ports and leftovers ----------------------------------------------------------------------


def test_a_port_of_a_foreign_process_is_told_and_leaves_no_container_behind(engine: DockerEngine, image: str) -> None:
    """Security facts, row 25: a failed start leaves a `created` container that holds the name."""
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        port = foreign.getsockname()[1]
        wanted = wanted_container(engine, image, port=port)
        container_id = engine.create_container(wanted)
        with pytest.raises(PortTaken) as caught:
            engine.start(container_id)
        assert caught.value.port == port
        assert ours(engine) == []
    engine.start(engine.create_container(wanted))


def test_a_port_of_another_container_is_told(engine: DockerEngine, image: str) -> None:
    port = free_port()
    started(engine, image, port=port)
    container_id = engine.create_container(wanted_container(engine, image, port=port, deployment=2))
    with pytest.raises(PortTaken) as caught:
        engine.start(container_id)
    assert caught.value.port == port
    assert [each.state for each in ours(engine)] == ["running"]


def test_a_kept_container_whose_port_was_taken_meanwhile_is_kept(engine: DockerEngine, image: str) -> None:
    port = free_port()
    container_id = started(engine, image, port=port)
    engine.stop(container_id, 5)
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        foreign.bind(("127.0.0.1", port))
        foreign.listen()
        with pytest.raises(PortTaken):
            engine.start(container_id)
    assert [each.id for each in ours(engine)] == [container_id]


def test_a_leftover_of_a_crash_gives_way_and_one_that_runs_as_wanted_stays(engine: DockerEngine, image: str) -> None:
    """Invariant 4: killed between create and start, the same plan goes through."""
    wanted = wanted_container(engine, image)
    leftover = engine.create_container(wanted)
    fresh = engine.create_container(wanted)
    assert fresh != leftover
    engine.start(fresh)
    assert engine.create_container(wanted) == fresh
    assert [each.id for each in ours(engine)] == [fresh]


def test_an_image_or_network_that_vanished_meanwhile_is_looked_for_again(engine: DockerEngine, image: str) -> None:
    """Row 49."""
    with pytest.raises(EngineConflict, match=r"image .* does not exist"):
        engine.create_container(wanted_container(engine, f"gs-{engine.instance}-none:0"))
    container_id = engine.create_container(wanted_container(engine, image))
    docker("network", "rm", naming.network_name(engine.instance, "blog"))
    with pytest.raises(EngineConflict, match=r"network .* does not exist"):
        engine.start(container_id)
    assert ours(engine) == []


# ---- whose is it ------------------------------------------------------------------------------


def test_things_of_another_instance_are_seen_but_never_changed(engine: DockerEngine, image: str) -> None:
    """Invariant 5."""
    with engine_instance() as other:
        port = free_port()
        theirs = started(other, image, port=port)
        [seen] = [each for each in engine.look().containers if each.id == theirs]
        assert seen.identity is None
        assert seen.host_ports == (port,)
        for change in (
            lambda: engine.stop(theirs, 1),
            lambda: engine.remove(theirs),
            lambda: engine.start(theirs),
            lambda: engine.set_restart_policy(theirs, "no"),
            lambda: engine.remove_network(naming.network_name(other.instance, "blog")),
            lambda: engine.remove_image(image),
        ):
            with pytest.raises(NotOurs, match="carries the label of instance"):
                change()
        assert engine.writes == {}
        assert inspected(theirs)["State"]["Running"]


def test_a_name_of_ours_that_somebody_else_took_is_reported_not_destroyed(engine: DockerEngine, image: str) -> None:
    wanted = wanted_container(engine, image)
    name = wanted.identity.container_name
    docker("create", "--name", name, image, "sh")
    try:
        with pytest.raises(NotOurs, match="left alone"):
            engine.create_container(wanted)
        with pytest.raises(NotOurs, match="left alone"):
            engine.remove(name)
        assert inspected(name)["State"]["Status"] == "created"
    finally:
        docker("rm", name)


def test_what_a_person_makes_of_an_image_of_ours_is_the_persons(engine: DockerEngine, image: str) -> None:
    """Labels of an image are inherited by its containers and by images built upon it (look-alikes, row 33)."""
    mine, theirs = f"gs-{engine.instance}-blog:1", f"theirs-{engine.instance}:1"
    build_upon(image, mine, instance=engine.instance)
    docker("build", "-t", theirs, "-", stdin=f"FROM {mine}\nENV A=1".encode())
    container_id = docker("run", "-d", "--label", f"{naming.LABEL_PROJECT}=blog", mine, "sleep", "1000")
    seen = engine.look()
    assert [each.identity for each in seen.containers if each.id == container_id] == [None]
    assert [each.instance for each in seen.images if theirs in each.names] == [""]
    assert [each.instance for each in seen.images if mine in each.names] == [engine.instance]
    for change in (
        lambda: engine.stop(container_id, 1),
        lambda: engine.remove(container_id),
        lambda: engine.remove_image(theirs),
        lambda: engine.remove_image(engine.image_id(theirs) or ""),
    ):
        with pytest.raises(NotOurs):
            change()
    assert engine.writes == {}


def test_an_image_goes_by_id_only_as_far_as_it_is_ours(engine: DockerEngine, image: str) -> None:
    mine, foreign = f"gs-{engine.instance}-blog:1", f"foreign-{engine.instance}:1"
    build_upon(image, mine, foreign, instance=engine.instance)
    image_id = engine.image_id(mine)
    assert image_id is not None
    engine.remove_image(image_id)
    assert engine.image_id(mine) is None
    assert engine.image_id(foreign) == image_id
    engine.remove_image(mine)


def test_an_image_in_use_stays(engine: DockerEngine, image: str) -> None:
    mine = f"gs-{engine.instance}-blog:1"
    build_upon(image, mine, instance=engine.instance)
    engine.create_container(wanted_container(engine, mine))
    with pytest.raises(EngineConflict):
        engine.remove_image(mine)
    assert engine.image_id(mine) is not None


# ---- networks ---------------------------------------------------------------------------------


def test_each_network_has_a_small_subnet_of_its_own_from_the_pool(engine: DockerEngine) -> None:
    names = [naming.network_name(engine.instance, project) for project in ("a1", "b2", "c3")]
    ids = [engine.create_network(name, "x") for name in names]
    assert [engine.create_network(name, "x") for name in names] == ids
    subnets = {inspected(name)["IPAM"]["Config"][0]["Subnet"] for name in names}
    assert len(subnets) == 3
    assert all(subnet.startswith("10.213.") and subnet.endswith("/27") for subnet in subnets)
    for name in names:
        engine.remove_network(name)
        engine.remove_network(name)
    assert not [each for each in engine.look().networks if each.instance == engine.instance]


def test_a_used_up_pool_is_told() -> None:
    instance = new_instance()
    small = DockerEngine(None, instance=instance, network_pool="10.214.77.0/27")
    try:
        small.create_network(naming.network_name(instance, "a1"), "a1")
        with pytest.raises(EngineRefused, match="no free /27"):
            small.create_network(naming.network_name(instance, "b2"), "b2")
    finally:
        small.remove_network(naming.network_name(instance, "a1"))
        small.close()


def test_a_network_with_something_in_it_stays(engine: DockerEngine, image: str) -> None:
    started(engine, image)
    with pytest.raises(EngineConflict, match="active endpoints"):
        engine.remove_network(naming.network_name(engine.instance, "blog"))


# ---- looking ----------------------------------------------------------------------------------


def test_without_an_event_stream_every_change_by_hand_is_seen_at_once(engine: DockerEngine, image: str) -> None:
    container_id = started(engine, image)
    docker("update", "--memory", "128m", "--memory-swap", "128m", container_id)
    assert ours(engine)[0].settings.memory_bytes == 128 * 1024 * 1024
    docker("rename", container_id, f"renamed-{engine.instance}")
    assert ours(engine)[0].name == f"renamed-{engine.instance}"
    docker("network", "disconnect", naming.network_name(engine.instance, "blog"), container_id)
    assert ours(engine)[0].settings.networks == ()


def test_a_container_that_vanishes_while_we_look_is_simply_absent(engine: DockerEngine, image: str) -> None:
    """Security facts, row 26."""
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            docker("rm", "-f", docker("create", "--label", f"{naming.LABEL_INSTANCE}={engine.instance}", image, "sh"))

    churner = threading.Thread(target=churn)
    churner.start()
    try:
        for _ in range(150):
            engine.look()
    finally:
        stop.set()
        churner.join()


def test_looking_writes_nothing(engine: DockerEngine, image: str) -> None:
    """Invariant 11."""
    started(engine, image)
    before = engine.writes
    engine.look()
    engine.look()
    assert engine.writes == before


def test_what_a_container_said_comes_with_stream_and_time(engine: DockerEngine, image: str) -> None:
    container_id = started(engine, image, "echo one; echo two >&2; sleep 0.3; echo three; exec sleep 1000")
    wait_until(lambda: len(list(engine.container_logs(container_id))) == 3)
    messages = list(engine.container_logs(container_id))
    assert {(stream, data) for stream, _, data in messages} == {
        ("stdout", b"one\n"),
        ("stderr", b"two\n"),
        ("stdout", b"three\n"),
    }
    third_at = max(at for _, at, _ in messages)
    assert [data for _, _, data in engine.container_logs(container_id, tail=1)] == [b"three\n"]
    assert [data for _, _, data in engine.container_logs(container_id, since=third_at - 0.1)] == [b"three\n"]


def test_following_a_container_ends_when_it_ends(engine: DockerEngine, image: str) -> None:
    container_id = started(engine, image, "echo up; sleep 0.5; echo down")
    assert [data for _, _, data in engine.container_logs(container_id, follow=True)] == [b"up\n", b"down\n"]
    engine.remove(container_id)
    with pytest.raises(EngineConflict):
        list(engine.container_logs(container_id))


# ---- an engine in trouble ---------------------------------------------------------------------


def test_an_engine_without_a_socket_is_unavailable_and_says_where() -> None:
    with short_folder() as folder:
        absent = DockerEngine(f"unix://{folder}/none.sock", instance=new_instance())
        with pytest.raises(EngineUnavailable, match=r"none\.sock did not answer"):
            absent.look()
        absent.close()


def test_an_engine_that_stops_hangs_and_comes_back_is_unavailable_only_meanwhile() -> None:
    with second_engine() as second, engine_instance(host=second.url, timeout_s=1) as engine:
        engine.look()
        second.signal(signal.SIGSTOP)
        with pytest.raises(EngineUnavailable):
            engine.look()
        second.signal(signal.SIGCONT)
        engine.look()
        second.stop()
        with pytest.raises(EngineUnavailable):
            engine.look()
        second.start()
        engine.look()
