"""Which part of a build log a page shows, in steps that fold.

Called by the deployment's page and the log's stream. It reads a bounded number of lines, however
long the log is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.history.logs import LogLine, LogReader
from reconciler.model.release import Deployment, State

PAGE_LINES = 500
_MAY_BUILD = frozenset({State.QUEUED, State.BUILDING})


@dataclass(frozen=True)
class Step:
    """Lines of one build step within the part shown; "" is what belongs to none."""

    name: str
    lines: tuple[LogLine, ...]
    is_open: bool

    @property
    def lasted(self) -> float:
        return max(0.0, self.lines[-1].at - self.lines[0].at)


@dataclass(frozen=True)
class LogPage:
    """`first_shown` and `last_shown` are line numbers, 0 where there is none. `follow`: more may come."""

    steps: tuple[Step, ...]
    first_shown: int
    last_shown: int
    has_more: bool
    follow: bool
    cut_lines: int

    @property
    def from_start(self) -> bool:
        return self.first_shown <= 1


def has_ended(logs: LogReader, deployment: Deployment) -> bool:
    """No more lines will come: the log is closed, or there is none and nothing will be built."""
    info = logs.info(deployment.project, deployment.number)
    if info is None:
        return deployment.state not in _MAY_BUILD
    return info.closed_at > 0


def page(logs: LogReader, deployment: Deployment, *, after: int | None, tail: bool) -> LogPage:
    """The lines behind `after`; without it the end of a log that is written or whose build failed, else its start.

    Raises StoreBusy, StoreUnusable.
    """
    ended = has_ended(logs, deployment)
    info = logs.info(deployment.project, deployment.number)
    at_end = tail or (after is None and (not ended or deployment.state is State.FAILED))
    if at_end:
        lines = logs.tail(deployment.project, deployment.number, limit=PAGE_LINES)
    else:
        lines = logs.read(deployment.project, deployment.number, after=after or 0, limit=PAGE_LINES)
    last = lines[-1].number if lines else 0
    has_more = not at_end and info is not None and last < info.lines
    return LogPage(
        steps=_steps(lines, only_last_open=deployment.state is State.FAILED and not has_more),
        first_shown=lines[0].number if lines else 0,
        last_shown=last,
        has_more=has_more,
        follow=not ended and not has_more,
        cut_lines=info.cut_lines if info else 0,
    )


def _steps(lines: Sequence[LogLine], *, only_last_open: bool) -> tuple[Step, ...]:
    """In the order of their first lines; steps that ran side by side are told apart so."""
    found: dict[str, list[LogLine]] = {}
    for line in lines:
        found.setdefault(line.step, []).append(line)
    last = lines[-1].step if lines else ""
    return tuple(Step(name, tuple(own), not only_last_open or name == last) for name, own in found.items())
