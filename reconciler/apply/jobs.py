"""Starts, watches and cancels jobs: builds, probes, verifications, stops, pruning.

Started by `operations`, read by `observe` as part of the snapshot. Each job has a thread, a row
and a deadline; its end marks the project dirty. Decides nothing about what follows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from reconciler.adapters.bounds import Cancellation
from reconciler.apply.failpoints import Failpoints
from reconciler.errors import GitsteadError, Retryable
from reconciler.model.condition import Reason
from reconciler.model.effects import Records
from reconciler.model.job import Job, JobKey

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a job went. `reason` None means well; `image_id` is a build's result."""

    image_id: str = ""
    steps: int = 0
    cached: int = 0
    reason: Reason | None = None
    message: str = ""
    hint: str = ""
    retryable: bool = False


class Cancel:
    """Tells one job to end: `event` for what polls, `program` for what runs a program."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.program = Cancellation()

    def __call__(self) -> None:
        self.event.set()
        self.program.cancel()


Work = Callable[[Cancel], Outcome]


class Jobs:
    """All jobs of this process. `on_change` is told the project of a job that ended."""

    def __init__(
        self,
        records: Records,
        *,
        clock: Callable[[], float],
        on_change: Callable[[str], None],
        failpoints: Failpoints,
    ) -> None:
        self._records, self._clock, self._on_change, self._failpoints = records, clock, on_change, failpoints
        self._lock = threading.Lock()
        self._jobs: dict[JobKey, Job] = {}
        self._cancels: dict[JobKey, Cancel] = {}
        self._threads: dict[JobKey, threading.Thread] = {}

    def start(self, key: JobKey, work: Work, *, subject: str, deadline_s: float) -> None:
        """Run `work` in a thread; a job that runs under the same key is cancelled first."""
        self.cancel(key)
        now = self._clock()
        job = Job(key, "running", subject, started_at=now, deadline_at=now + deadline_s)
        cancel = Cancel()
        context = structlog.contextvars.get_contextvars()
        thread = threading.Thread(target=self._run, args=(job, work, cancel, context), name=str(key), daemon=True)
        self._records.job_started(job)
        with self._lock:
            self._jobs[key], self._cancels[key], self._threads[key] = job, cancel, thread
        thread.start()

    def cancel(self, key: JobKey) -> None:
        """End the job within two seconds; its thread then finds itself cancelled."""
        with self._lock:
            cancel = self._cancels.get(key)
            thread = self._threads.get(key)
        if cancel is not None:
            cancel()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)

    def snapshot(self) -> Mapping[JobKey, Job]:
        with self._lock:
            return dict(self._jobs)

    def forget(self, project_name: str, deployment: int) -> None:
        """Drop the outcomes of a deployment that is settled; what still runs stays."""
        with self._lock:
            for key, job in list(self._jobs.items()):
                if (key.project, key.deployment) == (project_name, deployment) and job.state != "running":
                    del self._jobs[key]

    def close(self) -> None:
        """Cancel everything and wait for the threads: the clean stop."""
        for key in self.snapshot():
            self.cancel(key)

    def _run(self, job: Job, work: Work, cancel: Cancel, context: Mapping[str, object]) -> None:
        with structlog.contextvars.bound_contextvars(**context):
            self._failpoints.reach(f"begin:{job.key.kind}")
            outcome = _attempt(work, cancel)
            ended = replace(
                job,
                state="succeeded" if outcome.reason is None else "failed",
                ended_at=self._clock(),
                image_id=outcome.image_id,
                steps=outcome.steps,
                cached=outcome.cached,
                reason=outcome.reason or "",
                message=outcome.message,
                hint=outcome.hint,
                retryable=outcome.retryable,
            )
            self._failpoints.reach(f"end:{job.key.kind}")
            self._record_end(ended)
            log.info(
                f"{job.key.kind}.{ended.state}",
                project=job.key.project,
                deployment=job.key.deployment,
                duration_s=round(ended.ended_at - job.started_at, 3),
                **({"reason": ended.reason, "message": ended.message} if ended.reason else {}),
            )
            self._settle(ended, cancel)

    def _record_end(self, ended: Job) -> None:
        """Where the store takes no row the job is over all the same, and its slot is free."""
        try:
            self._records.job_ended(ended)
        except GitsteadError as error:
            log.warning("job.not_recorded", job=str(ended.key), reason=error.reason, message=str(error))

    def _settle(self, ended: Job, cancel: Cancel) -> None:
        key = ended.key
        with self._lock:
            if self._cancels.get(key) is not cancel:
                return
            del self._cancels[key], self._threads[key]
            if cancel.event.is_set() or key.kind in ("stop", "prune"):
                del self._jobs[key]
            else:
                self._jobs[key] = ended
        self._on_change(key.project)


def _attempt(work: Work, cancel: Cancel) -> Outcome:
    try:
        return work(cancel)
    except GitsteadError as error:
        reason = Reason(error.reason) if error.reason in set(Reason) else Reason.OPERATION_FAILED
        return Outcome(reason=reason, message=error.what, hint=error.remedy, retryable=isinstance(error, Retryable))
    except Exception as error:  # a job that dies silently would leave its deployment waiting for its deadline
        log.exception("job.crashed")
        message = f"the job itself failed: {type(error).__name__}: {error}"
        return Outcome(reason=Reason.OPERATION_FAILED, message=message, retryable=True)
