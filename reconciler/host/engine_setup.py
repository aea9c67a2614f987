"""Installs and starts a Docker engine where none answers, on Debian and Ubuntu, as root.

Called by `doctor --fix` and by the test setup; says each thing before doing it. Never replaces an engine
that answers, never restarts one while containers run, and never ends a dockerd that it did not start.
An engine that we installed is known by its id, kept in `MARKER`, since only there may public image names
be given to our base images and the build cache be pruned.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from reconciler.adapters import process_marks, processes
from reconciler.errors import HostUnfit, ProgramTimedOut
from reconciler.host import machine
from reconciler.host.buildx_setup import Version, version_in
from reconciler.host.machine import Say

MAX_SIZE, MAX_SPEED = "BUILDKIT_STEP_LOG_MAX_SIZE", "BUILDKIT_STEP_LOG_MAX_SPEED"
MARKER = Path("/var/lib/gitstead/engine-installed")
PACKAGES = ("docker.io", "iptables", "git", "ca-certificates")
READY_WITHIN_S = 90.0

_KEEPS_TRACK: Version = (23,)  # the first engine whose BuildKit reports more than 1 MiB of output at once
_DROP_IN = Path("/etc/systemd/system/docker.service.d/gitstead.conf")
_LOG = Path("/var/log/gitstead-dockerd.log")
_OURS = "GITSTEAD_ENGINE"  # in the environment of a dockerd that we started without systemd
_PID_FILES = (
    (Path("/var/run/docker.pid"), "dockerd"),
    (Path("/var/run/docker/containerd/containerd.pid"), "containerd"),
)


@dataclass(frozen=True)
class Engine:
    """What an engine says about itself."""

    id: str
    version: str
    storage_driver: str
    cpus: int
    memory_bytes: int
    running: int
    live_restore: bool


def read_engine(*, timeout_s: float = 10.0) -> Engine | None:
    """The engine that the docker client reaches, or None where none answers (or there is no client)."""
    try:
        finished = processes.run(["docker", "info", "--format", "{{json .}}"], timeout_s=timeout_s, check=False)
        info = json.loads(finished.text or "{}")
    except (HostUnfit, ProgramTimedOut, ValueError):
        return None
    if finished.status != 0 or not info.get("ServerVersion"):
        return None
    return Engine(
        id=str(info.get("ID", "")),
        version=str(info["ServerVersion"]),
        storage_driver=str(info.get("Driver", "")),
        cpus=int(info.get("NCPU", 0)),
        memory_bytes=int(info.get("MemTotal", 0)),
        running=int(info.get("ContainersRunning", 0)),
        live_restore=bool(info.get("LiveRestoreEnabled", False)),
    )


def is_installed_by_us(engine_id: str) -> bool:
    """Whether `doctor --fix` installed this very engine."""
    try:
        return MARKER.read_text().strip() == engine_id
    except OSError:
        return False


def ensure_engine(say: Say) -> Engine:
    """An engine that answers, installed and started if need be. Raises `HostUnfit` where that fails."""
    engine = read_engine()
    if engine is not None:
        return engine
    remote = os.environ.get("DOCKER_HOST", "")
    if remote and not remote.startswith("unix:///var/run/docker.sock"):
        raise HostUnfit(
            f"no Docker engine answers at DOCKER_HOST={remote}",
            expected="a running engine there",
            remedy="Start it, or unset DOCKER_HOST to use an engine of this machine",
        )
    machine.require_installer("a Docker engine", "Install and start Docker, then run this again")
    installs = "docker.io" in machine.missing_packages(("docker.io",)) and not _has_dockerd()
    if installs:
        machine.install_packages(PACKAGES, say)
        MARKER.parent.mkdir(parents=True, exist_ok=True)
        MARKER.touch()  # empty until the engine has an id, even if its first start fails
    engine = _start(say, just_installed=installs)
    if MARKER.exists() and not MARKER.read_text().strip():
        MARKER.write_text(engine.id + "\n")
    say(f"Docker engine {engine.version} answers")
    return engine


def log_limits(version: Version) -> dict[str, str]:
    """What an engine of that version should have in its environment: bytes, and bytes a second, a step and stream.

    An engine before 23 stops reporting on a build that prints more than 1 MiB at once.
    """
    speed = 10_000_000 if keeps_track(version) else 1_000_000
    return {MAX_SIZE: "10000000", MAX_SPEED: str(speed)}


def keeps_track(version: Version) -> bool:
    """Whether the engine reports on a build to its end, however much that prints at once."""
    return version >= _KEEPS_TRACK


def ensure_log_limits(engine: Engine, say: Say) -> bool:
    """Set the engine's limits on build output where systemd runs it; False, with a reason said, if not."""
    limits, wanted = read_log_limits(), log_limits(version_in(engine.version))
    if limits is None or limits == wanted:
        return limits == wanted
    if not machine.has_systemd() or not machine.is_root():
        say("build logs: the engine's limits are set where it is started, which is not us")
        return False
    _write_drop_in(wanted, say)
    if engine.running and not engine.live_restore:
        say(f"the engine keeps its old limits until it is restarted: {engine.running} containers run")
        return False
    say("restarting the Docker engine, so that it takes the new limits")
    _systemctl("restart", "docker")
    _wait_until_ready(None)
    return True


