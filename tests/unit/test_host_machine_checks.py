"""Each look at the machine, with the machine as it should be and as it should not."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

from reconciler.adapters.disk_usage import Space
from reconciler.host import machine_checks


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing in it but what a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/python"))
    return folder


def put(folder: Path, name: str, says: str) -> None:
    program = folder / name
    program.write_text(f"#!{shutil.which('sh', path=os.defpath)}\necho '{says}'\n")
    program.chmod(0o755)


def test_git_is_shown_with_its_version(programs: Path) -> None:
    put(programs, "git", "git version 2.39.5")
    found = machine_checks.check_git()
    assert (found.level, found.text) == ("ok", "2.39.5")


def test_missing_git_is_a_problem_with_a_hint(programs: Path) -> None:
    found = machine_checks.check_git()
    assert (found.level, found.text) == ("problem", "not installed")
    assert "--fix" in found.hint


@pytest.mark.parametrize(
    ("says", "level"), [("v2.11.1 h1:x", "ok"), ("v2.12.0", "ok"), ("v2.11.0", "problem"), ("?", "problem")]
)
def test_caddy_must_be_new_enough(programs: Path, says: str, level: str) -> None:
    put(programs, "caddy", says)
    assert machine_checks.check_caddy().level == level


def test_missing_caddy_is_a_problem(programs: Path) -> None:
    assert machine_checks.check_caddy().text == "not found"


def test_caddy_beside_our_python_goes_before_the_one_in_path(programs: Path) -> None:
    put(programs, "caddy", "v1.0.0")
    beside = Path(sys.executable).parent
    beside.mkdir()
    put(beside, "caddy", "v2.11.7")
    assert machine_checks.caddy_program() == beside / "caddy"
    assert machine_checks.check_caddy().text == "2.11.7"


def test_free_disk_has_a_floor_on_each_filesystem_that_builds_need(tmp_path: Path) -> None:
    wide = Space(tmp_path, 1, free_bytes=71 * 10**9, total_bytes=10**11, floor_bytes=5 * 10**9)
    full = Space(tmp_path / "engine", 2, free_bytes=4_900_000_000, total_bytes=10**11, floor_bytes=5 * 10**9)
    assert machine_checks.check_disk([wide]).text == f"71 GB free at {tmp_path}, 5.0 GB is the floor"
    found = machine_checks.check_disk([wide, full])
    assert (found.level, found.text) == (
        "problem",
        f"4.9 GB free at {tmp_path}/engine, 5.0 GB is the floor: nothing is built",
    )


def test_a_clock_before_our_own_installation_is_wrong() -> None:
    found = machine_checks.check_clock(now=86400.0 * 365)
    assert (found.level, found.text[:10]) == ("problem", "1971-01-01")


def test_a_possible_clock_is_fine() -> None:
    assert machine_checks.check_clock().level == "ok"


@pytest.mark.parametrize(
    ("ports", "level"),
    [((20000, 29999), "ok"), ((20000, 32768), "problem"), ((60999, 61010), "problem"), ((61000, 61010), "ok")],
)
def test_leased_ports_must_not_overlap_with_outgoing_ones(ports: tuple[int, int], level: str) -> None:
    assert machine_checks.check_port_range(ports, (32768, 60999)).level == level


def test_a_port_that_is_taken_names_who_holds_it() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        found = machine_checks.check_listening("apps", "127.0.0.1", port)
        assert found.level == "warning"
        assert f"127.0.0.1:{port} is taken by" in found.text
        assert f"({os.getpid()})" in found.text
    assert machine_checks.check_listening("apps", "127.0.0.1", port).text == "free for apps"
