"""What apply and its jobs are handed to leave a trace in.

Implemented by `history`, so that `apply` needs no store to be tested.
"""

from __future__ import annotations

from dataclasses import dataclass
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
StepOutcome = Literal["", "done", "cached", "failed"]

CLIPPED_REMEDY = "gitstead doctor --fix sets the engine's limits on the output of builds"
"""What to do where an engine left out a part of a step's output."""


@dataclass(frozen=True)
class BuildStep:
    """One step of a build. `name` is its name in the log's lines; `outcome` is "" while it runs.

    Times are Unix seconds, 0 while unknown. `clipped`: the engine left out a part of its output.
    """

    name: str
    started_at: float
    ended_at: float = 0.0
    outcome: StepOutcome = ""
    clipped: bool = False


@dataclass(frozen=True)
class Done:
    """An operation that went well and whose row is still open; `result` is e.g. a container id."""

    row_id: int
    result: str
    at: float


class Journal(Protocol):
    """Intent before, result after; durable when the call returns."""

    def begin(self, operation: Operation, *, request_id: str, now: float, after: Done | None = None) -> int:
        """Write the intent and return the row's id; `after` is closed by the same write."""

    def succeed(self, row_id: int, *, result: str, now: float) -> None:
        """Close the row: done. `result` is e.g. a container id."""

    def fail(self, row_id: int, *, reason: str, message: str, retryable: bool, now: float) -> None:
        """Close the row: failed, with what a person should read."""


class Records(Protocol):
    """The rows of deployments, projects and jobs; each call is one transaction and idempotent."""

    def open_deployment(self, operation: OpenDeployment, now: float) -> None: ...
    def assign_release(self, operation: AssignRelease, now: float) -> int: ...
    def advance(self, operation: AdvanceDeployment, now: float) -> None: ...
    def mark_live(self, operation: MarkLive, now: float) -> None: ...
    def end(self, operation: EndDeployment, now: float) -> None: ...
    def retire_project(self, operation: RetireProject, now: float) -> None: ...
    def adopt(self, operation: AdoptDeployment, now: float) -> None: ...
    def add_inventory(
        self, container_id: str, *, project_name: str, container_name: str, adopted: bool, now: float
    ) -> bool: ...
    def remove_inventory(self, container_id: str) -> bool: ...
    def record_repair(self, project_name: str, now: float) -> None: ...
    def save_routes_digest(self, digest: str) -> bool: ...
    def job_started(self, job: Job) -> None: ...
    def job_ended(self, job: Job) -> None: ...


class Secrets(Protocol):
    """Opens sealed values; what it opened is masked from then on, in the logs of a project what was opened for it."""

    def open(self, sealed: str, *, kind: str, project: str, key: str) -> str:
        """The plaintext. Raises `SecretUnreadable` where it cannot be opened or is of another kind, project or key."""

    def mark(self, sealed: str, *, kind: str, project: str, key: str) -> str:
        """Eight hex digits that change with the plaintext alone; raises as `open` does."""

    def generation(self) -> tuple[int, ...]:
        """Changes when the platform's keys do: what could not be opened may be opened now."""


class LogSink(Protocol):
    """Takes the lines of one build."""

    def write(self, stream: Stream, text: str, *, at: float, step: str = "") -> None:
        """Append one line, without its newline; `at` is Unix seconds, `step` the build step."""

    def step(self, step: BuildStep) -> None:
        """A step began or ended; what is told of the same name later replaces it."""

    def close(self) -> None:
        """Seal what is open; further writes are errors."""
