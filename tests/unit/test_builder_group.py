"""The builder's group: where it is written on both versions of cgroups, and why it is not where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.adapters.builder_cgroup import BuilderGroup, builder_group, group_files

GIB = 2**30


def test_on_version_2_weight_and_memory_are_files_of_one_group(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    group = BuilderGroup(group_files(tmp_path, "/docker", GIB), GIB)
    assert not group.applies
    group.apply()
    assert (tmp_path / "docker/buildkit/cpu.weight").read_text() == "12"
    assert (tmp_path / "docker/buildkit/memory.max").read_text() == str(GIB)
    assert group.sentence == "CPU weight 1/8 of an app's, memory up to 1.0 GiB for all builds together"


def test_memory_is_asked_for_in_whole_pages_as_the_kernel_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    files = group_files(tmp_path, "/docker", GIB + 2048)
    assert files[tmp_path / "docker/buildkit/memory.max"] == GIB


def test_on_version_1_each_controller_has_a_group_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    group = BuilderGroup(group_files(tmp_path, "docker", GIB), GIB)
    group.apply()
    assert (tmp_path / "cpu/docker/buildkit/cpu.shares").read_text() == "128"
    assert (tmp_path / "memory/docker/buildkit/memory.limit_in_bytes").read_text() == str(GIB)


def test_where_the_files_cannot_be_written_no_limit_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "cpu").write_text("a file in the place of the controller")
    group = BuilderGroup({tmp_path / "cpu/docker/buildkit/cpu.shares": 128}, GIB)
    group.apply()
    assert group.sentence == "no limit applies: the group of the builder cannot be written"


@pytest.mark.parametrize(
    ("docker_host", "driver", "is_rootless", "why"),
    [
        ("tcp://127.0.0.1:1", "cgroupfs", False, "the engine runs on another machine"),
        ("unix:///nowhere.sock", "cgroupfs", True, "a rootless engine has no group that we may write"),
        ("unix:///nowhere.sock", "systemd", False, "driver systemd builds run beside the apps"),
    ],
)
def test_an_engine_without_such_a_group_is_told_with_the_reason(
    docker_host: str, driver: str, is_rootless: bool, why: str
) -> None:
    group = builder_group(docker_host, driver=driver, is_rootless=is_rootless, memory_bytes=GIB)
    assert not group.applies
    assert group.sentence.startswith("no limit applies: ")
    assert why in group.sentence
