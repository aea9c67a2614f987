"""What the world moves away from Git is put back by itself, as drift in the history."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.adapters.caddy_socket import peer_pid
from tests.caddy_support import admin_request
from tests.platform_support import Platform, docker, inspect, started, under_load, wait_for
from tests.relay_support import Relay

pytestmark = pytest.mark.real
ENGINE_SOCKET = Path("/var/run/docker.sock")


def route_id(platform: Platform) -> str:
    return f"/id/gitstead-{platform.instance}"


@pytest.fixture
def relay(platform: Platform) -> Iterator[Relay]:
    """The platform's way to the engine, which can be cut."""
    with Relay(platform.folder / "engine.sock", ENGINE_SOCKET) as relay:
        platform.settings["GITSTEAD_DOCKER_HOST"] = relay.url
        yield relay
        platform.stop()


# ---- containers ------------------------------------------------------------------------------


def test_a_killed_container_comes_back_within_a_second_or_so_as_drift_in_the_history(platform: Platform) -> None:
    platform.deploy("shop")
    live = platform.live("shop")
    before = started(live)
    docker("kill", live)
    begun = time.monotonic()
    platform.answers("shop", "v1")
    assert time.monotonic() - begun < 3.0
    assert started(live)[0] == before[0], "the same container, started again"
    assert "exit code 137" in platform.told("shop", live)
    assert "drift" in platform.cli("history", "shop").stdout
    assert len(platform.deployments("shop")) == 1, "a repair is no deployment"


def test_a_removed_container_is_made_again_of_the_same_release_on_the_same_port(platform: Platform) -> None:
    platform.deploy("shop")
    live, port = platform.live("shop"), platform.upstream("shop")
    before = inspect(live)
    docker("rm", "-f", live)
    platform.told("shop", "was removed by hand")
    platform.answers("shop", "v1")
    platform.healthy("shop")
    after = inspect(live)
    assert after["Id"] != before["Id"]
    assert after["Image"] == before["Image"]
    assert after["Config"]["Labels"] == before["Config"]["Labels"]
    assert after["HostConfig"]["RestartPolicy"] == before["HostConfig"]["RestartPolicy"]
    assert platform.upstream("shop") == port


def test_a_container_and_its_image_that_were_removed_are_built_again(platform: Platform) -> None:
    platform.deploy("shop")
    live = platform.live("shop")
    image = inspect(live)["Image"]
    docker("rm", "-f", live)
    docker("rmi", "-f", image, check=False)
    platform.answers("shop", "v1")
    platform.healthy("shop")


def test_an_edited_container_is_replaced_without_a_failed_request(platform: Platform) -> None:
    """Its limits and its name: what was edited goes on serving until the fresh one answers."""
    platform.deploy("shop")
    with under_load(platform, "shop.localhost") as failures:
        for edit, field in (
            (("update", "--memory", "96m", "--memory-swap", "96m"), "memory 96m → 64m"),
            (("update", "--pids-limit", "77"), "pids 77 → 256"),
            (("rename",), "name "),
        ):
            live = platform.live("shop")
            docker(*edit, live, *((f"x-{live}",) if edit == ("rename",) else ()))
            newest = wait_for(lambda: _drift(platform, field), f"a deployment for {field}")  # noqa: B023
            assert newest != live
            platform.healthy("shop")
            assert inspect(newest)["HostConfig"]["Memory"] == 64 * 2**20
    assert failures == []


def _drift(platform: Platform, field: str) -> str:
    """Name of the live container, where the live deployment put `field` right."""
    found = next((each for each in platform.deployments("shop") if each.state == "live"), None)
    if found is None or found.cause != "drift" or field not in found.cause_text:
        return ""
    return platform.live("shop")


def test_a_container_that_was_cut_off_its_network_or_paused_is_replaced(platform: Platform) -> None:
    platform.deploy("shop")
    live = platform.live("shop")
    docker("network", "disconnect", f"gs-{platform.instance}-shop", live)
    wait_for(lambda: _drift(platform, "network none → "), "a deployment for the network")
    platform.answers("shop", "v1")
    platform.healthy("shop")
    docker("pause", platform.live("shop"))
    wait_for(lambda: _drift(platform, "state paused → running"), "a deployment for the pause")
    platform.answers("shop", "v1")
    platform.healthy("shop")
    platform.converged()


