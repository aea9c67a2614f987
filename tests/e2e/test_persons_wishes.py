"""What only a person decides: that a detected type is right, that a deployment ends, that it is tried again."""

from __future__ import annotations

from tests.platform_support import Platform, app_files, docker, wait_for

SLOW = """\
FROM gitstead/base-python
RUN ["python3", "-c", "import time; print('begun', flush=True); time.sleep(600)"]
"""


def test_build_type_auto_waits_for_a_person_before_the_first_deployment_and_never_again(platform: Platform) -> None:
    shop = platform.app("shop", "v1")
    platform.push_spec("shop", build={"type": "auto"})
    platform.start()
    status = wait_for(lambda: (found := platform.status("shop")) and found.waiting and found, "it waits")
    assert (status.gate, status.detected) == ("confirmation", "dockerfile")
    assert platform.deployments("shop") == []
    refused = platform.cli("approve", "shop", check=False)
    assert refused.returncode == 1
    assert "gitstead confirm shop" in refused.stderr
    assert "shop is dockerfile" in platform.cli("confirm", "shop").stdout
    platform.answers("shop", "v1")
    platform.healthy("shop")
    shop.push(app_files("v2"))
    platform.answers("shop", "v2")
    assert any("was confirmed by" in each for each in platform.events("shop"))


def test_a_cancelled_build_ends_at_once_and_is_tried_again_only_when_a_person_asks(platform: Platform) -> None:
    platform.deploy("shop")
    shop = platform.repos["shop"]
    shop.push({**app_files("v2"), "Dockerfile": SLOW}, "Too slow")
    wait_for(lambda: (found := platform.status("shop")) and found.under_way_state == "building", "it builds")
    platform.cli("cancel", "shop")
    status = platform.healthy("shop")
    assert status.conditions[0].reason == "Cancelled"
    assert platform.deployments("shop")[0].state == "cancelled"
    platform.looks()
    assert [each.number for each in platform.deployments("shop")] == [2, 1]
    assert platform.cli("cancel", "shop", check=False).returncode == 1
    platform.cli("retry", "shop")
    wait_for(lambda: platform.deployments("shop")[0].number == 3, "it is tried again")
    assert platform.deployments("shop")[0].cause == "request"
    shop.push({**app_files("v3")}, "Quick again")
    platform.answers("shop", "v3")
    assert platform.deployments("shop")[1].state == "superseded"


def test_a_push_outside_of_what_is_watched_deploys_nothing(platform: Platform) -> None:
    shop = platform.app("shop", files={**app_files("v1"), "docs/readme.txt": "1"})
    platform.push_spec("shop", source={"repo": str(shop.bare), "watch": ["version", "*.py", "Dockerfile"]})
    platform.start()
    platform.answers("shop", "v1")
    platform.healthy("shop")
    before, images = (
        platform.ids("shop"),
        docker("images", "-q", "--filter", f"label=gitstead.instance={platform.instance}"),
    )
    shop.push({"docs/readme.txt": "2"}, "Only words")
    platform.looks()
    assert platform.ids("shop") == before
    assert docker("images", "-q", "--filter", f"label=gitstead.instance={platform.instance}") == images
    shop.push({"version": "v2\n"}, "A version")
    platform.answers("shop", "v2")
