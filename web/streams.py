"""Answers that stay open: what changed, and the lines of a build as they come (server-sent events).

Called by Flask for GET alone. Each one takes a slot, of which there are fewer than threads
(trap 33); who gets none is told to poll. A reader who left, or who never reads, is let go.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator

from flask import Blueprint, Response, request

from reconciler.errors import GitsteadError
from reconciler.history.logs import LogLine, StepRow
from reconciler.model.effects import BuildStep
from reconciler.model.release import Deployment
from reconciler.model.terminal import visible
from web import finding, logview, present
from web.poller import Versions
from web.problems import Problem
from web.store import Store, store
from web.text import spans

bp = Blueprint("streams", __name__)

KEEP_ALIVE_S = 10.0
LONGEST_S = 900.0
SEND_TIMEOUT_S = 20.0
LINES_AT_ONCE = 500
_LOOK_FOR_READER_S = 1.0
_RECONNECT_MS = 1500


@bp.get("/events")
def events() -> Response:
    """`version` with an opaque word, at once and after each change: fetch again where it is new to you."""
    return bounded(_events(store(), _reader()), content_type="text/event-stream")


@bp.get("/projects/<name>/deployments/<int:number>/log/stream")
def log(name: str, number: int) -> Response:
    """`lines` (JSON, its id the number of the last one), `steps` (JSON) as they begin and end, `version` as above,
    and `end` when no more will come.

    Begins behind the line of `Last-Event-ID`, else of `?after=`.
    """
    found = finding.deployment(name, number)
    after = finding.number("after", 0)
    last = request.headers.get("Last-Event-ID", "")
    if last.isascii() and last.isdigit() and len(last) < 11:
        after = int(last)
    return bounded(_log(store(), found, after=after, reader=_reader()), content_type="text/event-stream")


def bounded(parts: Iterator[str], *, content_type: str) -> Response:
    """A response of many parts that holds a slot until it is closed. Raises Problem (503) where none is free."""
    slots = store().slots
    if not slots.take():
        raise Problem(
            503,
            f"all {slots.limit} live streams are taken",
            expected="a free one",
            remedy="Ask for the page itself every few seconds instead",
        )
    reader = _reader()
    if reader is not None:
        reader.settimeout(SEND_TIMEOUT_S)
    response = Response(parts, content_type=content_type)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(slots.give_back)
    return response


def _reader() -> socket.socket | None:
    """The connection, where the server hands it out (gunicorn does)."""
    found = request.environ.get("gunicorn.socket")
    return found if isinstance(found, socket.socket) else None


def _events(from_store: Store, reader: socket.socket | None) -> Iterator[str]:
    yield f"retry: {_RECONNECT_MS}\n\n"
    with from_store.poller.listening():
        seen = from_store.poller.versions()
        yield _version(seen)
        for versions in _changes(from_store, seen, reader=reader):
            if versions is None:
                yield ": still here\n\n"
            else:
                yield _version(versions)


def _log(from_store: Store, found: Deployment, *, after: int, reader: socket.socket | None) -> Iterator[str]:
    yield f"retry: {_RECONNECT_MS}\n\n"
    feed = _Feed(from_store, found, after)
    with from_store.poller.listening():
        seen = from_store.poller.versions()
        yield _version(seen)
        try:
            for versions in _changes(from_store, seen, reader=reader, logs=True, at_once=True):
                if versions is None:
                    yield ": still here\n\n"
                    continue
                if versions.state != seen.state:
                    yield _version(versions)
                seen = versions
                yield from feed.news()
                if feed.ended:
                    yield "event: end\ndata: end\n\n"
                    return
        except GitsteadError as error:
            yield f": {error.reason}\n\n"


class _Feed:
    """The lines of one log behind `after` and how its steps go, each once; `ended`: no more will come."""

    def __init__(self, from_store: Store, found: Deployment, after: int) -> None:
        self._store, self._found, self._after = from_store, found, after
        self._told: set[BuildStep] = set()
        self.ended = False

    def news(self) -> Iterator[str]:
        """Events; whether it has ended is asked first, so that the last lines come before the end."""
        name, number = self._found.project, self._found.number
        current = self._store.queries.deployment(name, number) or self._found
        ended = logview.has_ended(self._store.logs, current)
        while lines := self._store.logs.read(name, number, after=self._after, limit=LINES_AT_ONCE):
            self._after = lines[-1].number
            yield _as_event(lines)
        changed = [row for row in self._store.logs.steps(name, number) if row.step not in self._told]
        if changed:
            self._told |= {row.step for row in changed}
            yield _steps(changed)
        self.ended = ended


def _changes(
    from_store: Store,
    seen: Versions,
    *,
    reader: socket.socket | None,
    logs: bool = False,
    at_once: bool = False,
) -> Iterator[Versions | None]:
    """Versions as they change, None when it is time for a sign of life; ends with the reader or after 15 min."""
    begun = spoke = time.monotonic()
    if at_once:
        yield seen
    while time.monotonic() - begun < LONGEST_S and not _has_left(reader):
        versions = from_store.poller.wait(seen, timeout_s=_LOOK_FOR_READER_S, logs=logs)
        changed = versions.state != seen.state or (logs and versions.logs != seen.logs)
        if changed:
            seen = versions
            yield seen
        elif time.monotonic() - spoke >= KEEP_ALIVE_S:
            yield None
        else:
            continue
        spoke = time.monotonic()


def _has_left(reader: socket.socket | None) -> bool:
    """Whether the other side closed the connection. Only looks, never waits."""
    if reader is None:
        return False
    try:
        readable, _, _ = select.select([reader], [], [], 0)
        return bool(readable) and reader.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def _version(versions: Versions) -> str:
    return f"event: version\ndata: {versions.state}\n\n"


def _steps(rows: list[StepRow]) -> str:
    """No id: a reader who comes back is told of all steps anew."""
    body = [
        {
            "name": visible(row.step.name),
            "outcome": row.step.outcome,
            "since": present.iso(row.step.started_at),
            "took": logview.took(row.step),
            "lines": row.lines,
        }
        for row in rows
    ]
    return f"event: steps\ndata: {json.dumps(body)}\n\n"


def _as_event(lines: list[LogLine]) -> str:
    """JSON has no newline in it, so no line of a log can end the event or begin another."""
    body = [
        {
            "number": line.number,
            "stream": line.stream,
            "at": line.at,
            "step": visible(line.step),
            "spans": [(span.classes, span.text) for span in spans(line.text)],
        }
        for line in lines
    ]
    return f"id: {lines[-1].number}\nevent: lines\ndata: {json.dumps(body)}\n\n"