def test_a_changed_restart_policy_is_put_back_without_a_new_container(platform: Platform) -> None:
    platform.deploy("shop")
    live = platform.live("shop")
    before = started(live)
    docker("update", "--restart", "no", live)
    platform.told("shop", "restart policy")
    wait_for(lambda: inspect(live)["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped", "the policy")
    assert started(live) == before


def test_a_port_that_somebody_took_while_the_container_was_down_is_replaced_by_the_next(platform: Platform) -> None:
    platform.deploy("shop")
    live, port = platform.live("shop"), int(platform.upstream("shop").rpartition(":")[2])
    platform.kill()
    docker("kill", live)
    with foreign_listener(port):
        platform.start()
        platform.told("shop", f"port {port} of {live} was taken by another program")
        platform.answers("shop", "v1")
        assert platform.upstream("shop") != f"127.0.0.1:{port}"
        platform.healthy("shop")


@contextlib.contextmanager
def foreign_listener(port: int) -> Iterator[None]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait_for(lambda: _binds(listener, port), f"port {port} is free")
        listener.listen()
        yield


def _binds(listener: socket.socket, port: int) -> bool:
    with contextlib.suppress(OSError):
        listener.bind(("127.0.0.1", port))
        return True
    return False


# ---- the engine ------------------------------------------------------------------------------


def test_nothing_is_concluded_from_an_engine_that_does_not_answer(platform: Platform, relay: Relay) -> None:
    """Its silence is Unknown, not "missing"; what happened meanwhile is put right afterwards."""
    platform.deploy("shop")
    live, upstream = platform.live("shop"), platform.upstream("shop")
    relay.cut()
    assert "nothing is concluded" in platform.condition("shop", "EngineUnavailable")
    status = platform.status("shop")
    assert status is not None
    assert status.health == "Unknown"
    assert platform.get("shop.localhost") == (200, "v1")
    platform.looks()
    docker("kill", live)
    platform.looks()
    assert platform.upstream("shop") == upstream
    assert platform.containers("shop") == [live]
    assert (platform.beat() or {})["engine"]
    relay.mend()
    platform.answers("shop", "v1")
    platform.healthy("shop")
    assert "exit code 137" in platform.told("shop", live)


def test_a_lost_stream_of_events_is_followed_by_a_look_at_everything(platform: Platform, relay: Relay) -> None:
    """Trap 27: the stream ends without an error; a kill right then is found all the same, and one after it."""
    platform.deploy("shop")
    live = platform.live("shop")
    for _ in range(2):
        before = started(live)
        relay.drop()
        docker("kill", live)
        wait_for(lambda: started(live) != before, "it was started again", timeout_s=20)  # noqa: B023
        platform.answers("shop", "v1")


def test_an_engine_that_fails_one_question_is_asked_again_soon(platform: Platform, relay: Relay) -> None:
    """Its events go on, so that nobody would tell of its return."""
    platform.deploy("shop")
    relay.loses = "/containers/json"
    platform.looks(1)
    platform.condition("shop", "EngineUnavailable")
    relay.loses = ""
    platform.healthy("shop", timeout_s=20)


# ---- routes ----------------------------------------------------------------------------------


def test_a_removed_route_is_put_back(platform: Platform) -> None:
    platform.deploy("shop")
    assert admin_request(platform.admin_socket, "DELETE", route_id(platform)).status == 200
    platform.told("", "Caddy has none of our routes")
    platform.answers("shop", "v1")
    platform.healthy("shop")


def test_an_edited_route_is_put_back(platform: Platform) -> None:
    """Each edit as a person might make it: another answer before ours, our host taken out of the map."""
    platform.deploy("shop")
    ours = json.loads(admin_request(platform.admin_socket, "GET", route_id(platform)).body)
    answer = {"@id": ours["@id"], "handle": [{"handler": "static_response", "body": "edited"}]}
    without = json.loads(json.dumps(ours).replace("shop.localhost", "elsewhere.localhost"))
    for edited in (answer, without):
        assert admin_request(platform.admin_socket, "PATCH", route_id(platform), edited).status == 200
        platform.answers("shop", "v1")
        wait_for(lambda: _ours(platform) == ours, "the routes are as they were")
    texts = platform.events("")
    assert any("was removed by hand" in text for text in texts), texts
    platform.healthy("shop")


def _ours(platform: Platform) -> object:
    return json.loads(admin_request(platform.admin_socket, "GET", route_id(platform)).body)


def test_a_foreign_route_beside_ours_stays(platform: Platform) -> None:
    platform.deploy("shop")
    server = {"listen": [f"127.0.0.1:{platform.ports[1]}"], "routes": [{"handle": [{"handler": "static_response"}]}]}
    path = "/config/apps/http/servers/theirs"
    assert admin_request(platform.admin_socket, "PUT", path, server).status == 200
    admin_request(platform.admin_socket, "DELETE", route_id(platform))
    platform.answers("shop", "v1")
    assert json.loads(admin_request(platform.admin_socket, "GET", path).body) == server


def test_a_caddy_that_was_killed_and_comes_back_empty_has_its_routes_again(platform: Platform) -> None:
    platform.deploy("shop")
    last_good = platform.state / "caddy" / "last-good.json"
    pid = peer_pid(platform.admin_socket)
    assert pid
    last_good.unlink()
    os.kill(pid, signal.SIGKILL)
    platform.told("", "Caddy has none of our routes")
    platform.answers("shop", "v1")
    platform.healthy("shop")
    assert peer_pid(platform.admin_socket) != pid
    assert json.loads(last_good.read_text())["apps"]


# ---- upstream files --------------------------------------------------------------------------


def test_a_lost_or_garbled_upstream_file_is_written_again(platform: Platform) -> None:
    platform.deploy("shop")
    upstream = platform.upstream("shop")
    path = platform.state / "upstreams" / "shop" / "current"
    path.unlink()
    platform.told("shop", "upstream file of shop is missing")
    platform.answers("shop", "v1")
    path.write_text("nonsense\n")
    platform.told("shop", "names port 0")
    platform.answers("shop", "v1")
    path.write_text("127.0.0.1:1")
    platform.told("shop", "names port 1,")
    platform.answers("shop", "v1")
    assert platform.upstream("shop") == upstream
    assert path.stat().st_mode & 0o777 == 0o644
    platform.healthy("shop")


def test_a_lost_folder_of_upstream_files_is_written_again(platform: Platform) -> None:
    platform.deploy("shop", "blog")
    for name in ("shop", "blog"):
        (platform.state / "upstreams" / name / "current").unlink()
        (platform.state / "upstreams" / name).rmdir()
    for name in ("shop", "blog"):
        platform.told(name, "is missing")
        platform.answers(name, "v1")
        platform.healthy(name)
