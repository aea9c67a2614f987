"""Which part of a build log a page shows, in steps that fold.

Called by the deployment's page and the log's stream. It reads a bounded number of lines, however
long the log is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.history.failing import failed_step
from reconciler.history.logs import LogInfo, LogLine, LogReader, StepRow
from reconciler.model.effects import BuildStep
from reconciler.model.release import Deployment, State
from web import present

PAGE_LINES = 500
_MOST_STEPS = 500
_MAY_BUILD = frozenset({State.QUEUED, State.BUILDING})


@dataclass(frozen=True)
class Step:
    """One build step with those of its lines that are shown; the name "" is what belongs to none.

    `total` counts all of its lines, `first` is the number of the first one, 0 where there is none.
    """

    name: str
    lines: tuple[LogLine, ...]
    is_open: bool
    total: int
    first: int
    told: BuildStep | None = None

    @property
    def outcome(self) -> str:
        """Of `BuildStep`; "" also where nothing was told."""
        return self.told.outcome if self.told else ""

    @property
    def running_since(self) -> float:
        """Unix seconds, 0 where it does not run."""
        return self.told.started_at if self.told and not self.told.outcome else 0.0

    @property
    def took(self) -> str:
        """How long, as people read it; "" where that is not known or nothing."""
        if self.told:
            return took(self.told)
        seconds = self.lines[-1].at - self.lines[0].at if self.lines else 0.0
        return present.duration(seconds) if seconds >= 0.1 else ""


@dataclass(frozen=True)
class Where:
    """What part is asked for: the lines behind `after`, the `tail`, or those around `line`; by default we choose."""

    after: int | None = None
    tail: bool = False
    line: int = 0

    @property
    def is_chosen(self) -> bool:
        return self.after is not None or self.tail or self.line > 0


@dataclass(frozen=True)
class LogPage:
    """`first_shown` and `last_shown` are line numbers, 0 where there is none. `follow`: more may come.

    `steps_left_out` counts the steps that are not listed: a page lists 500, and those with lines on it. `line` is
    the one that was asked for; `before` what `?after=` takes for the lines before these.
    """

    steps: tuple[Step, ...]
    first_shown: int
    last_shown: int
    total: int
    has_more: bool
    follow: bool
    steps_left_out: int
    line: int

    @property
    def before(self) -> int:
        return max(self.first_shown - 1 - PAGE_LINES, 0)

    @property
    def from_start(self) -> bool:
        return self.first_shown <= 1


def has_ended(logs: LogReader, deployment: Deployment) -> bool:
    """No more lines will come: the log is closed, or there is none and nothing will be built."""
    return _is_over(logs.info(deployment.project, deployment.number), deployment)


def _is_over(info: LogInfo | None, deployment: Deployment) -> bool:
    return info.closed_at > 0 if info else deployment.state not in _MAY_BUILD


def took(step: BuildStep) -> str:
    """The duration of an ended step; "" for what came out of the cache or still runs."""
    if step.outcome in ("", "cached") or not step.started_at:
        return ""
    return present.duration(step.ended_at - step.started_at)


def page(logs: LogReader, deployment: Deployment, where: Where) -> LogPage:
    """The part that is asked for; without a wish the end of a log that is written or failed, else its start.

    Raises StoreBusy, StoreUnusable.
    """
    name, number = deployment.project, deployment.number
    info = logs.info(name, number)
    ended, total = _is_over(info, deployment), info.lines if info else 0
    lines, at_end = _lines(logs, deployment, where, ended=ended, total=total)
    last = lines[-1].number if lines else 0
    has_more = not at_end and last < total
    rows = logs.steps(name, number)
    steps = _steps(lines, rows, ended=ended, chosen=where.is_chosen)
    return LogPage(
        steps=steps,
        first_shown=lines[0].number if lines else 0,
        last_shown=last,
        total=max(total, last),
        has_more=has_more,
        follow=not ended and not has_more,
        steps_left_out=len(rows) - sum(step.told is not None for step in steps),
        line=where.line,
    )


def _lines(
    logs: LogReader, deployment: Deployment, where: Where, *, ended: bool, total: int
) -> tuple[list[LogLine], bool]:
    """The lines, and whether they are the end of what there is."""
    name, number = deployment.project, deployment.number
    ends = not where.is_chosen and (not ended or deployment.state is State.FAILED)
    if where.tail or ends or where.line > total:
        return logs.tail(name, number, limit=PAGE_LINES), True
    after = max(where.line - 1 - PAGE_LINES // 2, 0) if where.line else where.after or 0
    return logs.read(name, number, after=after, limit=PAGE_LINES), False


def _steps(lines: Sequence[LogLine], rows: list[StepRow], *, ended: bool, chosen: bool) -> tuple[Step, ...]:
    """All steps in the order of their first lines, so that those that ran side by side are told apart.

    Open is what still runs and what failed; all that is shown where a person chose the part or nothing has a name.
    """
    shown: dict[str, list[LogLine]] = {}
    for line in lines:
        shown.setdefault(line.step, []).append(line)
    told = {row.step.name: row for row in rows if row.step.name in shown}
    told |= {row.step.name: row for row in rows[:_MOST_STEPS]}
    broken = failed_step(rows)
    newest = lines[-1].step if lines else ""

    def is_open(name: str) -> bool:
        if chosen:
            return name in shown
        if broken or not rows:
            return name == (broken.step.name if broken else newest) or not (ended or broken)
        row = told.get(name)
        return not ended and not (row and row.step.outcome)

    found = []
    for name in {**shown, **told}:
        own, row = tuple(shown.get(name, ())), told.get(name)
        total, first = (row.lines, row.first_line) if row else (len(own), own[0].number)
        found.append(Step(name, own, is_open(name), max(total, len(own)), first, row.step if row else None))
    return tuple(sorted(found, key=lambda each: each.first or float("inf")))
