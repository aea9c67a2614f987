"""`status`: what is, why it is so, and what comes next."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click
from rich.console import Console
from rich.text import Text

from reconciler.cli.build_output import excerpt
from reconciler.cli.words import SYMBOLS, age, as_json, clock, columns
from reconciler.errors import HostUnfit
from reconciler.heartbeat import Heartbeat, read_heartbeat
from reconciler.history.failing import failing_part
from reconciler.history.logs import LogReader
from reconciler.history.queries import Queries
from reconciler.model.release import Deployment
from reconciler.model.status import ProjectStatus
from reconciler.model.terminal import visible
from reconciler.plan.gates import CONFIRMATION
from reconciler.settings import Settings

STATUS = ("PROJECT", "HEALTH", "RELEASE", "COMMIT", "SINCE", "ADDRESS")
LAST_LINES = 10


@click.command()
@click.argument("project", required=False)
@click.option("--json", "json_wanted", is_flag=True, help="The same facts as JSON.")
@click.pass_obj
def status(settings: Settings, project: str | None, *, json_wanted: bool) -> None:
    """All projects in a table, or one project: why it is as it is."""
    queries = Queries(settings.state_db)
    rows = queries.statuses()
    newest = queries.deployments(project, limit=1) if project else []
    queries.close()
    if project is not None:
        rows = [_named(rows, project)]
    if json_wanted:
        click.echo(as_json(rows))
        return
    console = Console(highlight=False)
    if project is not None:
        _explain(console, rows[0], newest, settings)
    else:
        _table(console, rows, settings)


def _named(rows: list[ProjectStatus], project: str) -> ProjectStatus:
    found = next((row for row in rows if row.project == project), None)
    if found is None:
        known = ", ".join(row.project for row in rows) or "none yet"
        raise HostUnfit(f'there is no project "{project}"', expected=f"one of: {known}")
    return found


def _table(console: Console, rows: list[ProjectStatus], settings: Settings) -> None:
    now = time.time()
    shown = sorted(rows, key=lambda each: each.project)
    cells = [
        (
            row.project,
            _health(row),
            f"r{row.release}" if row.release else "-",
            row.commit[:7] or "-",
            age(now - row.since) if row.since else "-",
            row.address,
        )
        for row in shown
    ]
    header, *lines = columns([STATUS, *cells])
    if rows:
        console.print(header, style="bold", soft_wrap=True)
    else:
        console.print("No project yet. Commit projects/<name>.yaml to the platform repository.")
    for row, line in zip(shown, lines, strict=True):
        console.print(Text(line, style=SYMBOLS[row.health][1]), soft_wrap=True)
        if row.health != "Healthy" or len(row.conditions) > 1:
            lead = row.conditions[0]
            console.print(Text(f"  └ {lead.reason}: {visible(lead.message)}"), soft_wrap=True)
    console.print(Text(_summary(rows, settings), style="dim"), soft_wrap=True)


def _health(row: ProjectStatus) -> str:
    under_way = f" (d{row.under_way} {row.under_way_state})" if row.under_way else ""
    return f"{SYMBOLS[row.health][0]} {row.health}{under_way}"


def _summary(rows: list[ProjectStatus], settings: Settings) -> str:
    counts = [f"{sum(row.health == health for row in rows)} {health.lower()}" for health in SYMBOLS]
    shown = [each for each in counts if not each.startswith("0 ")]
    return " · ".join([*shown, _freshness(settings)])


def _freshness(settings: Settings) -> str:
    """How old the facts are, or that nobody keeps them true."""
    now = time.time()
    beat = read_heartbeat(settings.heartbeat, now=now)
    if not beat.is_fresh:
        return "the reconciler does not run: gitstead up"
    git = f", Git checked {age(now - beat.git_checked_at)} ago" if beat.git_checked_at else ""
    name, _, sha = beat.revision.partition("@")
    revision = f"platform {name}@{sha[:7]}" if sha else "platform not read yet"
    troubles = [f"{part}: {text}" for part, text in _troubles(beat).items() if text]
    return visible(" · ".join([f"{revision}, looked at {age(now - beat.looked_at)} ago{git}", *troubles]))


def _troubles(beat: Heartbeat) -> dict[str, str]:
    return {"engine": beat.engine, "caddy": beat.caddy, "git": beat.git}


def _explain(console: Console, row: ProjectStatus, newest: Sequence[Deployment], settings: Settings) -> None:
    console.print(Text(visible(row.headline), style=SYMBOLS[row.health][1]), soft_wrap=True)
    for condition in row.conditions:
        text = f"  {condition.type} is {condition.status} ({condition.reason}): {visible(condition.message)}"
        console.print(Text(text), soft_wrap=True)
    _show_failure(newest, settings)
    _show_detected(row)
    for title, facts in (("Desired", row.desired), ("Observed", row.observed)):
        console.print(f"\n{title}", style="bold")
        for key, value in facts.items():
            console.print(Text(f"  {key:<16} {visible(value)}"), soft_wrap=True)
    console.print("\nWhat blocks", style="bold")
    for text in row.blocks or ("nothing",):
        console.print(Text(f"  {visible(text)}"), soft_wrap=True)
    if row.last_error:
        console.print(Text(f"\nLast error  {visible(row.last_error)}"), soft_wrap=True)
    if row.next_retry_at:
        console.print(f"Next retry  {clock(row.next_retry_at)} UTC")
    console.print(Text(f"\n{_freshness(settings)}", style="dim"))


def _show_failure(newest: Sequence[Deployment], settings: Settings) -> None:
    """The last lines of the step in which the newest deployment broke, if it broke in its build."""
    logs = LogReader(settings.logs_db)
    for deployment in newest:
        failing = failing_part(logs, deployment)
        if failing:
            click.echo()
            excerpt(failing, lines=LAST_LINES)
            click.echo(f"  All of it: gitstead logs {deployment.project} --build {deployment.number}")
    logs.close()


def _show_detected(row: ProjectStatus) -> None:
    """What waits for `gitstead confirm`: the type, why, what else it could be, and what it would be built with."""
    if row.gate != CONFIRMATION:
        return
    click.echo(f"\nIt looks like {visible(row.detected)}")
    for text in row.evidence:
        click.echo(f"  {visible(text)}")
    for text in row.others:
        click.echo(f"  or: {visible(text)}")
    if row.dockerfile:
        click.echo("It would be built with this Dockerfile:")
        for line in visible(row.dockerfile).splitlines():
            click.echo(f"  {line}")
    click.echo(f"Is that right? gitstead confirm {row.project}; if not, set build.type")
