"""`logs`: what a build printed, or what the app prints now."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from reconciler.bootstrap.reading import app_output
from reconciler.cli.build_output import BuildPrinter, Wish, by_name, failure, fit, lead, success
from reconciler.cli.words import clock
from reconciler.errors import HostUnfit, StoreBusy, StoreUnusable
from reconciler.history.failing import failing_part
from reconciler.history.logs import LogReader
from reconciler.history.queries import Queries
from reconciler.model.release import Deployment, State
from reconciler.settings import Settings

PAGE = 1000
POLL_S = 0.2
PATIENCE_S = 30.0
_MAY_BUILD = frozenset({State.QUEUED, State.BUILDING})
_CAME_TO_NOTHING = frozenset({State.FAILED, State.CANCELLED, State.SUPERSEDED, State.INTERRUPTED})


@click.command()
@click.argument("project")
@click.option(
    "--build",
    "build",
    is_flag=False,
    flag_value=0,
    type=int,
    metavar="[N]",
    help="The build log of deployment N; without N, or with 0, of the newest.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on as new lines come; of a build until it ends, 1 if it failed.")
@click.option(
    "--tail", default=200, show_default=True, type=click.IntRange(0, 100_000), help="Lines of the app to begin with."
)
@click.option("--timestamps", is_flag=True, help="Begin each line with its time (UTC).")
@click.option("--step", default="", metavar="TEXT", help="Of a build: only steps with this text in their name.")
@click.option("--search", default="", metavar="TEXT", help="Of a build: only lines with this text, with their numbers.")
@click.option("--raw", is_flag=True, help="Of a build: its lines alone, for pipes.")
@click.pass_obj
def logs(settings: Settings, /, project: str, build: int | None, tail: int, *, follow: bool, **wish: Any) -> None:
    """What the app of PROJECT prints, or with --build what a build printed."""
    shown = Wish(**wish)
    queries, reader = Queries(settings.state_db), LogReader(settings.logs_db)
    try:
        if build is None:
            _app(settings, project, tail=tail, follow=follow, timestamps=shown.timestamps)
        else:
            _Build(reader, queries, _deployment(queries, project, build), shown).print(follow=follow)
    finally:
        queries.close()
        reader.close()


def _deployment(queries: Queries, project: str, build: int) -> Deployment:
    found = queries.deployments(project, limit=1) if build == 0 else [queries.deployment(project, build)]
    if not found or found[0] is None:
        raise HostUnfit(
            f"{project} has no deployment d{build or 1}",
            expected="one that gitstead history shows",
            remedy=f"See gitstead history {project}",
        )
    return found[0]


class _Build:
    """Prints the log of one deployment, and goes on where it was when the store was away for a while."""

    def __init__(self, reader: LogReader, queries: Queries, deployment: Deployment, wish: Wish) -> None:
        self._reader, self._queries, self._wish = reader, queries, wish
        self._deployment = deployment
        self._printer = BuildPrinter(wish)
        self._after = 0

    def print(self, *, follow: bool) -> None:
        failing = failing_part(self._reader, self._deployment) if self._wish.is_all else None
        if failing:
            lead(self._deployment, failing, serves=self._serves())
            click.echo()
        if follow:
            self._follow()
            self._conclude()
        elif not self._drain():
            name, number = self._deployment.project, self._deployment.number
            click.echo(f"d{number} of {name} has no build log: {_why_none(self._deployment)}.", err=True)

    def _follow(self) -> None:
        """Until the build has ended. A store that is replaced or busy is waited for, for half a minute."""
        lost_at = 0.0
        while True:
            try:
                over = self._is_over()
                self._drain()
            except (StoreBusy, StoreUnusable):
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > PATIENCE_S:
                    raise
            else:
                lost_at = 0.0
                if over:
                    return
            time.sleep(POLL_S)

    def _is_over(self) -> bool:
        """Asked before the lines are read, so that none comes after the end."""
        now = self._queries.deployment(self._deployment.project, self._deployment.number)
        self._deployment = now or self._deployment
        return self._deployment.state not in _MAY_BUILD

    def _drain(self) -> int:
        """Print what is new; returns the number of the last line, 0 where there was none."""
        name, number = self._deployment.project, self._deployment.number
        more = True
        while more:
            lines = self._reader.read(name, number, after=self._after, limit=PAGE)
            rows = by_name(self._reader.steps(name, number))
            self._printer.lines(lines, rows)
            self._after = lines[-1].number if lines else self._after
            more = len(lines) == PAGE
        self._printer.ends(rows)
        return self._after

    def _conclude(self) -> None:
        """How it went, in one line; ends the program with 1 where nothing came out of it."""
        found = self._deployment
        if found.state not in _CAME_TO_NOTHING:
            click.echo(success(found, self._queries.builds(found.project, [found.number]).get(found.number)))
            return
        click.echo(failure(found, serves=self._serves()), err=True)
        sys.exit(1)

    def _serves(self) -> int:
        """The release that serves meanwhile; 0 where none does."""
        status = self._queries.status(self._deployment.project)
        return status.release if status else 0


def _why_none(found: Deployment) -> str:
    if found.image_id:
        return "its image was there already"
    if found.is_open:
        return f"it is {found.state}, nothing was built yet"
    return f"it was {found.state} before anything was built"


def _app(settings: Settings, project: str, *, tail: int, follow: bool, timestamps: bool) -> None:
    for stream, at, data in app_output(settings, project, tail=tail, follow=follow):
        out = sys.stderr if stream == "stderr" else sys.stdout
        text = fit(data.decode("utf-8", "replace"), out)
        click.echo(f"{clock(at)} {text}" if timestamps else text, file=out)
