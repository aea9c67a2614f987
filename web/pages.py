"""The pages: overview, one project, one deployment with its build log.

Called by Flask for GET alone. Every page works without a script; `?part=live` is the same page
without its frame, for the script that keeps it up to date.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from statistics import median

from flask import Blueprint, Response, request, url_for

from reconciler.history.failing import failing_part
from reconciler.history.logs import LogLine
from reconciler.model.condition import Health
from reconciler.model.release import Deployment, State
from reconciler.model.terminal import plain
from reconciler.model.trend import trend
from web import finding, logsearch, logview, present
from web.problems import Problem
from web.rendering import now, page
from web.store import Store, store
from web.streams import bounded

bp = Blueprint("pages", __name__)

DEPLOYMENTS_SHOWN = 20
EVENTS_SHOWN = 30
_TEXT_LINES = 1000
_NEEDS_A_LOOK = frozenset({Health.DEGRADED, Health.MISSING, Health.UNKNOWN})


@bp.get("/")
def overview() -> Response:
    version = store().versions().state
    statuses = sorted(store().queries.statuses(), key=lambda each: (each.health not in _NEEDS_A_LOOK, each.project))
    counts = Counter(each.health for each in statuses)
    bad = sum(each.health in _NEEDS_A_LOOK for each in statuses)
    title = f"{bad} need{'s' if bad == 1 else ''} a look" if bad else "All well" if statuses else "No project"
    in_order = [(health, counts[health]) for health in Health if health in counts]
    return page("overview.html", version=version, statuses=statuses, counts=in_order, title=title)


@bp.get("/projects/<name>")
def project(name: str) -> Response:
    version = store().versions().state
    before = finding.number("before", finding.HIGHEST, lowest=1)
    status = finding.project(name)
    queries = store().queries
    found = queries.deployments(name, before=before, limit=DEPLOYMENTS_SHOWN + 1)
    shown = found[:DEPLOYMENTS_SHOWN]
    under_way = queries.deployment(name, status.under_way) if status.under_way else None
    timings = queries.timings(name, [status.under_way]) if under_way else {}
    complaints = [each for each in store().heartbeat(now()).diagnostics if each.project == name]
    return page(
        "project.html",
        version=version,
        status=status,
        gone=finding.is_gone(status),
        diagnostics=complaints,
        under_way=under_way,
        under_way_entered=timings[status.under_way].entered if under_way else {},
        deployments=shown,
        builds=queries.builds(name, [each.number for each in shown]),
        trend=trend(queries.build_durations(name)),
        older=shown[-1].number if len(found) > DEPLOYMENTS_SHOWN else 0,
        newer="before" in request.args,
        events=queries.events(name, limit=EVENTS_SHOWN),
    )


@bp.get("/projects/<name>/deployments/<int:number>")
def deployment(name: str, number: int) -> Response:
    version = store().versions().state
    found = finding.deployment(name, number)
    queries = store().queries
    timing = queries.timings(name, [number])[number]
    log, sought = None, None
    if request.args.get("part") != "live":
        log, sought = _part_of_log(found), _sought(found)
    return page(
        "deployment.html",
        version=version,
        deployment=found,
        entered=timing.entered,
        build=queries.builds(name, [number]).get(number),
        usual_s=_usual_build_s(store(), found),
        failing=failing_part(store().logs, found),
        log_info=store().logs.info(name, number),
        serves=_serves(store(), found),
        operations=queries.operations(name, number),
        log=log,
        found=sought,
        log_url=lambda **where: url_for("pages.deployment", name=name, number=number, **where) + "#log",
    )


@bp.get("/projects/<name>/deployments/<int:number>/log.txt")
def log_text(name: str, number: int) -> Response:
    """The whole log to keep, safe to print in a terminal; a stream like the others, since it may be long."""
    found = finding.deployment(name, number)
    response = bounded(_as_text(store(), found), content_type="text/plain; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}-d{number}.log.txt"'
    return response


def _part_of_log(found: Deployment) -> logview.LogPage:
    after = finding.number("after", 0) if "after" in request.args else None
    where = logview.Where(after, tail="tail" in request.args, line=finding.number("line", 0))
    return logview.page(store().logs, found, where)


def _sought(found: Deployment) -> logsearch.Found | None:
    """What a person looks for in the log, if anything."""
    text = request.args.get("q", "").strip()
    if len(text) > logsearch.LONGEST_TEXT:
        raise Problem(
            400,
            f"the text to look for has {len(text)} characters",
            expected=f"at most {logsearch.LONGEST_TEXT}",
            remedy="Look for a part of it, or download the log as text",
        )
    return logsearch.search(store().logs, found, text, after=finding.number("after", 0)) if text else None


def _as_text(from_store: Store, found: Deployment) -> Iterator[str]:
    after = 0
    step: str | None = None
    while lines := from_store.logs.read(found.project, found.number, after=after, limit=_TEXT_LINES):
        for name, own in groupby(lines, key=lambda line: line.step):
            if name != step:
                step = name
                yield f"== {plain(name) or 'output'}\n"
            yield "".join(map(_text_line, own))
        after = lines[-1].number


def _text_line(line: LogLine) -> str:
    mark = {"stderr": "err ", "system": "sys "}.get(line.stream, "    ")
    return f"{present.iso(line.at)} {mark}{plain(line.text)}\n"


def _usual_build_s(from_store: Store, found: Deployment) -> float:
    """The median of the project's last builds while this one builds; 0 where there is none to go by."""
    if found.state is not State.BUILDING:
        return 0.0
    return median(from_store.queries.build_durations(found.project) or [0.0])


def _serves(from_store: Store, ended: Deployment) -> Deployment | None:
    """What serves in place of a deployment that failed."""
    if ended.state in (State.LIVE, State.RETIRED) or ended.is_open:
        return None
    status = from_store.queries.status(ended.project)
    return from_store.queries.deployment(ended.project, status.deployment) if status and status.deployment else None
