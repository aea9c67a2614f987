"""What left Git is removed, carefully (invariant 8), and nothing of anybody else (invariant 5)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.caddy_support import admin_request
from tests.engine_support import new_instance, remove_everything
from tests.platform_support import Platform, docker, inspect, started, wait_for
from tests.platform_support import platform as other_platform

pytestmark = pytest.mark.real


def leave(platform: Platform, *names: str) -> None:
    """Remove the specs from the platform repository."""
    platform.platform_repo.push({f"projects/{name}.yaml": None for name in names}, f"Remove {', '.join(names)}")


def images(platform: Platform, name: str) -> list[str]:
    words = ["images", "-q", "--filter", f"label=gitstead.instance={platform.instance}"]
    return docker(*words, "--filter", f"label=gitstead.project={name}").split()


def networks(platform: Platform, name: str) -> list[str]:
    return docker("network", "ls", "-q", "--filter", f"name=^gs-{platform.instance}-{name}$").split()


def is_gone(platform: Platform, name: str) -> bool:
    return not (
        platform.containers(name)
        or images(platform, name)
        or networks(platform, name)
        or (platform.state / "upstreams" / name).exists()
        or platform.status(name) is not None
        or platform.get(f"{name}.localhost")[0] != 404
    )


def wait_gone(platform: Platform, name: str) -> None:
    try:
        wait_for(lambda: is_gone(platform, name), f"{name} is gone")
    except AssertionError as error:
        found = (platform.containers(name), images(platform, name), networks(platform, name), platform.status(name))
        raise AssertionError(f"{error}\n{found}\n{platform.log()[-3000:]}") from None


# ---- what goes -------------------------------------------------------------------------------


def test_a_removed_project_file_takes_container_network_image_upstream_file_and_route_with_it(
    platform: Platform,
) -> None:
    """Also what it kept stopped for a rollback; its history stays."""
    platform.deploy("shop", "blog")
    platform.repos["shop"].push({"version": "v2\n"})
    platform.answers("shop", "v2")
    platform.healthy("shop")
    wait_for(lambda: len(platform.containers("shop")) == 2, "d1 is kept")
    blog = platform.ids("blog")
    leave(platform, "shop")
    wait_gone(platform, "shop")
    assert platform.ids("blog") == blog
    assert platform.get("blog.localhost") == (200, "v1")
    assert "shop.localhost" not in (platform.state / "caddy" / "last-good.json").read_text()
    assert "left the platform repository" in platform.cli("history", "shop").stdout
    platform.converged()


def test_a_project_that_comes_back_is_deployed_with_higher_numbers(platform: Platform) -> None:
    platform.deploy("shop", "blog")
    leave(platform, "shop")
    wait_gone(platform, "shop")
    platform.push_spec("shop")
    platform.answers("shop", "v1")
    platform.healthy("shop")
    assert [each.number for each in platform.deployments("shop")] == [2, 1]


def test_a_project_that_was_removed_while_the_reconciler_was_down_goes_at_its_start(platform: Platform) -> None:
    platform.deploy("shop", "blog")
    platform.stop()
    leave(platform, "shop")
    platform.start()
    wait_gone(platform, "shop")
    platform.answers("blog", "v1")


def test_a_project_that_leaves_in_the_middle_of_its_deployment_leaves_nothing(platform: Platform) -> None:
    platform.deploy("shop", "blog")
    slow = "FROM gitstead/base-python\nRUN sleep 300\n"
    platform.repos["shop"].push({"Dockerfile": slow})
    wait_for(lambda: platform.deployments("shop")[0].state == "building", "it is being built")
    leave(platform, "shop")
    wait_gone(platform, "shop")
    newest = platform.deployments("shop")[0]
    assert (newest.state, newest.reason) == ("cancelled", "Orphan")


# ---- what stays ------------------------------------------------------------------------------


@pytest.fixture
def stranger() -> Iterator[str]:
    """The instance of somebody else on the same engine."""
    instance = new_instance()
    yield instance
    remove_everything(instance)


def test_foreign_containers_images_networks_and_routes_are_untouched(platform: Platform, stranger: str) -> None:
    """Look-alikes too: labels of another instance, our labels on a container or an image of another name."""
    platform.deploy("shop", "blog")
    live = inspect(platform.live("shop"))
    ours = [word for key, value in live["Config"]["Labels"].items() for word in ("--label", f"{key}={value}")]
    image, network = live["Image"], f"gs-{stranger}-shop"
    docker("network", "create", "--label", f"gitstead.instance={stranger}", "--label", "gitstead.project=shop", network)
    theirs = ["--label", f"gitstead.instance={stranger}", "--label", "gitstead.project=shop"]
    names = {
        f"gs-{stranger}-shop-d1-web-1": theirs,
        f"{stranger}-plain": ["--label", f"gitstead.instance={stranger}"],
        f"{stranger}-wears-our-labels": [*ours, "--label", f"theirs={stranger}"],
    }
    for name, labels in names.items():
        docker("run", "-d", "--name", name, "--network", network, *labels, image)
    docker("commit", f"{stranger}-plain", f"{stranger}/built-on-ours:1")
    docker("tag", image, f"{stranger}/named-by-them:1")
    server = {"listen": [f"127.0.0.1:{platform.ports[1]}"], "routes": [{"handle": [{"handler": "static_response"}]}]}
    path = "/config/apps/http/servers/theirs"
    assert admin_request(platform.admin_socket, "PUT", path, server).status == 200
    before = {name: started(name) for name in names}
    try:
        leave(platform, "shop")
        wait_for(lambda: networks(platform, "shop") == [] and platform.status("shop") is None, "shop is gone")
        platform.looks()
        assert {name: started(name) for name in names} == before
        assert docker("image", "inspect", "-f", "{{.Id}}", f"{stranger}/named-by-them:1") == image
        assert docker("images", "-q", f"{stranger}/built-on-ours:1")
        assert docker("network", "ls", "-q", "--filter", f"name={network}")
        assert json.loads(admin_request(platform.admin_socket, "GET", path).body) == server
        platform.converged()
    finally:
        docker("rm", "-f", *names)
        docker("rmi", "-f", f"{stranger}/built-on-ours:1", f"{stranger}/named-by-them:1")


def test_a_name_that_should_be_ours_and_is_somebody_elses_is_reported_and_left_alone(
    platform: Platform, stranger: str
) -> None:
    platform.deploy("shop")
    squatter = f"gs-{platform.instance}-shop-d2-web-1"
    image = inspect(platform.live("shop"))["Image"]
    docker("run", "-d", "--name", squatter, "--label", f"gitstead.instance={stranger}", image)
    before = started(squatter)
    platform.repos["shop"].push({"version": "v2\n"})
    platform.answers("shop", "v2")
    assert started(squatter) == before
    assert platform.live("shop") != squatter


# ---- what waits ------------------------------------------------------------------------------


def test_a_revision_that_removes_many_projects_waits_for_an_approval_of_each(platform: Platform) -> None:
    platform.deploy("shop", "blog", "docs")
    before = platform.ids()
    leave(platform, "shop", "blog")
    message = platform.condition("shop", "WaitingForApproval")
    assert "removes 2 projects at once (blog, shop)" in message
    platform.condition("blog", "WaitingForApproval")
    assert "gitstead approve" in platform.cli("status", "shop").stdout
    platform.looks()
    assert platform.ids() == before
    assert platform.get("shop.localhost") == (200, "v1")
    assert "approved" in platform.cli("approve", "shop").stdout
    platform.looks()
    assert platform.ids() == before, "one approval of two removes nothing yet"
    platform.cli("approve", "blog")
    for name in ("shop", "blog"):
        wait_gone(platform, name)
    assert platform.get("docs.localhost") == (200, "v1")


def test_what_waits_for_its_removal_is_still_repaired_and_stays_when_its_file_comes_back(platform: Platform) -> None:
    platform.deploy("shop", "blog")
    leave(platform, "shop", "blog")
    platform.condition("shop", "WaitingForApproval")
    docker("kill", platform.live("shop"))
    platform.told("shop", "exit code 137")
    platform.answers("shop", "v1")
    for name in ("shop", "blog"):
        platform.push_spec(name)
    for name in ("shop", "blog"):
        platform.healthy(name)
    assert len(platform.deployments("shop")) == 1
    refused = platform.cli("approve", "shop", check=False)
    assert refused.returncode == 1
    assert "waits for no approval" in refused.stderr


def test_adopted_things_are_removed_only_after_an_approval(platform: Platform) -> None:
    platform.deploy("shop", "blog")
    platform.stop()
    for each in (platform.state / "state").iterdir():
        each.unlink()
    leave(platform, "shop")
    before = platform.ids()
    platform.start()
    assert "after the store was lost" in platform.condition("shop", "WaitingForApproval")
    platform.answers("shop", "v1")
    assert platform.ids() == before
    platform.cli("approve", "shop")
    wait_gone(platform, "shop")
    assert platform.get("blog.localhost") == (200, "v1")


def test_an_unreachable_platform_repository_deletes_nothing(platform: Platform) -> None:
    """Invariant 3, also with a reconciler that starts while it is away."""
    platform.deploy("shop")
    before = platform.ids()
    bare = platform.platform_repo.bare
    away = bare.with_name("away.git")
    bare.rename(away)
    platform.looks()
    wait_for(lambda: (platform.beat() or {}).get("git"), "the platform repository is reported")
    platform.looks()
    assert platform.ids() == before
    platform.stop()
    platform.start()
    wait_for(lambda: (platform.beat() or {}).get("git"), "the platform repository is reported")
    platform.answers("shop", "v1")
    platform.looks()
    assert platform.ids() == before
    away.rename(bare)
    platform.healthy("shop")
    wait_for(lambda: not (platform.beat() or {}).get("git"), "it is back", timeout_s=40)
    assert platform.ids() == before


def test_a_revision_that_cannot_be_parsed_deletes_nothing_until_it_can(platform: Platform) -> None:
    """A file that left in the same commit as a syntax error came in is not proof that it was meant to leave."""
    platform.deploy("shop", "blog", "docs")
    before = platform.ids()
    platform.platform_repo.push({"projects/shop.yaml": None, "projects/blog.yaml": "kind: [Project\n"}, "Break blog")
    assert "projects/blog.yaml:" in platform.condition("blog", "SpecInvalid")
    platform.looks()
    assert platform.ids() == before
    assert platform.get("shop.localhost") == (200, "v1")
    platform.push_spec("blog")
    wait_gone(platform, "shop")
    assert platform.ids("blog", "docs") == {name: seen for name, seen in before.items() if "-shop-" not in name}


# ---- instances -------------------------------------------------------------------------------


def test_two_instances_on_one_engine_do_not_touch_each_other(platform: Platform) -> None:
    """The same project name on both; one removes, edits and rebuilds all of its own."""
    folder = Path(tempfile.mkdtemp(prefix="gs-"))
    with other_platform(folder) as other:
        for each in (platform, other):
            each.deploy("shop", version=f"of-{each.http_port}")
        assert other.instance != platform.instance
        before = other.ids()
        docker("rm", "-f", platform.live("shop"))
        platform.told("shop", "was removed by hand")
        platform.repos["shop"].push({"version": "v2\n"})
        platform.answers("shop", "v2")
        leave(platform, "shop")
        wait_gone(platform, "shop")
        other.looks()
        assert other.ids() == before
        assert other.get("shop.localhost") == (200, f"of-{other.http_port}")
        assert images(other, "shop")
        assert networks(other, "shop")
        assert other.events("shop") == []


def test_a_second_reconciler_on_one_state_folder_refuses_and_names_the_first(platform: Platform) -> None:
    """Invariant 7."""
    platform.deploy("shop")
    before = platform.ids()
    second = platform.cli("up", "--no-web", check=False)
    assert second.returncode == 1
    assert platform.process is not None
    assert f"process {platform.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    platform.looks()
    assert platform.ids() == before
    assert platform.get("shop.localhost") == (200, "v1")
