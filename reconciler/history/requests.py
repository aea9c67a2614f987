"""The inbox: what people ask of the reconciler, left by web and CLI, taken by the loop.

Its file belongs to the web's user, so the taking side treats every row as hostile: closed list of
kinds, sizes bounded, no trigger or view in the file. It carries requests alone, never decides one;
who may ask what is checked by the web and again by the reconciler (invariant 9).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Row
from types import MappingProxyType
from typing import NamedTuple

from reconciler.errors import SpecInvalid, StoreBusy
from reconciler.history.database import Database
from reconciler.history.database_file import refuse_programs
from reconciler.history.migrations import INBOX
from reconciler.history.rows import clean
from reconciler.history.wake import wake
from reconciler.model.naming import PROJECT_NAME

Payload = Mapping[str, str]

_HEX = re.compile(r"[0-9a-f]{8,64}\Z")
_NUMBER = re.compile(r"[1-9][0-9]{0,9}\Z")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]{1,200}\Z")
_LONGEST_PAYLOAD = 1000
_MOST_WAITING = 1000
_AT_ONCE = 100
_ENDED_KEPT = 10_000

KINDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "sync": frozenset(),
        "approve": frozenset({"digest"}),
        "confirm": frozenset({"digest"}),
        "cancel": frozenset({"deployment"}),
        "retry": frozenset({"deployment"}),
    }
)


@dataclass(frozen=True)
class Request:
    """One request, of its form. `project` is "" for the platform."""

    id: int
    kind: str
    project: str
    payload: Payload
    by: str
    left_at: float


class Answer(NamedTuple):
    """How a request went: "done" or "refused", with a sentence; "" while it waits."""

    outcome: str
    message: str


class Inbox:
    """Safe from any thread. Raises StoreBusy and StoreUnusable.

    `create` is for the reconciler alone; `wake_socket` is told of what was left.
    """

    def __init__(self, path: Path, *, wake_socket: Path | None = None, create: bool = False) -> None:
        self._database = Database(path, INBOX, create=create)
        self._wake_socket = wake_socket or path.with_name("wake.sock")

    @property
    def writes(self) -> int:
        """Rows written since the inbox was opened."""
        return self._database.writes

    def close(self, *, clean: bool = True) -> None:
        self._database.close(clean=clean)

    def leave_request(
        self, kind: str, project_name: str, payload: Payload | None = None, *, by: str, now: float
    ) -> int:
        """Leave a request and wake the reconciler; returns its number.

        Raises SpecInvalid for one that is not of the closed list or not of its form, and StoreBusy
        where 1,000 wait already.
        """
        problem = _problem(kind, project_name, payload or {}, by)
        if problem:
            raise SpecInvalid(f"this request cannot be left: {problem}", expected=f"one of {', '.join(KINDS)}")
        with self._database.transaction() as connection:
            waiting = connection.execute("SELECT count(*) FROM requests WHERE outcome = ''").fetchone()[0]
            if waiting >= _MOST_WAITING:
                raise StoreBusy(
                    f"{waiting} requests wait already",
                    expected="a reconciler that takes them",
                    remedy="Check that it runs",
                )
            cursor = connection.execute(
                "INSERT INTO requests (kind, project, payload, by, left_at) VALUES (?, ?, ?, ?, ?)",
                (kind, project_name, json.dumps(payload or {}, sort_keys=True), by, now),
            )
            number = int(cursor.lastrowid or 0)
        wake(self._wake_socket)
        return number

    def take_requests(self, now: float) -> list[Request]:
        """Those that wait, oldest first, at most 100; what is not of its form is marked refused.

        A request is returned again until `mark_handled`: after a kill in between nothing is lost, so
        its effect must be one that can be repeated. Writes nothing where nothing waits.
        """
        rows = self._database.fetch(
            "SELECT id, typeof(left_at) AS clock, substr(CAST(kind AS TEXT), 1, 40) AS kind,"
            " substr(CAST(project AS TEXT), 1, 100) AS project, substr(CAST(payload AS TEXT), 1, 1100) AS payload,"
            " substr(CAST(by AS TEXT), 1, 300) AS by, left_at FROM requests WHERE outcome = '' ORDER BY id LIMIT ?",
            (_AT_ONCE,),
        )
        if not rows:
            return []
        with self._database.transaction() as connection:
            refuse_programs(connection, self._database.path)
        good: list[Request] = []
        for row in rows:
            request = _parse(row)
            if isinstance(request, Request):
                good.append(request)
            else:
                self.mark_handled(row["id"], outcome="refused", message=request, now=now)
        return good

    def mark_handled(self, request_id: int, *, outcome: str = "done", message: str = "", now: float) -> None:
        """It was acted on ("done") or turned down ("refused"), with a sentence for the one who asked."""
        with self._database.transaction() as connection:
            refuse_programs(connection, self._database.path)
            connection.execute(
                "UPDATE requests SET outcome = ?, message = ?, ended_at = ? WHERE id = ? AND outcome = ''",
                (outcome, clean(message, 500), now, request_id),
            )
            connection.execute("DELETE FROM requests WHERE outcome <> '' AND id <= ?", (request_id - _ENDED_KEPT,))

    def answer(self, request_id: int) -> Answer | None:
        """For the one who asked; None where there is no such request (any more)."""
        rows = self._database.fetch("SELECT outcome, message FROM requests WHERE id = ?", (request_id,))
        return Answer(rows[0]["outcome"], rows[0]["message"]) if rows else None


def _parse(row: Row) -> Request | str:
    """The request, or what is wrong with the row."""
    if row["clock"] != "real" or not math.isfinite(row["left_at"]):
        return "its time is not a number"
    if len(row["payload"] or "") > _LONGEST_PAYLOAD:
        return f"its payload is longer than {_LONGEST_PAYLOAD} characters"
    try:
        payload = json.loads(row["payload"] or "")
    except (ValueError, RecursionError):
        return "its payload is not JSON"
    if not isinstance(payload, dict):
        return "its payload is not a mapping"
    problem = _problem(row["kind"], row["project"], payload, row["by"])
    if problem:
        return problem
    return Request(row["id"], row["kind"], row["project"], MappingProxyType(payload), row["by"], row["left_at"])


def _problem(kind: object, project_name: object, payload: Mapping[str, object], by: object) -> str:
    """What is not of its form; "" where all is."""
    if not isinstance(kind, str) or kind not in KINDS:
        return f"{_shown(kind)} is not a kind of request"
    if not isinstance(project_name, str) or not (project_name == "" or PROJECT_NAME.match(project_name)):
        return f"{_shown(project_name)} is not the name of a project"
    if not project_name and kind != "sync":
        return f"{kind} needs a project"
    if not isinstance(by, str) or not _PRINTABLE.match(by):
        return "it does not say who asks, in at most 200 printable characters"
    if set(payload) != KINDS[kind]:
        return f"{kind} carries {_shown(sorted(payload))}; expected {sorted(KINDS[kind])}"
    return next((text for key, value in payload.items() if (text := _value_problem(key, value))), "")


def _value_problem(key: str, value: object) -> str:
    if key == "digest" and not (isinstance(value, str) and _HEX.match(value)):
        return f"digest is {_shown(value)}; expected 8 to 64 hexadecimal digits"
    if key == "deployment" and not (isinstance(value, str) and _NUMBER.match(value)):
        return f"deployment is {_shown(value)}; expected its number"
    return ""


def _shown(value: object) -> str:
    return ascii(value)[:60]
