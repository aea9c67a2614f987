"""`logs`: what a build printed, or what the app prints now."""

from __future__ import annotations

import sys
import time

import click

from reconciler.bootstrap.reading import app_output
from reconciler.cli.words import clock
from reconciler.errors import HostUnfit
from reconciler.history.logs import LogReader
from reconciler.history.queries import Queries
from reconciler.settings import Settings

PAGE = 1000
POLL_S = 0.2


@click.command()
@click.argument("project")
@click.option("--build", "build", type=int, metavar="N", help="The build log of deployment N; 0 = the newest.")
@click.option("-f", "--follow", is_flag=True, help="Go on as new lines come.")
@click.option(
    "--tail", default=200, show_default=True, type=click.IntRange(0, 100_000), help="Lines of the app to begin with."
)
@click.option("--timestamps", is_flag=True, help="Begin each line with its time (UTC).")
@click.pass_obj
def logs(settings: Settings, project: str, build: int | None, tail: int, *, follow: bool, timestamps: bool) -> None:
    """What the app of PROJECT prints, or with --build what a build printed."""
    queries = Queries(settings.state_db)
    try:
        if build is None:
            _app(settings, project, tail=tail, follow=follow, timestamps=timestamps)
        else:
            _build(settings, _number(queries, project, build), project, follow=follow, timestamps=timestamps)
    finally:
        queries.close()


def _number(queries: Queries, project: str, build: int) -> int:
    found = queries.deployments(project, limit=1) if build == 0 else [queries.deployment(project, build)]
    if not found or found[0] is None:
        raise HostUnfit(
            f"{project} has no deployment d{build or 1}",
            expected="one that gitstead history shows",
            remedy=f"See gitstead history {project}",
        )
    return found[0].number


def _build(settings: Settings, number: int, project: str, *, follow: bool, timestamps: bool) -> None:
    reader = LogReader(settings.logs_db)
    try:
        after = 0
        while True:
            closed = reader.is_closed(project, number)
            lines = reader.read(project, number, after=after, limit=PAGE)
            for line in lines:
                _print(line.text, at=line.at if timestamps else None, error=line.stream == "stderr")
            after = lines[-1].number if lines else after
            if len(lines) == PAGE:
                continue
            if closed or not follow:
                break
            time.sleep(POLL_S)
    finally:
        reader.close()
    if after == 0 and not follow:
        click.echo(f"d{number} of {project} has no build log: its image was there already.", err=True)


def _app(settings: Settings, project: str, *, tail: int, follow: bool, timestamps: bool) -> None:
    for stream, at, data in app_output(settings, project, tail=tail, follow=follow):
        text = data.decode("utf-8", "replace").rstrip("\r\n")
        _print(text, at=at if timestamps else None, error=stream == "stderr")


def _print(text: str, *, at: float | None, error: bool) -> None:
    out = sys.stderr if error else sys.stdout
    click.echo(f"{clock(at)} {text}" if at is not None else text, file=out)
