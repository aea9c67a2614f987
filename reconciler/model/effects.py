"""The two things that apply and its jobs are handed to leave a trace.

Implemented by `history`, so that `apply` needs no store to be tested.
"""

from __future__ import annotations

from typing import Literal, Protocol

from reconciler.model.operation import Operation

Stream = Literal["stdout", "stderr", "system"]


class Journal(Protocol):
    """Intent before, result after; durable when the call returns."""

    def begin(self, operation: Operation, *, request_id: str, now: float) -> int:
        """Write the intent and return the row's id."""

    def succeed(self, row_id: int, *, result: str, now: float) -> None:
        """Close the row: done. `result` is e.g. a container id."""

    def fail(self, row_id: int, *, reason: str, message: str, retryable: bool, now: float) -> None:
        """Close the row: failed, with what a person should read."""


class LogSink(Protocol):
    """Takes the lines of one build."""

    def write(self, stream: Stream, text: str, *, at: float, step: str = "") -> None:
        """Append one line, without its newline; `at` is Unix seconds, `step` the build step."""

    def close(self) -> None:
        """Seal what is open; further writes are errors."""
