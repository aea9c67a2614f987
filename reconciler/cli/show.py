"""`status` and `history`: what is, why it is so, and what happened."""

from __future__ import annotations

import time

import click
from rich.console import Console
from rich.text import Text

from reconciler.cli.words import SYMBOLS, age, as_json, clock, columns, duration
from reconciler.errors import HostUnfit
from reconciler.heartbeat import Heartbeat, read_heartbeat
from reconciler.history.queries import Queries
from reconciler.model.release import Deployment
from reconciler.model.status import ProjectStatus
from reconciler.settings import Settings

STATUS = ("PROJECT", "HEALTH", "RELEASE", "COMMIT", "SINCE", "ADDRESS")
HISTORY = ("DEPLOYMENT", "STATE", "RELEASE", "COMMIT", "TOOK", "WHEN (UTC)", "CAUSE")


@click.command()
@click.argument("project", required=False)
@click.option("--json", "json_wanted", is_flag=True, help="The same facts as JSON.")
@click.pass_obj
def status(settings: Settings, project: str | None, *, json_wanted: bool) -> None:
    """All projects in a table, or one project: why it is as it is."""
    queries = Queries(settings.state_db)
    rows = queries.statuses()
    queries.close()
    if project is not None:
        rows = [_named(rows, project)]
    if json_wanted:
        click.echo(as_json(rows))
        return
    console = Console(highlight=False)
    if project is not None:
        _explain(console, rows[0], settings)
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
            console.print(Text(f"  └ {lead.reason}: {lead.message}"), soft_wrap=True)
    console.print(_summary(rows, settings), style="dim", soft_wrap=True)


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
    return " · ".join([f"{revision}, looked at {age(now - beat.looked_at)} ago{git}", *troubles])


def _troubles(beat: Heartbeat) -> dict[str, str]:
    return {"engine": beat.engine, "caddy": beat.caddy, "git": beat.git}


def _explain(console: Console, row: ProjectStatus, settings: Settings) -> None:
    console.print(Text(row.headline, style=SYMBOLS[row.health][1]))
    for condition in row.conditions:
        console.print(f"  {condition.type} is {condition.status} ({condition.reason}): {condition.message}")
    for title, facts in (("Desired", row.desired), ("Observed", row.observed)):
        console.print(f"\n{title}", style="bold")
        for key, value in facts.items():
            console.print(f"  {key:<16} {value}", soft_wrap=True)
    console.print("\nWhat blocks", style="bold")
    for text in row.blocks or ("nothing",):
        console.print(f"  {text}", soft_wrap=True)
    if row.last_error:
        console.print(f"\nLast error  {row.last_error}", soft_wrap=True)
    if row.next_retry_at:
        console.print(f"Next retry  {clock(row.next_retry_at)} UTC")
    console.print(f"\n{_freshness(settings)}", style="dim")


@click.command()
@click.argument("project")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many deployments.")
@click.option("--json", "json_wanted", is_flag=True, help="The same facts as JSON.")
@click.pass_obj
def history(settings: Settings, project: str, limit: int, *, json_wanted: bool) -> None:
    """The deployments of a project and what was put back, newest first."""
    queries = Queries(settings.state_db)
    deployments = queries.deployments(project, limit=limit)
    events = queries.events(project, limit=limit)
    queries.close()
    if json_wanted:
        click.echo(as_json({"deployments": deployments, "events": events}))
        return
    lines = columns([HISTORY, *(_row(each) for each in deployments)])
    for line in lines if deployments else [f"{project} has no deployments yet."]:
        click.echo(line)
    for event in events:
        times = f" ({event.count} times)" if event.count > 1 else ""
        click.echo(f"{clock(event.last_at)}  {event.kind}: {event.text}{times}")


def _row(each: Deployment) -> tuple[str, ...]:
    release = f"r{each.release}" if each.release else "-"
    return (
        f"d{each.number}",
        each.state,
        release,
        each.commit.sha[:7],
        _took(each),
        clock(each.created_at),
        _cause(each),
    )


def _took(each: Deployment) -> str:
    end = each.live_at or each.ended_at
    return duration(end - each.created_at) if end else f"{duration(time.time() - each.created_at)}…"


def _cause(each: Deployment) -> str:
    failure = f" — {each.message}" if each.message else ""
    return f"{each.cause}: {each.cause_text}{failure}"
