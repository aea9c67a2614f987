"""What doctor says of Docker and buildx, and how the engine's leftovers are settled, without an engine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.errors import HostUnfit
from reconciler.host import buildx_setup, engine_checks, engine_setup, machine
from reconciler.host.engine_setup import MAX_SIZE, MAX_SPEED, Engine

ENGINE = Engine("ABCD", "20.10.24+dfsg1", "overlay2", 2, 24 * 2**30, running=0, live_restore=False)


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemd that writes down what it is asked; the path of those notes."""
    notes = tmp_path / "asked"
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$*" >> {notes}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(machine, "has_systemd", lambda: True)
    monkeypatch.setattr(machine, "is_root", lambda: True)
    monkeypatch.setattr(engine_setup, "_DROP_IN", tmp_path / "docker.service.d/gitstead.conf")
    monkeypatch.setattr(engine_setup, "read_engine", lambda: ENGINE)
    monkeypatch.setattr(engine_setup, "read_log_limits", dict)
    return notes


def engine(**fields: object) -> Engine:
    return Engine(**(vars(ENGINE) | fields))  # type: ignore[arg-type]


def test_an_engine_is_shown_with_what_matters() -> None:
    found = engine_checks.check_engine(ENGINE)
    assert (found.level, found.text) == ("ok", "20.10, overlay2, 2 CPUs, 24 GB")


@pytest.mark.parametrize(
    ("found", "level", "says"),
    [
        (None, "problem", "no engine answers"),
        (engine(version="19.03.1"), "problem", "19.03 is older than 20.10"),
        (engine(storage_driver="vfs"), "warning", "copies every layer"),
    ],
)
def test_an_engine_that_will_not_do_has_a_hint(found: Engine | None, level: str, says: str) -> None:
    check = engine_checks.check_engine(found)
    assert check.level == level
    assert says in check.text
    assert check.hint


@pytest.mark.parametrize(
    ("version", "driver", "level"),
    [
        ((0, 13, 1), "docker", "ok"),
        ((0, 13), "", "ok"),
        ((0, 12, 9), "docker", "problem"),
        ((), "", "problem"),
        ((0, 30, 1), "docker-container", "warning"),
    ],
)
def test_buildx_must_be_new_enough_and_build_into_the_engine(version: tuple[int, ...], driver: str, level: str) -> None:
    assert engine_checks.check_buildx(version, driver).level == level


MODERATE = {MAX_SIZE: "10000000", MAX_SPEED: "1000000"}
HIGH = {MAX_SIZE: "10000000", MAX_SPEED: "10000000"}


@pytest.mark.parametrize(
    ("version", "limits", "level", "says"),
    [
        ("20.10.24+dfsg1", MODERATE, "ok", "1 MB a second (an engine from 23 on: 10 MB a second)"),
        ("20.10.24+dfsg1", HIGH, "warning", "loses track of a build that prints more than 1 MB at once"),
        ("23.0.1", HIGH, "ok", "whole up to 10 MB a step"),
        ("26.1.5+dfsg1", MODERATE, "warning", "the engine has BUILDKIT_STEP_LOG_MAX_SIZE=10000000"),
        ("26.1.5+dfsg1", {}, "warning", "cuts each step at 2 MiB and 200 KiB a second"),
        ("20.10.24+dfsg1", {}, "warning", "cuts each step at 2 MiB and 200 KiB a second"),
        ("20.10.24+dfsg1", None, "ok", "not visible"),
    ],
)
def test_an_engine_that_leaves_build_output_out_is_a_warning(
    version: str, limits: dict[str, str] | None, level: str, says: str
) -> None:
    check = engine_checks.check_build_logs(engine(version=version), limits)
    assert check.level == level
    assert says in check.text
    assert (level == "ok") or "BUILDKIT_STEP_LOG_MAX_SPEED" in check.hint


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("buildx 0.13.1+ds1 0.13.1+ds1-3", (0, 13, 1)),
        ("v0.30", (0, 30)),
        ("20.10.24+dfsg1", (20, 10, 24)),
        ("none", ()),
    ],
)
def test_versions_are_found_in_what_programs_print(text: str, version: tuple[int, ...]) -> None:
    assert buildx_setup.version_in(text) == version


def test_pid_files_of_dead_and_of_other_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead, other, absent = tmp_path / "docker.pid", tmp_path / "containerd.pid", tmp_path / "absent.pid"
    dead.write_text("4194999\n")
    other.write_text(str(os.getpid()))
    files = ((dead, "dockerd"), (other, "containerd"), (absent, "dockerd"))
    monkeypatch.setattr(engine_setup, "_PID_FILES", files)
    said: list[str] = []
    engine_setup.clear_stale_pid_files(said.append)
    assert not dead.exists()
    assert not other.exists()
    assert said == [
        f"removing {dead}: process 4194999 is not a running dockerd",
        f"removing {other}: process {os.getpid()} is not a running containerd",
    ]


def test_the_pid_file_of_a_running_program_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "docker.pid"
    path.write_text(str(os.getpid()))
    own_name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    monkeypatch.setattr(engine_setup, "_PID_FILES", ((path, own_name),))
    engine_setup.clear_stale_pid_files(pytest.fail)
    assert path.exists()


def test_the_limits_go_into_a_drop_in_and_an_idle_engine_is_restarted(systemctl: Path, tmp_path: Path) -> None:
    said: list[str] = []
    assert engine_setup.ensure_log_limits(ENGINE, said.append)
    assert (tmp_path / "docker.service.d/gitstead.conf").read_text() == (
        "[Service]\n"
        'Environment="BUILDKIT_STEP_LOG_MAX_SIZE=10000000"\n'
        'Environment="BUILDKIT_STEP_LOG_MAX_SPEED=1000000"\n'
    )
    assert systemctl.read_text().splitlines() == ["daemon-reload", "restart docker"]
    assert any("restarting the Docker engine" in line for line in said)


def test_an_engine_in_which_containers_run_is_not_restarted(systemctl: Path) -> None:
    said: list[str] = []
    assert not engine_setup.ensure_log_limits(engine(running=3), said.append)
    assert systemctl.read_text().splitlines() == ["daemon-reload"]
    assert said[-1] == "the engine keeps its old limits until it is restarted: 3 containers run"


def test_an_engine_with_the_right_limits_is_left_alone(systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_setup, "read_log_limits", lambda: MODERATE)
    assert engine_setup.ensure_log_limits(ENGINE, pytest.fail)
    assert not systemctl.exists()


def test_an_engine_elsewhere_is_not_replaced_by_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    monkeypatch.setattr(engine_setup, "read_engine", lambda: None)
    with pytest.raises(HostUnfit, match=r"no Docker engine answers at DOCKER_HOST=tcp://192\.0\.2\.1:2375"):
        engine_setup.ensure_engine(pytest.fail)


def test_without_apt_the_remedy_is_to_install_docker_oneself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine_setup, "read_engine", lambda: None)
    monkeypatch.setattr(machine, "is_debian_like", lambda: False)
    with pytest.raises(HostUnfit, match=r"expected Debian or Ubuntu\. Install and start Docker"):
        engine_setup.ensure_engine(pytest.fail)


def test_only_the_very_engine_that_we_installed_counts_as_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_setup, "MARKER", tmp_path / "engine-installed")
    assert not engine_setup.is_installed_by_us(ENGINE.id)
    (tmp_path / "engine-installed").write_text("ABCD\n")
    assert engine_setup.is_installed_by_us(ENGINE.id)
    assert not engine_setup.is_installed_by_us("OTHER")
