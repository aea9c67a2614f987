"""The limits of a host: how they are written, what holds where nothing is, and whose build cache may be pruned."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.adapters.disk_usage import Room
from reconciler.bootstrap.limits import cache_limit
from reconciler.errors import HostUnfit
from reconciler.host import engine_setup
from reconciler.settings import Settings, load_settings

GIB = 2**30


def load(folder: Path, text: str, **environ: str) -> Settings:
    path = folder / "host.yaml"
    path.write_text(text)
    return load_settings(environ, host_file=path)


def test_limits_are_sizes_of_the_host_file_and_of_the_environment(tmp_path: Path) -> None:
    text = "limits: {disk: 2g, build_cache: 512m, disk_floor: 1g, build_memory: 4g}\n"
    settings = load(tmp_path, text, GITSTEAD_DISK_FLOOR_BYTES="50m")
    assert settings.disk_budget_bytes == 2 * GIB
    assert settings.build_cache_bytes == 512 * 2**20
    assert settings.disk_floor_bytes == 50 * 2**20
    assert settings.build_memory_bytes == 4 * GIB
    assert load_settings(settings.environment()) == settings


@pytest.mark.parametrize("text", ["limits: {disk: much}\n", "limits: {disk: 1k}\n", "limits: {disks: 1g}\n"])
def test_what_is_no_limit_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(HostUnfit, match="limits"):
        load(tmp_path, text)


def test_half_the_cores_build_where_nothing_is_said(tmp_path: Path) -> None:
    assert load(tmp_path, "poll: 5s\n").builds == max(1, (os.cpu_count() or 1) // 2)


def test_a_build_cache_is_pruned_only_where_a_limit_is_set_or_the_engine_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_setup, "MARKER", tmp_path / "engine-installed")
    assert cache_limit(Settings(tmp_path), "THEIRS") == 0
    assert cache_limit(Settings(tmp_path, build_cache_bytes=GIB), "THEIRS") == GIB
    (tmp_path / "engine-installed").write_text("OURS\n")
    assert cache_limit(Settings(tmp_path), "OURS") == 20 * GIB
    assert cache_limit(Settings(tmp_path), "THEIRS") == 0
    assert cache_limit(Settings(tmp_path, build_cache_bytes=GIB), "OURS") == GIB


def test_a_filesystem_that_does_not_answer_ends_no_look(tmp_path: Path) -> None:
    unreadable = Path("/", "x" * 300)
    with pytest.raises(OSError, match="too long"):
        unreadable.stat()
    assert [each.folder for each in Room(tmp_path, 1).spaces(unreadable)] == [tmp_path]
