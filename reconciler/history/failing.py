"""Where a build broke: the step that failed and the last lines that it printed.

Called by page and CLI, which lead with it. Reads a bounded part of the log, and decides nothing: which step
failed is what the build said of itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.history.log_lines import LogLine
from reconciler.history.logs import LogReader, StepRow
from reconciler.model.release import Deployment, State

LINES_SHOWN = 30
_LINES_LOOKED_AT = 2000


@dataclass(frozen=True)
class Failing:
    """`step` is its name, "" where the build broke outside of any; `lines` are its last ones, in order."""

    step: str
    lines: tuple[LogLine, ...]


def failed_step(rows: list[StepRow]) -> StepRow | None:
    """The one that broke the build: of several the first to end, since the others were ended by that."""
    failed = [row for row in rows if row.step.outcome == "failed"]
    return min(failed, key=lambda row: row.step.ended_at or float("inf"), default=None)


def failing_part(logs: LogReader, deployment: Deployment) -> Failing | None:
    """None where the deployment did not fail in its build, or the build left no line.

    Raises StoreBusy, StoreUnusable.
    """
    if deployment.state is not State.FAILED or deployment.image_id:
        return None
    name, number = deployment.project, deployment.number
    broken = failed_step(logs.steps(name, number))
    if broken is None or not broken.lines:
        lines = logs.tail(name, number, limit=_LINES_LOOKED_AT)
        step = broken.step.name if broken else next((line.step for line in reversed(lines) if line.step), "")
    else:
        step, after = broken.step.name, max(broken.last_line - _LINES_LOOKED_AT, broken.first_line - 1)
        lines = logs.read(name, number, after=after, limit=broken.last_line - after)
    own = [line for line in lines if line.step == step and not _names(line)]
    if own:
        return Failing(step, tuple(own[-LINES_SHOWN:]))
    return Failing("", tuple(lines[-LINES_SHOWN:])) if lines else None


def _names(line: LogLine) -> bool:
    """The builder's line that a step begins: its name, which is told anyway."""
    return line.stream == "system" and line.text == line.step
