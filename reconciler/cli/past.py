"""`history`: what was deployed, what it was built from, how long that took and whether it gets slower."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import click

from reconciler.cli.words import as_json, clock, columns, duration, plain_fields
from reconciler.errors import HostUnfit
from reconciler.history.queries import Queries
from reconciler.model.job import Job
from reconciler.model.release import Deployment
from reconciler.model.terminal import visible
from reconciler.model.trend import trend
from reconciler.settings import Settings

HISTORY = ("NO.", "STATE", "RELEASE", "TYPE", "IMAGE", "BUILD", "TOTAL", "CACHED", "WHEN (UTC)", "COMMIT")


@click.command()
@click.argument("project")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many deployments.")
@click.option("--json", "json_wanted", is_flag=True, help="The same facts as JSON.")
@click.pass_obj
def history(settings: Settings, project: str, limit: int, *, json_wanted: bool) -> None:
    """The deployments of a project and what was put back, newest first."""
    queries = Queries(settings.state_db)
    deployments = queries.deployments(project, limit=limit)
    builds = queries.builds(project, [each.number for each in deployments])
    events = queries.events(project, limit=limit)
    over_time = trend(queries.build_durations(project))
    is_known = bool(deployments or events or queries.status(project))
    queries.close()
    if not is_known:
        raise HostUnfit(f'there is no project "{project}"', expected="one that gitstead status shows")
    if json_wanted:
        rows = [{**plain_fields(each), "build": builds.get(each.number)} for each in deployments]
        medians = {"durations_s": over_time.durations_s, "recent_s": over_time.recent_s, "before_s": over_time.before_s}
        click.echo(as_json({"deployments": rows, "trend": medians, "events": events}))
        return
    if not deployments:
        click.echo(f"{project} has no deployments yet.")
    for line in _history(deployments, builds):
        click.echo(line)
    if over_time.durations_s:
        click.echo(f"{over_time.bars}  {over_time.sentence(duration)}")
    for event in events:
        times = f" ({event.count} times)" if event.count > 1 else ""
        click.echo(f"{clock(event.last_at)}  {event.kind}: {visible(event.text)}{times}")


def _history(deployments: Sequence[Deployment], builds: Mapping[int, Job]) -> Iterator[str]:
    """Two lines for each: the facts in columns, and below why it was and what came of it."""
    header, *lines = columns([HISTORY, *(_row(each, builds.get(each.number)) for each in deployments)])
    yield from [header] * bool(deployments)
    for each, line in zip(deployments, lines, strict=True):
        yield line
        yield f"  └ {_cause(each)}"


def _row(each: Deployment, build: Job | None) -> tuple[str, ...]:
    by = ", ".join(part for part in (each.commit.author, each.branch) if part)
    return (
        f"d{each.number}",
        each.state,
        f"r{each.release}" if each.release else "-",
        visible(each.build_type) or "-",
        each.image_id.removeprefix("sha256:")[:12] or "-",
        duration(build.ended_at - build.started_at) if build and build.ended_at else "-",
        _took(each),
        f"{build.cached}/{build.steps}" if build and build.steps else "-",
        clock(each.created_at),
        visible(f"{each.commit.sha[:7]} {each.commit.subject}{f' ({by})' if by else ''}"),
    )


def _took(each: Deployment) -> str:
    end = each.live_at or each.ended_at
    return duration(end - each.created_at) if end else f"{duration(time.time() - each.created_at)}…"


def _cause(each: Deployment) -> str:
    failure = f" — {each.message}" if each.message else ""
    return visible(f"{each.cause}: {each.cause_text}{failure}")
