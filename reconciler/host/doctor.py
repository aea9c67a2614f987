"""Says whether this machine can run Gitstead, and on request makes it so.

Called by the command `doctor` and by the test setup. `diagnose` only looks. `fix` says each thing before
it does it, goes on after a failure, and leaves the verdict to the next `diagnose`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from reconciler.adapters.disk_usage import Room
from reconciler.errors import GitsteadError
from reconciler.host import buildx_setup, engine_checks, engine_setup, limit_checks, machine, machine_checks
from reconciler.host.check import Check
from reconciler.host.machine import Say


@dataclass(frozen=True)
class Wants:
    """What this Gitstead needs of the machine; `listeners` are (purpose, host, port).

    `disk_floor_bytes` and `build_memory_bytes` are the host's limits, None = the default.
    """

    state: Path = Path("/var/lib/gitstead")
    docker_host: str | None = None
    disk_floor_bytes: int | None = None
    build_memory_bytes: int | None = None
    ports: tuple[int, int] = (20000, 29999)
    listeners: tuple[tuple[str, str, int], ...] = field(
        default=(("apps", "127.0.0.1", 8680), ("status page", "127.0.0.1", 8600))
    )


def diagnose(wants: Wants) -> list[Check]:
    """Look at everything; the order is that in which people read it."""
    engine = engine_setup.read_engine()
    usage = limit_checks.read_usage(wants.docker_host, state=wants.state) if engine is not None else None
    room = Room(wants.state, wants.disk_floor_bytes)
    checks = [
        machine_checks.check_git(),
        machine_checks.check_disk(room.spaces(usage.facts.data_root if usage is not None else None)),
        engine_checks.check_engine(engine),
        engine_checks.check_buildx(*engine_checks.read_buildx()),
        machine_checks.check_caddy(),
        machine_checks.check_clock(),
        machine_checks.check_port_range(wants.ports),
        *(machine_checks.check_listening(*listener) for listener in wants.listeners),
    ]
    if engine is not None:
        checks.append(engine_checks.check_build_logs(engine, engine_checks.read_limits(engine)))
        checks.append(engine_checks.check_base_images())
    if usage is not None:
        checks.append(limit_checks.check_usage(usage))
        group = limit_checks.find_group(usage, wants.docker_host, memory_bytes=wants.build_memory_bytes)
        checks.append(limit_checks.check_builder(group))
    return checks


def fix(say: Say) -> None:
    """Install and start what is missing and can be installed here; what fails is said, not raised."""
    for step in (_fix_git, _fix_engine, _fix_buildx):
        try:
            step(say)
        except GitsteadError as error:
            say(f"✗ {error}")


def _fix_git(say: Say) -> None:
    if machine_checks.check_git().level == "problem":
        machine.install_packages(("git", "ca-certificates"), say)


def _fix_engine(say: Say) -> None:
    engine = engine_setup.ensure_engine(say)
    engine_setup.ensure_log_limits(engine, say)


def _fix_buildx(say: Say) -> None:
    buildx_setup.ensure_buildx(say)
