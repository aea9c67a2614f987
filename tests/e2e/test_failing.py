"""Deployments that fail: the old release serves, the reason is told, and the next good push recovers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.platform_support import Platform, app_files, docker, inspect, under_load, wait_for

pytestmark = pytest.mark.real
QUICK: dict[str, Any] = {"health": {"timeout": "3s", "interval": "1s"}}


@pytest.mark.parametrize(
    ("files", "reason", "told"),
    [
        ({"Dockerfile": "FROM gitstead/base-python\nRUN echo goes-wrong && exit 7\n"}, "BuildFailed", "7"),
        ({"Dockerfile": "FRUM nothing\n"}, "BuildFailed", "FRUM"),
        ({"version": "dies\n"}, "StartFailed", "exit code 3"),
        ({"version": "sick\n"}, "CheckFailed", "500"),
    ],
    ids=["build", "dockerfile", "dies", "sick"],
)
def test_a_failed_deployment_leaves_the_old_release_serving_and_names_its_reason(
    platform: Platform, files: dict[str, str | bytes | None], reason: str, told: str
) -> None:
    platform.deploy("shop", **QUICK)
    before = platform.ids()
    with under_load(platform, "shop.localhost") as failures:
        sha = platform.repos["shop"].push(files, "Break it")
        message = platform.condition("shop", reason)
        assert told in message
        assert "r1 still serves" in message
        wait_for(lambda: platform.containers("shop", running=True) == list(before), "the failed one is gone")
    assert failures == []
    assert platform.ids() == before
    failed = platform.deployments("shop")[0]
    assert (failed.number, failed.state, failed.reason) == (2, "failed", reason)
    assert failed.commit.sha == sha
    history = platform.cli("history", "shop").stdout
    assert "failed" in history
    assert told in history
    assert told in platform.cli("status", "shop").stdout
    platform.looks()
    assert platform.deployments("shop")[0].number == 2, "it is not tried again by itself"
    platform.repos["shop"].push({**app_files("v3")}, "Mend it")
    platform.answers("shop", "v3")
    assert [each.reason for each in platform.healthy("shop").conditions] == ["Live"]


def test_a_first_deployment_that_fails_serves_nobody_until_it_is_mended(platform: Platform) -> None:
    shop = platform.app("shop", "dies")
    platform.push_spec("shop", **QUICK)
    platform.start()
    assert "nothing serves yet" in platform.condition("shop", "StartFailed")
    assert "last words of the app" in platform.cli("logs", "shop", "--build", "1").stdout
    assert platform.get("shop.localhost")[0] != 200
    assert platform.upstream("shop") == ""
    shop.push(app_files("v2"))
    platform.answers("shop", "v2")
    platform.healthy("shop")


def test_a_build_is_ended_at_its_deadline(platform: Platform) -> None:
    platform.deploy("shop", build={"type": "dockerfile", "timeout": "3s"})
    platform.repos["shop"].push({"Dockerfile": "FROM gitstead/base-python\nRUN sleep 600\n"})
    message = platform.condition("shop", "BuildTimedOut")
    assert "3s" in message
    assert platform.get("shop.localhost") == (200, "v1")
    assert "3s" in platform.cli("logs", "shop", "--build", "2").stdout


def test_a_newer_push_takes_the_place_of_one_that_is_being_built(platform: Platform) -> None:
    platform.deploy("shop")
    platform.repos["shop"].push({"Dockerfile": "FROM gitstead/base-python\nRUN sleep 600\n"})
    wait_for(lambda: platform.deployments("shop")[0].state == "building", "it is being built")
    platform.repos["shop"].push(app_files("v3"))
    platform.answers("shop", "v3")
    platform.healthy("shop")
    assert [each.state for each in platform.deployments("shop")] == ["live", "superseded", "retired"]


def test_a_wish_that_is_taken_back_while_it_fails_leaves_what_runs(platform: Platform) -> None:
    platform.deploy("shop", **QUICK)
    before = platform.ids()
    platform.push_spec("shop", run={"memory": "64m", "command": ["false"]}, **QUICK)
    platform.condition("shop", "StartFailed")
    platform.push_spec("shop", **QUICK)
    assert [each.reason for each in platform.healthy("shop").conditions] == ["Live"]
    assert platform.ids() == before


def test_an_app_that_uses_more_memory_than_it_may_is_named_as_that(platform: Platform) -> None:
    greedy = "x = bytearray(200 * 2**20)\nimport time\ntime.sleep(60)\n"
    shop = platform.app("shop", files={**app_files("v1"), "app.py": greedy})
    platform.push_spec("shop", **QUICK)
    platform.start()
    assert "more than its memory (64m)" in platform.condition("shop", "StartFailed")
    shop.push(app_files("v2"))
    platform.answers("shop", "v2")


def test_an_app_that_ends_again_and_again_is_told_as_a_crash_loop_and_its_restarts_slow_down(
    platform: Platform,
) -> None:
    platform.deploy("shop")
    live = platform.live("shop")
    docker("update", "--restart", "unless-stopped", live)
    for _ in range(4):
        wait_for(lambda: inspect(live)["State"]["Running"], "it runs")
        docker("kill", live)
    wait_for(lambda: "exit code 137" in platform.condition("shop", "CrashLoop"), "its exit code is told")
    platform.answers("shop", "v1")
    platform.healthy("shop")
