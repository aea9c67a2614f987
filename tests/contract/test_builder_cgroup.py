"""What limits on builds really do on an engine of this machine: running apps keep their share, a hog is ended."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.adapters.bounds import Cancellation
from reconciler.adapters.builder_cgroup import CGROUPS, WEIGHT, BuilderGroup, builder_group
from reconciler.adapters.disk_usage import EngineDisk
from reconciler.adapters.image_builder import BuildRequest, ImageBuilder
from reconciler.errors import BuildFailed
from reconciler.model.effects import BuildStep, Stream
from tests.caddy_support import wait_until
from tests.engine_support import SecondEngine, docker, new_instance, second_engine, tiny_image

pytestmark = pytest.mark.real
BUSY = "yes > /dev/null & yes > /dev/null & yes > /dev/null & yes > /dev/null & "
LIMIT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Limited:
    """An engine whose groups lie below `parent`, its builder limited as `group` says."""

    engine: SecondEngine
    parent: str
    group: BuilderGroup
    image: str


@pytest.fixture(scope="module")
def limited() -> Iterator[Limited]:
    parent = f"gstest-{secrets.token_hex(4)}"
    with (
        second_engine(options=["--cgroup-parent", f"/{parent}"]) as engine,
        tiny_image(host=engine.url) as image,
    ):
        disk = EngineDisk(engine.url)
        facts = disk.facts()
        disk.close()
        if facts.cgroup_driver != "cgroupfs":
            pytest.skip("this engine has no group of its own for builds")
        _keep_to_one_processor(parent)
        group = builder_group(engine.url, driver="cgroupfs", is_rootless=False, memory_bytes=LIMIT_BYTES)
        group.apply()
        yield Limited(engine, parent, group, image)
    _remove_groups(parent)


class Nothing:
    """A sink that keeps nothing."""

    def write(self, stream: Stream, text: str, *, at: float, step: str = "") -> None: ...
    def step(self, step: BuildStep) -> None: ...
    def close(self) -> None: ...


def _keep_to_one_processor(parent: str) -> None:
    """Below `parent` all compete for the first processor: shares are exact there, however busy others are."""
    for folder in (CGROUPS / "cpuset" / parent, CGROUPS / parent):
        if (folder.parent / "cpuset.cpus.effective").exists() or (folder.parent / "cpuset.cpus").exists():
            folder.mkdir(exist_ok=True)
            for name in ("cpuset.mems", "cpuset.cpus"):
                with suppress(OSError):
                    (folder / name).write_text("0")


def _remove_groups(parent: str) -> None:
    for top in (CGROUPS / parent, *CGROUPS.glob(f"*/{parent}")):
        folders = sorted((each for each in top.rglob("*") if each.is_dir()), reverse=True)
        for folder in (*folders, top):
            with suppress(OSError):
                folder.rmdir()


def build(limited: Limited, folder: Path, script: str, cancellation: Cancellation | None = None) -> None:
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {limited.image}\nRUN {script}\n")
    instance = new_instance()
    request = BuildRequest(
        context=folder,
        dockerfile=folder / "Dockerfile",
        tag=f"gs-{instance}-blog:1",
        labels={},
        timeout_s=60.0,
        job_id=f"{instance}/blog/d1",
    )
    ImageBuilder(limited.engine.url).build(request, Nothing(), cancellation=cancellation)


def seconds_used(limited: Limited, group: str) -> float:
    """Processor time of a group below the engine's, 0 while it is not there."""
    v1, v2 = CGROUPS / "cpuacct" / limited.parent / group, CGROUPS / limited.parent / group
    with suppress(OSError):
        return int((v1 / "cpuacct.usage").read_text()) / 1e9
    with suppress(OSError):
        return int((v2 / "cpu.stat").read_text().split()[1]) / 1e6
    return 0.0


def test_what_applies_is_said_and_is_there(limited: Limited) -> None:
    assert limited.group.applies
    assert limited.group.sentence == "CPU weight 1/8 of an app's, memory up to 0.1 GiB for all builds together"
    assert all(f"/{limited.parent}/buildkit/" in str(file) for file in limited.group.files)


def test_a_busy_build_leaves_a_busy_app_its_share(limited: Limited, tmp_path: Path) -> None:
    """Eight to one; without the weight it would be one to one."""
    command = ["run", "-d", "--network", "none", limited.image, "sh", "-c", f"{BUSY} exec sleep 100"]
    app = docker(*command, host=limited.engine.url)
    cancellation = Cancellation()
    try:

        def building() -> None:
            with suppress(BuildFailed):
                build(limited, tmp_path / "context", f"{BUSY} sleep 100", cancellation)

        thread = threading.Thread(target=building)
        thread.start()
        wait_until(lambda: seconds_used(limited, "buildkit") > 0.1, timeout_s=20)
        before = seconds_used(limited, app), seconds_used(limited, "buildkit")
        wait_until(lambda: seconds_used(limited, app) > before[0] + 2, timeout_s=60)
        used_by_app = seconds_used(limited, app) - before[0]
        used_by_build = seconds_used(limited, "buildkit") - before[1]
        cancellation.cancel()
        thread.join(10)
    finally:
        docker("rm", "--force", app, host=limited.engine.url)
    assert used_by_build / used_by_app == pytest.approx(1 / WEIGHT, rel=0.5)


def test_a_build_that_takes_too_much_memory_is_ended_and_says_so(limited: Limited, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="killed, most likely for lack of memory") as caught:
        build(limited, tmp_path / "context", "x=$(yes | head -c 200000000); echo got it all")
    assert "limits.build_memory" in caught.value.remedy


def test_a_build_within_the_limit_goes_well(limited: Limited, tmp_path: Path) -> None:
    build(limited, tmp_path / "context", "echo enough")
