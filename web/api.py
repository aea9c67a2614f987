"""The same facts for programs: JSON under /api/, and /healthz.

Called by Flask for GET alone. Answers carry an ETag that changes with the stores, so that a program
may ask often and cheaply; errors are `{"error": {"what", "expected", "remedy"}}`.
"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from web import finding, logview, shapes
from web.problems import Problem
from web.rendering import now
from web.store import store

bp = Blueprint("api", __name__)

MOST_DEPLOYMENTS = 200
MOST_LINES = 5000


@bp.get("/api/projects")
def projects() -> Response:
    """All projects by name, and what the reconciler says of itself and of the platform."""
    beat = store().heartbeat(now())
    tag = f"{store().versions().state}-{beat.at:.3f}"
    if (same := _unchanged(tag)) is not None:
        return same
    platform = {**shapes.plain(beat), "is_fresh": beat.is_fresh}
    return _tagged(
        tag, {"platform": platform, "projects": [shapes.status(each) for each in store().queries.statuses()]}
    )


@bp.get("/api/projects/<name>")
def project(name: str) -> Response:
    tag = store().versions().state
    if (same := _unchanged(tag)) is not None:
        return same
    return _tagged(tag, shapes.status(finding.project(name)))


@bp.get("/api/projects/<name>/deployments")
def deployments(name: str) -> Response:
    """Newest first, each with the job that built it or null.

    `next_before` is what `?before=` takes for the page below, null on the last one.
    """
    tag = store().versions().state
    if (same := _unchanged(tag)) is not None:
        return same
    before = finding.number("before", finding.HIGHEST, lowest=1)
    limit = finding.number("limit", 50, lowest=1, highest=MOST_DEPLOYMENTS)
    finding.project(name)
    found = store().queries.deployments(name, before=before, limit=limit + 1)
    shown = found[:limit]
    more = shown[-1].number if len(found) > limit else None
    builds = store().queries.builds(name, [each.number for each in shown])
    rows = [
        {**shapes.deployment(each), "build": shapes.job(job) if (job := builds.get(each.number)) else None}
        for each in shown
    ]
    return _tagged(tag, {"deployments": rows, "next_before": more})


@bp.get("/api/projects/<name>/deployments/<int:number>")
def deployment(name: str, number: int) -> Response:
    """One deployment with the times of its states, its operations and its jobs."""
    tag = store().versions().state
    if (same := _unchanged(tag)) is not None:
        return same
    found = finding.deployment(name, number)
    queries = store().queries
    timing = queries.timings(name, [number])[number]
    return _tagged(
        tag,
        {
            **shapes.deployment(found),
            "entered": shapes.plain(timing.entered),
            "build_s": timing.build_s,
            "total_s": timing.total_s,
            "operations": shapes.plain(queries.operations(name, number)),
            "jobs": [shapes.job(each) for each in queries.job_rows(name, number)],
        },
    )


@bp.get("/api/projects/<name>/deployments/<int:number>/log")
def log(name: str, number: int) -> Response:
    """Lines behind `?after=`, at most `?limit=`; ask again with `next_after` until `closed` and no line came."""
    versions = store().versions()
    tag = f"{versions.logs}-{versions.state}"
    if (same := _unchanged(tag)) is not None:
        return same
    found = finding.deployment(name, number)
    after = finding.number("after", 0)
    limit = finding.number("limit", 1000, lowest=1, highest=MOST_LINES)
    closed = logview.has_ended(store().logs, found)
    lines = store().logs.read(name, number, after=after, limit=limit)
    next_after = lines[-1].number if lines else after
    return _tagged(tag, {"lines": shapes.plain(lines), "next_after": next_after, "closed": closed})


@bp.get("/healthz")
def healthz() -> Response:
    """200 while the store can be read and the reconciler runs; else 503 and why."""
    store().queries.data_version()
    beat = store().heartbeat(now())
    if not beat.is_fresh:
        raise Problem(
            503,
            f"the reconciler does not run: {beat.problem}",
            expected="a heartbeat of the last 90 s",
            remedy="Start it with gitstead up, or systemctl start gitstead-reconciler",
        )
    return jsonify({"ok": True, "looked_at": beat.looked_at, "revision": beat.revision})


def _unchanged(tag: str) -> Response | None:
    """304 where the program has this very answer; asked before anything is read."""
    return _finish(Response(status=304), tag) if request.if_none_match.contains(tag) else None


def _tagged(tag: str, body: object) -> Response:
    return _finish(jsonify(body), tag)


def _finish(response: Response, tag: str) -> Response:
    response.set_etag(tag)
    response.headers["Cache-Control"] = "no-cache"
    return response
