"""A few worker processes that talk to Git remotes for us, started only once a remote is asked.

Called by `git_repository` alone. A worker that dies, hangs or drips costs its own request and is
replaced; every other repository goes on beside it. Must not interpret answers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from reconciler.adapters import process_marks, processes
from reconciler.adapters.bounds import current
from reconciler.adapters.git_fetch import Answer, Request

LIMIT = 8
IDLE_S = 60.0
_AT_ONCE_S = 0.001  # a timeout of 0 would mean not to wait even for what is there
_ANSWER_LIMIT = 4 * 1024 * 1024
_ROOT = Path(__file__).resolve().parents[2]


class Workers:
    """At most eight workers at a time; of those that are idle for a minute, one stays."""

    def __init__(self, *, log_path: Path) -> None:
        self._log_path = log_path
        self._slots = threading.BoundedSemaphore(LIMIT)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._closed = False

    def ask(self, request: Request) -> Answer:
        """Carry out one request in a worker. Never raises; blocks for the request's two limits at most.

        A job that is to end (see `bounds`) ends its worker.
        """
        if not current().acquire(self._slots, timeout_s=request.timeout_s):
            return Answer(trouble="busy", detail=str(LIMIT))
        try:
            return self._ask(request)
        finally:
            self._slots.release()

    def close(self) -> None:
        """End every worker, also one at work: its request fails, and what it left is swept at the next start."""
        with self._lock:
            self._closed = True
            workers, self._idle = self._idle, []
            for worker in self._busy:
                worker.kill()
        for worker in workers:
            worker.end()

    @property
    def idle_pids(self) -> tuple[int, ...]:
        with self._lock:
            return tuple(worker.pid for worker in self._idle)

    def _ask(self, request: Request) -> Answer:
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        worker = worker or _Worker(self._log_path)
        with self._lock:
            self._busy.add(worker)
            if self._closed:
                worker.kill()
        cancellation = current().cancellation
        with cancellation.ending(worker.kill):
            answer = worker.ask(request)
        with self._lock:
            self._busy.remove(worker)
        if answer is None or cancellation.cancelled:
            return _died(worker.end(), request, self._log_path)
        self._put_back(worker)
        return answer

    def _put_back(self, worker: _Worker) -> None:
        worker.used_at = now = time.monotonic()
        with self._lock:
            stale = [each for each in self._idle if now - each.used_at > IDLE_S]
            if self._closed:
                stale.append(worker)
            else:
                self._idle = [each for each in self._idle if each not in stale]
                self._idle.append(worker)
        for each in stale:
            each.end()


class _Worker:
    """One process and our end of its socket."""

    _starting = threading.Lock()

    def __init__(self, log_path: Path) -> None:
        self.used_at = time.monotonic()
        ours, theirs = socket.socketpair()
        with self._starting, theirs:
            theirs.set_inheritable(True)
            self.pid = processes.start_daemon(
                [sys.executable, "-P", "-m", "reconciler.adapters.git_worker", str(theirs.fileno())],
                env=processes.inherited({"PYTHONPATH": str(_ROOT)}),
                log_path=log_path,
            )
        self._socket = ours
        self._stream = ours.makefile("rwb")

    def ask(self, request: Request) -> Answer | None:
        """The answer; None where the worker died or overran even its own alarm."""
        self._socket.settimeout(min(request.timeout_s + request.transfer_s + 5, current().left_s + _AT_ONCE_S))
        try:
            self._stream.write(json.dumps(dataclasses.asdict(request)).encode() + b"\n")
            self._stream.flush()
            line = self._stream.readline(_ANSWER_LIMIT)
        except OSError:
            return None
        if not line.endswith(b"\n"):
            return None
        fields = json.loads(line)
        return Answer(fields["refs"], tuple(fields["names"]), fields["trouble"], fields["detail"], fields["fetched"])

    def kill(self) -> None:
        """End it in the middle of a request; whoever asked it still calls `end`, which alone reaps it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def end(self) -> int:
        """Close, wait a moment, then kill; the exit status, negative for a signal. It is not reaped before."""
        with contextlib.suppress(OSError):
            self._stream.close()
        self._socket.close()
        try:
            pidfd = os.pidfd_open(self.pid)
            try:
                if not process_marks.exits(pidfd, time.monotonic() + 1):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except (ProcessLookupError, ChildProcessError):
            return 0


def _died(status: int, request: Request, log_path: Path) -> Answer:
    if status == -signal.SIGALRM:
        return Answer(trouble="deadline", detail=f"{request.timeout_s:g}")
    return Answer(trouble="died", detail=f"status {status}, see {log_path}")
