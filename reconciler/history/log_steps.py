"""The steps of a build log: how each went, and where its lines begin and end.

`log_sink` keeps them while a build runs, `logs` reads them for page and CLI. A step's lines may stand
between those of others, since steps run beside each other. Nothing here says what a step means.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from sqlite3 import Connection
from typing import NamedTuple, cast

from reconciler.history.log_lines import Row
from reconciler.model.effects import BuildStep, StepOutcome

_COLUMNS = "position, name, started_at, ended_at, outcome, clipped, first_line, last_line, lines"


class StepRow(NamedTuple):
    """A step with the numbers of its first and last line and how many it has, all 0 where it has none (yet)."""

    step: BuildStep
    first_line: int
    last_line: int
    lines: int


@dataclass
class _Kept:
    position: int
    step: BuildStep
    first_line: int = 0
    last_line: int = 0
    lines: int = 0


class Steps:
    """The steps of one log while it is written, by name, in order of appearance. Its owner holds a lock."""

    def __init__(self, rows: Iterable[StepRow] = ()) -> None:
        self._kept = {row.step.name: _Kept(position, *row) for position, row in enumerate(rows, 1)}
        self._changed: set[str] = set()
        self._counted = 0

    def tell(self, step: BuildStep) -> None:
        """A step began or ended; what is told of the same name replaces what was."""
        kept = self._kept.setdefault(step.name, _Kept(len(self._kept) + 1, step))
        kept.step = step
        self._changed.add(step.name)

    def count(self, lines: Sequence[Row]) -> None:
        """Lines in their order belong to the steps that they name, if those were told; those counted before are not."""
        for name, run in groupby(lines, itemgetter(3)):
            numbers = [number for number, *_ in run if number > self._counted]
            kept = self._kept.get(name)
            if kept is not None and numbers:
                kept.first_line = kept.first_line or numbers[0]
                kept.last_line = numbers[-1]
                kept.lines += len(numbers)
                self._changed.add(name)
        self._counted = lines[-1][0] if lines else self._counted

    def take_changed(self) -> list[tuple[int, StepRow]]:
        """Positions and rows to be stored; if that fails, they are given back to `put_back`."""
        changed, self._changed = self._changed, set()
        kept = sorted((self._kept[name] for name in changed), key=lambda each: each.position)
        return [(each.position, StepRow(each.step, each.first_line, each.last_line, each.lines)) for each in kept]

    def put_back(self, rows: Iterable[tuple[int, StepRow]]) -> None:
        self._changed |= {row.step.name for _, row in rows}


def store_steps(connection: Connection, log_id: int, rows: Iterable[tuple[int, StepRow]]) -> None:
    """Write rows with their positions over what is there."""
    connection.executemany(
        f"INSERT OR REPLACE INTO steps (log_id, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (
            (log_id, position, step.name, step.started_at, step.ended_at, step.outcome, step.clipped, *lines)
            for position, (step, *lines) in rows
        ),
    )


def read_steps(connection: Connection, log_id: int) -> list[StepRow]:
    """In order of first appearance."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM steps WHERE log_id = ? ORDER BY position", (log_id,))  # noqa: S608
    return [
        StepRow(
            BuildStep(name, started_at, ended_at, cast(StepOutcome, outcome), clipped=bool(clipped)), first, last, lines
        )
        for _, name, started_at, ended_at, outcome, clipped, first, last, lines in rows
    ]


def end_steps(connection: Connection, log_id: int, now: float) -> None:
    """What still ran when its log was left has failed at `now`."""
    connection.execute(
        "UPDATE steps SET ended_at = ?, outcome = 'failed' WHERE log_id = ? AND outcome = ''", (now, log_id)
    )
