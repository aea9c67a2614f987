"""The engine's disk, measured for real: layers counted once, the build cache by age and budget, room for builds."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.adapters.disk_usage import EngineDisk, Room, space
from reconciler.adapters.docker_engine import DockerEngine
from reconciler.errors import EngineUnavailable
from reconciler.loop.disk_watch import DiskWatch
from reconciler.model.disk import taken
from tests.caddy_support import short_folder, wait_until
from tests.engine_support import SecondEngine, docker, engine_instance, import_tiny_image, second_engine, tiny_image

pytestmark = pytest.mark.real
MB = 10**6


@pytest.fixture(scope="module")
def engine() -> Iterator[SecondEngine]:
    """One of our own: its build cache is pruned. Its data lies on a filesystem of 600 MB."""
    with second_engine(data_mb=600) as engine:
        yield engine


@pytest.fixture
def disk(engine: SecondEngine) -> Iterator[EngineDisk]:
    disk = EngineDisk(engine.url)
    yield disk
    disk.close()


def build(engine: SecondEngine, folder: Path, name: str, dockerfile: str) -> str:
    """The id of an image that is built from this text."""
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    docker("buildx", "build", "--provenance=false", "-t", name, str(folder), host=engine.url)
    return docker("image", "inspect", "--format", "{{.Id}}", name, host=engine.url)


def layer(name: str, megabytes: int) -> str:
    return f"RUN yes {name} | head -c {megabytes}000000 > /{name}\n"


# ---- images --------------------------------------------------------------------------------------


def test_layers_that_images_share_are_counted_once(engine: SecondEngine, disk: EngineDisk, tmp_path: Path) -> None:
    """The first steps came out of the cache: they are the same layers. An empty step is none."""
    with tiny_image(host=engine.url) as base:
        shared = f"FROM {base}\nWORKDIR /\n{layer('dependencies', 20)}"
        first = build(engine, tmp_path / "a", "shares:1", f"{shared}{layer('one', 3)}")
        second = build(engine, tmp_path / "b", "shares:2", f"{shared}ENV A=1\n{layer('two', 5)}")
        layers = disk.layers()
        base_bytes = taken([layers[docker("image", "inspect", "--format", "{{.Id}}", base, host=engine.url)]])
        assert taken([layers[first]]) - base_bytes == pytest.approx(23 * MB, rel=0.01)
        assert taken([layers[second]]) - base_bytes == pytest.approx(25 * MB, rel=0.01)
        both = taken([layers[first], layers[second]])
        assert both - base_bytes == pytest.approx(28 * MB, rel=0.01)
        docker("rmi", "shares:1", "shares:2", host=engine.url)


def test_what_removal_frees_is_what_was_told(engine: SecondEngine, disk: EngineDisk, tmp_path: Path) -> None:
    with tiny_image(host=engine.url) as base:
        build(engine, tmp_path / "a", "frees:1", f"FROM {base}\n{layer('old', 50)}")
        layers = disk.layers()
        docker("rmi", "frees:1", host=engine.url)
        gone = set(layers) - set(disk.layers())
        assert len(gone) == 1
        others = {key for image, each in layers.items() if image not in gone for key, _ in each}
        own = tuple((key, size) for key, size in layers[gone.pop()] if key not in others)
        assert taken([own]) == pytest.approx(50 * MB, rel=0.01)


def test_an_image_that_lost_its_name_is_removed_by_its_id(engine: SecondEngine) -> None:
    with engine_instance(host=engine.url) as ours:
        name = f"gs-{ours.instance}-blog:0123"
        image_id = import_tiny_image(name, ours.instance, host=engine.url)
        docker("tag", name, "keeps-it:1", host=engine.url)
        docker("rmi", name, host=engine.url)
        docker("tag", image_id, name, host=engine.url)
        docker("rmi", "keeps-it:1", host=engine.url)
        import_tiny_image(name, ours.instance, host=engine.url)
        assert _names(ours, image_id) == ()
        ours.remove_image(image_id)
        assert all(each.id != image_id for each in ours.look().images)


def _names(engine: DockerEngine, image_id: str) -> tuple[str, ...]:
    return next(each.names for each in engine.look().images if each.id == image_id)


# ---- the build cache -------------------------------------------------------------------------------


def test_the_build_cache_goes_by_age_and_budget(engine: SecondEngine, disk: EngineDisk, tmp_path: Path) -> None:
    with tiny_image(host=engine.url) as base:
        build(engine, tmp_path / "a", "cached:1", f"FROM {base}\n{layer('cache', 30)}")
        docker("rmi", "cached:1", host=engine.url)
        before = disk.build_cache_bytes()
        assert before > 29 * MB
        assert disk.prune_build_cache(keep_bytes=0, unused_s=3600) == 0
        assert disk.prune_build_cache(keep_bytes=before * 10, unused_s=0) == 0
        assert disk.prune_build_cache(keep_bytes=10 * MB, unused_s=0) > 19 * MB
        assert disk.build_cache_bytes() <= 10 * MB


# ---- room --------------------------------------------------------------------------------------------


def test_the_floor_is_five_gigabytes_and_at_most_a_tenth_of_the_disk(engine: SecondEngine, disk: EngineDisk) -> None:
    root = disk.facts().data_root
    assert root is not None
    found = space(root, None)
    assert found.total_bytes == pytest.approx(600 * 2**20, rel=0.02)
    assert found.floor_bytes == found.total_bytes // 10
    here = space(Path("/"), None)
    assert here.floor_bytes == min(5 * 10**9, here.total_bytes // 10)


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_it_will_lie_in(tmp_path: Path) -> None:
    assert space(tmp_path / "not" / "yet", None).folder == tmp_path


def test_an_engine_that_does_not_answer_is_told() -> None:
    with short_folder() as folder, pytest.raises(EngineUnavailable):
        EngineDisk(f"unix://{folder}/none.sock").facts()


@dataclass
class Watched:
    """A watch with a state folder of its own, and what it told."""

    watch: DiskWatch
    told: list[str] = field(default_factory=list)
    measured: list[float] = field(default_factory=list)
    days: list[float] = field(default_factory=list)


def watched(engine: SecondEngine, folder: Path, *, floor_bytes: int | None = None, limit_bytes: int = 0) -> Watched:
    found = Watched(None)  # type: ignore[arg-type]
    found.watch = DiskWatch(
        EngineDisk(engine.url),
        room=Room(folder, floor_bytes),
        cache_limit=lambda _: limit_bytes,
        on_measured=lambda: found.measured.append(time.time()),
        tell=found.told.append,
        daily=lambda: found.days.append(time.time()),
        clock=time.time,
    )
    return found


def test_the_disk_is_measured_at_the_start_and_when_asked(engine: SecondEngine, tmp_path: Path) -> None:
    found = watched(engine, tmp_path)
    assert found.watch.latest() is None
    found.watch.start()
    try:
        wait_until(lambda: len(found.measured) == 1, timeout_s=20)
        first = found.watch.latest()
        assert first is not None
        assert found.watch.latest() is first
        found.watch.ask()
        wait_until(lambda: len(found.measured) == 2, timeout_s=20)
        assert found.watch.latest() is not first
        assert len(found.days) == 1
    finally:
        found.watch.stop()


def test_an_engine_that_is_away_is_asked_again_and_nothing_is_known_meanwhile(tmp_path: Path) -> None:
    with short_folder() as folder:
        found = watched(SecondEngine(folder), tmp_path)
        found.watch.start()
        found.watch.ask()
        assert found.watch.latest() is None
        found.watch.stop()
        assert found.measured == []


def test_pruning_the_cache_measures_and_tells(engine: SecondEngine, tmp_path: Path) -> None:
    with tiny_image(host=engine.url) as base:
        build(engine, tmp_path / "a", "pruned:1", f"FROM {base}\n{layer('pruned', 30)}")
        docker("rmi", "pruned:1", host=engine.url)
    found = watched(engine, tmp_path, limit_bytes=MB)
    threading.Thread(target=found.watch.prune_cache, args=(MB, 0.0)).start()
    wait_until(lambda: bool(found.measured), timeout_s=30)
    latest = found.watch.latest()
    assert latest is not None
    assert latest.build_cache_bytes <= MB
    assert latest.cache_pruned_at <= latest.at
    assert found.told[0].startswith("build cache pruned to 1 MB: ")


def test_what_is_below_the_floor_is_told_at_once_and_so_is_its_end(engine: SecondEngine, tmp_path: Path) -> None:
    """On the engine's own small filesystem."""
    found = watched(engine, tmp_path, floor_bytes=100 * MB)
    found.watch.start()
    try:
        wait_until(lambda: len(found.measured) == 1, timeout_s=20)
        assert found.watch.shortage() == ""
        root = next(each.folder for each in found.watch.spaces() if each.total_bytes < 10**9)
        filler = root / "filler"
        size = shutil.disk_usage(root).free - 65 * MB
        subprocess.run(["fallocate", "-l", str(size), filler], check=True)
        assert found.watch.shortage() == f"less than 70 MB free at {root}, 100 MB is the floor"
        assert "MB free" in found.watch.usage()
        filler.unlink()
        assert found.watch.shortage() == ""
    finally:
        found.watch.stop()
