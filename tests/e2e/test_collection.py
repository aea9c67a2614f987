"""Disk (acceptance 6): only ours go, what is needed stays, and below the floor nothing is built."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_support import import_tiny_image, second_engine
from tests.inside_support import inside
from tests.platform_support import Platform, docker, wait_for

pytestmark = pytest.mark.real


def our_images(platform: Platform, name: str) -> set[str]:
    """Names of the project's images on the engine."""
    return set(docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"gs-{platform.instance}-{name}").split())


def image_of(platform: Platform, name: str, number: int) -> str:
    found = next(each for each in platform.deployments(name) if each.number == number)
    return f"gs-{platform.instance}-{name}:{found.content_key[:16]}"


def release(platform: Platform, name: str, *versions: str) -> None:
    """Each of them live in turn, built anew with a layer of its own."""
    for version in versions:
        platform.repos[name].push({"version": f"{version}\n"})
        platform.answers(name, version)
        platform.healthy(name)


@pytest.fixture
def foreign(platform: Platform) -> Iterator[list[str]]:
    """Images of somebody else, made before anything of ours and kept to the end."""
    name = f"somebody-{platform.folder.name.lower().replace('_', '')}"
    docker("tag", "gitstead/base-python", f"{name}:theirs")
    yield [f"{name}:theirs", f"{name}:upon-ours", f"{name}:copy"]
    for tag in ("theirs", "upon-ours", "copy"):
        docker("rmi", "--force", f"{name}:{tag}", check=False)


def test_images_that_nothing_needs_go_and_nobody_elses(platform: Platform, foreign: list[str], tmp_path: Path) -> None:
    """Kept: what is live, what the rollback window needs, what somebody named or runs; all else beyond the budget."""
    platform.settings["GITSTEAD_DISK_BUDGET_BYTES"] = "1"
    platform.deploy("shop", "blog", deploy={"drain": "0s", "rollback_window": "1h"})
    release(platform, "shop", "v2", "v3", "v4")
    first, second, third, live = (image_of(platform, "shop", number) for number in (1, 2, 3, 4))
    assert our_images(platform, "shop") == {first, second, third, live}
    docker("tag", second, foreign[2])
    (tmp_path / "Dockerfile").write_text(f"FROM {third}\nRUN : mine\n")
    docker("build", "-q", "-t", foreign[1], str(tmp_path))
    runs = docker("run", "-d", "--network", "none", third, "sleep", "1000")
    blog, before = our_images(platform, "blog"), platform.ids()
    try:
        platform.push_spec("shop", deploy={"drain": "0s", "rollback_window": "0s"})
        release(platform, "shop", "v5")
        newest = image_of(platform, "shop", 5)
        wait_for(lambda: our_images(platform, "shop") == {newest, second, third}, "the others are collected")
    finally:
        docker("rm", "--force", runs)
    assert our_images(platform, "blog") == blog
    assert set(platform.ids("blog")) <= set(before)
    for each in foreign:
        assert docker("images", "-q", each)
    told = wait_for(lambda: [each for each in platform.events("shop") if "collected" in each], "the event")
    assert told[0].startswith("collected ")
    assert " image" in told[0]
    platform.converged()


def test_within_the_budget_they_are_kept_as_a_cache_and_a_revert_builds_nothing(platform: Platform) -> None:
    platform.deploy("shop", deploy={"drain": "0s", "rollback_window": "0s"})
    release(platform, "shop", "v2", "v3")
    platform.looks()
    assert len(our_images(platform, "shop")) == 3
    platform.repos["shop"].push({"version": "v1\n"})
    platform.answers("shop", "v1")
    with platform.queries() as queries:
        assert "build" not in {each.key.kind for each in queries.job_rows("shop", 4)}


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_below_the_floor_builds_wait_apps_go_on_and_it_goes_on_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an engine whose data lies on a filesystem of 700 MB of the test's own."""
    with second_engine(data_mb=700) as engine, inside(engine, monkeypatch) as platform:
        platform.settings = {"GITSTEAD_DOCKER_HOST": engine.url, "GITSTEAD_DISK_FLOOR_BYTES": "100m"}
        shop = platform.app("shop", files={"index.html": "v1"})
        platform.push_spec("shop", build={"type": "static"})
        platform.start()
        platform.answers("shop", "v1")
        platform.healthy("shop")
        root = Path(docker("info", "--format", "{{.DockerRootDir}}"))
        filler = root / "filler"
        size = shutil.disk_usage(root).free - 50 * 2**20
        subprocess.run(["fallocate", "-l", str(size), filler], check=True)

        shop.push({"index.html": "v2"})
        message = platform.condition("shop", "DiskLow")
        assert f"MB free at {root}, 105 MB is the floor" in message
        assert "limits.disk_floor" in message
        docker("kill", platform.containers("shop")[0])
        platform.answers("shop", "v1")
        assert len(platform.deployments("shop")) == 1
        doctor = platform.cli("doctor", check=False)
        assert f"free at {root}, 105 MB is the floor: nothing is built" in doctor.stdout
        assert doctor.returncode == 1

        filler.unlink()
        platform.answers("shop", "v2", timeout_s=70)
        assert platform.healthy("shop").deployment == 2


def test_the_build_cache_is_pruned_only_where_a_limit_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Once a day and at a start; what was used within the hour stays all the same."""
    with second_engine() as engine, inside(engine, monkeypatch) as platform:
        import_tiny_image("gs-aaaaaa-tiny:test", "aaaaaa", host=engine.url)
        (tmp_path / "Dockerfile").write_text("FROM gs-aaaaaa-tiny:test\nRUN yes | head -c 9000000 > /a\n")
        docker("buildx", "build", str(tmp_path))
        docker("image", "prune", "--force")
        platform.start()
        platform.wait_started()
        wait_for(lambda: "of ours" in (platform.beat() or {}).get("disk", ""), "the disk was measured")
        platform.stop()
        assert platform.events("") == []
        platform.settings["GITSTEAD_BUILD_CACHE_BYTES"] = "1m"
        platform.start()
        told = wait_for(lambda: platform.events(""), "the platform's history tells of it")
        assert told == ["build cache pruned to 1 MB: 0 MB freed"]
        platform.looks()
        assert platform.events("") == told, "not again within the hour"
        assert "build cache 9 MB of 1 MB" in (platform.beat() or {})["disk"]
