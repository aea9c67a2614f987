"""Ends the steps of our builds that outlived their engine: it starts them, and leaves them behind when it stops.

Called by `image_builder` when an engine went away, and by `bootstrap` at start. A step of ours is known by a host
name in its `NO_PROXY` that nobody resolves: proxy variables reach the steps, and are no part of image or cache.
Must never end a step of an engine that still runs: two builds may share it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from reconciler.adapters.engine_process import engine_process
from reconciler.adapters.process_marks import environment_of, started_ticks

VARIABLE = "NO_PROXY"


def marked(env: Mapping[str, str], job_id: str) -> dict[str, str]:
    """`env` with the mark of a job (`instance/project/d1`) for its steps."""
    hosts = env.get(VARIABLE) or env.get(VARIABLE.lower()) or ""
    return {**env, VARIABLE: ",".join([*([hosts] if hosts else []), f"{_mark(job_id)}.invalid"])}


def end_orphans(jobs: str, docker_host: str) -> int:
    """End the steps of a job, or of all jobs that begin with `jobs`, whose engine is gone; how many there were.

    Nothing where the engine's process is not visible from here.
    """
    engine = engine_process(docker_host)
    if engine.is_hidden:
        return 0
    born = started_ticks(engine.pid) if engine.pid else None
    found = [pid for pid in _pids() if _is_of(pid, jobs) and (born is None or (started_ticks(pid) or born) < born)]
    return sum(_kill(pid, jobs) for pid in found)


def _mark(jobs: str) -> str:
    return f"gitstead.{jobs.replace('/', '.')}"


def _is_of(pid: int, jobs: str) -> bool:
    hosts = environment_of(pid).get(VARIABLE, "").split(",")
    wanted = _mark(jobs)
    return any(host == f"{wanted}.invalid" or (jobs.endswith("/") and host.startswith(wanted)) for host in hosts)


def _kill(pid: int, jobs: str) -> bool:
    """SIGKILL, since the first process of a step is deaf to all else."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            # Between listing and opening the number may have gone to another process.
            if _is_of(pid, jobs):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                return True
        finally:
            os.close(pidfd)
    return False


def _pids() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