def read_log_limits() -> dict[str, str] | None:
    """The build log limits of the running dockerd; None where its environment cannot be read."""
    pid = dockerd_pid()
    environment = process_marks.environment_of(pid) if pid else {}
    if not environment:
        return None
    return {name: environment[name] for name in (MAX_SIZE, MAX_SPEED) if name in environment}


def dockerd_pid() -> int:
    """The process id of this machine's dockerd by its pid file; 0 where none runs."""
    path, program = _PID_FILES[0]
    pid = _read_pid(path)
    return pid if process_marks.program_of(pid) == program else 0


def clear_stale_pid_files(say: Say) -> None:
    """Remove pid files whose process is gone or is another program: dockerd would refuse to start."""
    for path, program in _PID_FILES:
        pid = _read_pid(path)
        if path.exists() and process_marks.program_of(pid) != program:
            say(f"removing {path}: process {pid} is not a running {program}")
            path.unlink(missing_ok=True)


def _start(say: Say, *, just_installed: bool) -> Engine:
    limits = log_limits(_dockerd_version())
    if machine.has_systemd():
        _write_drop_in(limits, say)
        say("starting docker.service")
        _systemctl("enable", "--now", "docker")
        return _wait_until_ready(None)
    _settle_half_started(say)
    engine = read_engine()
    if engine is not None and just_installed:
        # The package's own init script starts it without our limits on build output.
        say("starting the new engine again with our limits on build output")
        _stop(dockerd_pid())
        engine = None
    if engine is not None:
        return engine
    clear_stale_pid_files(say)
    say(f"starting dockerd (log {_LOG}, pid file {_PID_FILES[0][0]})")
    env = processes.inherited(limits | {_OURS: "1"})
    pid = processes.start_daemon(["dockerd"], env=env, log_path=_LOG)
    return _wait_until_ready(pid)


def _settle_half_started(say: Say) -> None:
    """Wait for a dockerd that runs but does not answer yet; end it if it is ours and never does."""
    pid = dockerd_pid()
    if not pid:
        return
    say(f"waiting for dockerd (process {pid}), which runs but does not answer yet")
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline and dockerd_pid() == pid:
        if read_engine() is not None:
            return
        time.sleep(0.2)
    if dockerd_pid() != pid:
        return
    if _OURS not in process_marks.environment_of(pid):
        raise HostUnfit(
            f"dockerd (process {pid}) runs but has not answered for 30 s",
            expected="an answer on its socket",
            remedy="Look at its log; end it, or restart its service, then run this again",
        )
    say(f"ending dockerd (process {pid}), which we started and which does not answer")
    _stop(pid)


def _stop(pid: int) -> None:
    """End one dockerd: SIGTERM, then SIGKILL after 20 s."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            for number, grace_s in ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0)):
                signal.pidfd_send_signal(pidfd, number)
                if process_marks.exits(pidfd, time.monotonic() + grace_s):
                    return
        finally:
            os.close(pidfd)


def _wait_until_ready(pid: int | None) -> Engine:
    """Poll until the engine answers; give up early where the dockerd that we started has ended."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        engine = read_engine()
        if engine is not None:
            return engine
        if pid is not None and os.waitpid(pid, os.WNOHANG)[0] == pid:
            raise HostUnfit(
                f"dockerd ended while it started: {_log_tail()}",
                expected="an engine that answers",
                remedy=f"The whole log is in {_LOG}",
            )
        time.sleep(0.2)
    raise HostUnfit(
        f"the Docker engine did not answer within {READY_WITHIN_S:g} s: {_log_tail()}",
        expected="an answer on its socket",
        remedy="See journalctl -u docker" if machine.has_systemd() else f"The whole log is in {_LOG}",
    )


def _write_drop_in(limits: dict[str, str], say: Say) -> None:
    lines = ["[Service]", *(f'Environment="{name}={value}"' for name, value in limits.items())]
    text = "\n".join(lines) + "\n"
    if _DROP_IN.exists() and _DROP_IN.read_text() == text:
        return
    say(f"writing {_DROP_IN}: {' '.join(f'{name}={value}' for name, value in limits.items())}")
    _DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    _DROP_IN.write_text(text)
    _systemctl("daemon-reload")


def _systemctl(*words: str) -> None:
    processes.run(["systemctl", *words], timeout_s=120, remedy="See journalctl -u docker")


def _dockerd_version() -> Version:
    """Of the program in the PATH; empty where there is none."""
    try:
        return version_in(processes.run(["dockerd", "--version"], timeout_s=10, check=False).text)
    except HostUnfit:
        return ()


def _has_dockerd() -> bool:
    return any(Path(folder, "dockerd").exists() for folder in ("/usr/bin", "/usr/sbin", "/usr/local/bin"))


def _log_tail() -> str:
    try:
        lines = _LOG.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "it left no log"
    reasons = [line for line in lines if "failed" in line or "level=error" in line or "level=fatal" in line]
    return " | ".join((reasons or lines)[-2:])[-500:]


def _read_pid(path: Path) -> int:
    try:
        return int(path.read_text().strip() or 0)
    except (OSError, ValueError):
        return 0
