"""A commit becomes a running, checked, routed app; a newer one takes over."""

from __future__ import annotations

import threading

from tests.platform_support import Platform, app_files, wait_for


def test_a_commit_in_the_platform_repository_becomes_an_app_that_answers(platform: Platform) -> None:
    platform.app("shop", "v1")
    platform.push_spec("shop")
    platform.start()
    platform.answers("shop", "v1")
    status = platform.healthy("shop")
    assert status.release == 1
    assert status.address == f"http://shop.localhost:{platform.http_port}"


def test_a_push_to_an_app_repository_is_live_at_the_same_address_and_fails_no_request(platform: Platform) -> None:
    """Invariant 2, under steady requests on fresh and on kept connections."""
    shop = platform.app("shop", "v1")
    platform.push_spec("shop")
    platform.start()
    platform.answers("shop", "v1")
    platform.healthy("shop")
    failures: list[tuple[int, str]] = []
    seen: set[str] = set()
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            status, body = platform.get("shop.localhost")
            seen.add(body.strip())
            if status != 200:
                failures.append((status, body))

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for each in askers:
        each.start()
    for version in ("v2", "v3"):
        sha = shop.push(app_files(version), f"Say {version}")
        platform.answers("shop", version)
        wait_for(lambda: platform.healthy("shop").commit == sha, f"{version} is live")  # noqa: B023
    wait_for(lambda: len(platform.containers("shop", running=True)) == 1, "the old ones are stopped")
    done.set()
    for each in askers:
        each.join()
    assert failures == []
    assert seen == {"v1", "v2", "v3"}


def test_history_shows_commit_cause_and_duration(platform: Platform) -> None:
    shop = platform.app("shop", "v1")
    platform.push_spec("shop")
    platform.start()
    platform.healthy("shop")
    sha = shop.push(app_files("v2"), "Say v2")
    wait_for(lambda: platform.healthy("shop").commit == sha, "v2 is live")
    text = platform.cli("history", "shop").stdout
    assert sha[:7] in text
    assert "Say v2" in text
    newest = platform.deployments("shop")[0]
    assert newest.cause == "change"
    assert newest.live_at > newest.created_at


def test_one_container_of_the_release_before_is_kept_stopped_and_older_ones_go(platform: Platform) -> None:
    shop = platform.app("shop", "v1")
    platform.push_spec("shop")
    platform.start()
    platform.answers("shop", "v1")
    for version in ("v2", "v3"):
        platform.healthy("shop")
        shop.push(app_files(version))
        platform.answers("shop", version)
    wait_for(
        lambda: platform.containers("shop") == [f"gs-{platform.instance}-shop-d{n}-web-1" for n in (2, 3)],
        "d2 is kept, d1 is gone",
    )
    wait_for(lambda: len(platform.containers("shop", running=True)) == 1, "only d3 runs")
