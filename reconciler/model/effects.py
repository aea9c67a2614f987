"""What apply and its jobs are handed to leave a trace in.

Implemented by `history`, so that `apply` needs no store to be tested.
"""

from __future__ import annotations

from typing import Literal, Protocol

from reconciler.model.job import Job
from reconciler.model.operation import (
    AdoptDeployment,
    AdvanceDeployment,
    AssignRelease,
    EndDeployment,
    MarkLive,
    OpenDeployment,
    Operation,
    RetireProject,
)

Stream = Literal["stdout", "stderr", "system"]


class Journal(Protocol):
    """Intent before, result after; durable when the call returns."""

    def begin(self, operation: Operation, *, request_id: str, now: float) -> int:
        """Write the intent and return the row's id."""

    def succeed(self, row_id: int, *, result: str, now: float) -> None:
        """Close the row: done. `result` is e.g. a container id."""

    def fail(self, row_id: int, *, reason: str, message: str, retryable: bool, now: float) -> None:
        """Close the row: failed, with what a person should read."""


class Records(Protocol):
    """The rows of deployments, projects and jobs; each call is one transaction and idempotent."""

    def open_deployment(self, op: OpenDeployment, now: float) -> None: ...
    def assign_release(self, op: AssignRelease, now: float) -> None: ...
    def advance(self, op: AdvanceDeployment, now: float) -> None: ...
    def mark_live(self, op: MarkLive, now: float) -> None: ...
    def end(self, op: EndDeployment, now: float) -> None: ...
    def retire(self, op: RetireProject, now: float) -> None: ...
    def adopt(self, op: AdoptDeployment, now: float) -> None: ...
    def add_inventory(self, container_id: str, project: str, name: str, *, adopted: bool) -> None: ...
    def remove_inventory(self, container_id: str) -> None: ...
    def record_repair(self, project: str, at: float) -> None: ...
    def routes_accepted(self, digest: str) -> None: ...
    def job_started(self, job: Job) -> None: ...
    def job_ended(self, job: Job) -> None: ...


class LogSink(Protocol):
    """Takes the lines of one build."""

    def write(self, stream: Stream, text: str, *, at: float, step: str = "") -> None:
        """Append one line, without its newline; `at` is Unix seconds, `step` the build step."""

    def close(self) -> None:
        """Seal what is open; further writes are errors."""
