"""Prints a build for people: steps as headers with their durations, lines in their colours, a failure before all else.

Used by `logs` and `status`. Nothing that a build printed reaches a terminal but text and colour; without a
terminal, text alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

import click

from reconciler.cli.words import cache_use, clock, duration
from reconciler.history.failing import Failing
from reconciler.history.logs import LogLine, StepRow
from reconciler.model.job import Job
from reconciler.model.release import Deployment, State
from reconciler.model.terminal import coloured, plain

_ENDED_WELL = ("done", "cached")
_NUMBER = re.compile(r"\[[^\]]*\d+/\d+\]")
_SHORT = 40


@dataclass(frozen=True)
class Wish:
    """What of a build is printed: only steps and lines with these texts, "" = all; `raw` = no headers."""

    step: str = ""
    search: str = ""
    timestamps: bool = False
    raw: bool = False

    def takes(self, line: LogLine) -> bool:
        return self.step.lower() in line.step.lower() and (
            not self.search or self.search.lower() in plain(line.text).lower()
        )

    @property
    def is_all(self) -> bool:
        return not (self.step or self.search or self.raw)


class BuildPrinter:
    """Prints lines as they come, in their order; a step that goes on after others is named again."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._step = ""
        self._told: dict[str, str] = {}

    def lines(self, lines: Iterable[LogLine], rows: Mapping[str, StepRow]) -> None:
        """`rows` are the steps by name, as they are known now."""
        for line in lines:
            if not self._wish.takes(line) or self._is_said_by_a_header(line, rows):
                continue
            if not self._wish.raw:
                self._enter(line.step, rows)
            if not self._repeats_its_header(line):
                _echo(line, timestamps=self._wish.timestamps, number=bool(self._wish.search))

    def ends(self, rows: Mapping[str, StepRow]) -> None:
        """Say how the steps ended whose header could not say it yet."""
        if self._wish.raw:
            return
        for name, told in self._told.items():
            outcome = _outcome(rows.get(name))
            if not told and outcome:
                self._told[name] = outcome
                self._step = ""
                click.secho(f"-- {_short(name)} {outcome}", dim=True)

    def _enter(self, step: str, rows: Mapping[str, StepRow]) -> None:
        if step == self._step:
            return
        if step:
            if step in self._told:
                click.secho(f"== {_short(step)} goes on", bold=True)
            else:
                outcome = self._told[step] = _outcome(rows.get(step))
                click.secho(f"== {plain(step)}{f'  {outcome}' if outcome else ''}", bold=True)
        self._step = step

    def _is_said_by_a_header(self, line: LogLine, rows: Mapping[str, StepRow]) -> bool:
        """The builder's own words on the end of a step whose outcome is told beside its name."""
        row = rows.get(line.step)
        ended = not self._wish.raw and line.stream == "system" and row is not None and row.step.outcome in _ENDED_WELL
        return ended and line.text.startswith(("DONE", "CACHED")) and line.step in self._told

    def _repeats_its_header(self, line: LogLine) -> bool:
        return not self._wish.raw and line.stream == "system" and line.text == line.step


def _echo(line: LogLine, *, timestamps: bool, number: bool) -> None:
    """One line on the stream that it was printed on."""
    out = sys.stderr if line.stream == "stderr" else sys.stdout
    at = f"{clock(line.at)} " if timestamps else ""
    where = f"{line.number}: " if number else ""
    click.echo(f"{at}{where}{fit(line.text, out)}", file=out)


def fit(text: str, out: TextIO) -> str:
    """Colours on a terminal alone."""
    return coloured(text) if out.isatty() else plain(text)


def lead(deployment: Deployment, failing: Failing, *, serves: int) -> None:
    """Why a build failed, what to do, and the last lines of the step that broke."""
    click.secho(failure(deployment, serves=serves), bold=True)
    excerpt(failing, lines=20)


def excerpt(failing: Failing, *, lines: int) -> None:
    """The last of the last lines of the step that broke."""
    of = f'step "{plain(failing.step)}"' if failing.step else "the build"
    click.echo(f"Last lines of {of}:")
    for line in failing.lines[-lines:]:
        click.echo(f"  {fit(line.text, sys.stdout)}")


def failure(deployment: Deployment, *, serves: int) -> str:
    """What ended badly and why, what serves meanwhile, and what to do; one sentence each."""
    name = deployment.project
    ended = "failed" if deployment.state is State.FAILED else f"was {deployment.state}"
    why = f": {plain(deployment.message).rstrip('.')}" if deployment.message else ""
    serving = f"r{serves} still serves" if serves else "Nothing serves yet"
    return f"{name} d{deployment.number} {ended}{why}. {serving}.{_remedy(deployment)}"


def _remedy(deployment: Deployment) -> str:
    if deployment.state not in (State.FAILED, State.CANCELLED):
        return ""
    if deployment.retryable:
        return " It is tried again by itself."
    hint = plain(deployment.hint).rstrip(".") or "Push a fix"
    return f" {hint}, or gitstead retry {deployment.project}"


def success(deployment: Deployment, build: Job | None) -> str:
    """What was built, how long it took and what came out of the cache."""
    if build is None:
        return f"{deployment.project} d{deployment.number} needed no build: its image was there already"
    used = f", {cache_use(build)}" if build.steps else ""
    took = duration(build.ended_at - build.started_at)
    return f"{deployment.project} d{deployment.number} is built in {took}{used}; it is {deployment.state}"


def by_name(rows: Sequence[StepRow]) -> dict[str, StepRow]:
    return {row.step.name: row for row in rows}


def _short(step: str) -> str:
    """`[stage 3/6]`, or the first words of a name without such a number."""
    number = _NUMBER.match(step)
    return plain(number[0] if number else f"{step[:_SHORT]}{'…' * (len(step) > _SHORT)}")


def _outcome(row: StepRow | None) -> str:
    """`4.2s`, `cached`, `failed after 3.1s`; "" while it runs or nothing is known."""
    if row is None or not row.step.outcome:
        return ""
    took = duration(row.step.ended_at - row.step.started_at) if row.step.started_at else ""
    if row.step.outcome == "failed":
        return f"failed after {took}" if took else "failed"
    return took if row.step.outcome == "done" and took else row.step.outcome
