"""Finds running processes by the mark in their environment, and ends those of one job.

Called at start-up to settle builds that a SIGKILL orphaned, and by `host` to look at a running dockerd.
Ends nothing but what carries exactly the mark that a caller names.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from reconciler.adapters.processes import GRACE_S, MARK


def marked_pids(mark: str = MARK) -> dict[int, str]:
    """Every process that carries the mark in its environment, with the mark's value (the job's id)."""
    found: dict[int, str] = {}
    for pid in _all_pids():
        value = environment_of(pid).get(mark)
        if value is not None:
            found[pid] = value
    return found


def end_marked(job_id: str, *, grace_s: float = GRACE_S) -> int:
    """End every process of one job, wherever its group is; how many there were. For start-up after a kill."""
    open_fds: list[int] = []
    try:
        for pid in [pid for pid, value in marked_pids().items() if value == job_id]:
            with contextlib.suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                open_fds.append(pidfd)
                # Between listing and opening the number may have gone to another process.
                if environment_of(pid).get(MARK) == job_id:
                    signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        for pidfd in open_fds:
            if not exits(pidfd, deadline):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return len(open_fds)
    finally:
        for pidfd in open_fds:
            os.close(pidfd)


def environment_of(pid: int) -> dict[str, str]:
    """What a process was started with; empty where it is gone or not ours to read."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.partition(b"=") for entry in raw.split(b"\0") if entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def program_of(pid: int) -> str:
    """The short name of a running program (`dockerd`); empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def started_ticks(pid: int) -> int | None:
    """When a process was started, in ticks since the machine was; None where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[19])


def arguments_of(pid: int) -> tuple[str, ...]:
    """The words of a process's command line; empty where it is gone."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(word) for word in raw.split(b"\0") if word)


def exits(pidfd: int, deadline: float) -> bool:
    """Whether the process behind a pidfd ends before the deadline (of `time.monotonic`)."""
    with selectors.DefaultSelector() as selector:
        selector.register(pidfd, selectors.EVENT_READ)
        return bool(selector.select(max(0.0, deadline - time.monotonic())))


def _all_pids() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            yield int(entry.name)
