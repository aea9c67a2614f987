"""Reads history on a connection that cannot write: for planning, the web and the CLI.

`History.history` is what planning needs, kept in memory and read again only where it changed. The
rest are the rows that pages and commands show. Nothing here writes, and nothing decides.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection, Row
from types import MappingProxyType

from reconciler.history.database import Reader
from reconciler.history.migrations import STATE
from reconciler.history.rows import (
    Event,
    GoodSpec,
    JournalRow,
    Timing,
    deployment_of,
    release_of,
    status_of_json,
    timing_of,
)
from reconciler.model.job import Job, JobKey
from reconciler.model.operation import PLATFORM
from reconciler.model.release import Deployment, Failure, History, ProjectHistory, Release
from reconciler.model.status import ProjectStatus

RELEASES_FOR_PLANNING = 200
_DRAINING_FOR_PLANNING = 20
_IMAGES_FOR_PLANNING = 1000
_APPROVALS_FOR_PLANNING = 1000
_PARTS = ("live", "open", "last_ended", "previous_live")


@dataclass
class _Known:
    """What was read for planning, as of `version`; `touched` is the highest mark of a project in it."""

    version: tuple[int, int] = (0, 0)
    touched: int = 0
    history: History = field(default_factory=History)


class Queries:
    """Safe from any thread. Every method raises StoreBusy, or StoreUnusable where there is no store (yet)."""

    def __init__(self, state_db: Path) -> None:
        self._reader = Reader(state_db, STATE)
        self._lock = threading.Lock()
        self._known = _Known()

    def close(self) -> None:
        self._reader.close()

    def data_version(self) -> tuple[int, int]:
        """Changes with each commit; what was shown at the same version is still true."""
        return self._reader.version()

    def history(self) -> History:
        """All that planning needs to know of the past; the very same value while nothing was written."""
        with self._lock:
            version = self._reader.version()
            if version != self._known.version:
                self._known = self._read(version, self._known)
            return self._known.history

    def good_specs(self) -> Mapping[str, GoodSpec]:
        """Project to the last usable text of its spec."""
        rows = self._reader.fetch("SELECT * FROM good_specs WHERE project <> ?", (PLATFORM,))
        return {row["project"]: GoodSpec(row["blob"], row["text"], row["revision"]) for row in rows}

    def good_platform(self) -> GoodSpec | None:
        """The last usable `platform.yaml`; None before the first."""
        rows = self._reader.fetch("SELECT * FROM good_specs WHERE project = ?", (PLATFORM,))
        return GoodSpec(rows[0]["blob"], rows[0]["text"], rows[0]["revision"]) if rows else None

    def statuses(self) -> list[ProjectStatus]:
        """By name."""
        return [status_of_json(row["body"]) for row in self._reader.fetch("SELECT body FROM statuses ORDER BY project")]

    def status(self, project_name: str) -> ProjectStatus | None:
        rows = self._reader.fetch("SELECT body FROM statuses WHERE project = ?", (project_name,))
        return status_of_json(rows[0]["body"]) if rows else None

    def deployments(self, project_name: str, *, before: int | None = None, limit: int = 50) -> list[Deployment]:
        """Newest first; `before` is the lowest number of the page above."""
        rows = self._reader.fetch(
            "SELECT * FROM deployments WHERE project = ? AND number < ? ORDER BY number DESC LIMIT ?",
            (project_name, before if before is not None else 1 << 62, limit),
        )
        return [deployment_of(row) for row in rows]

    def deployment(self, project_name: str, number: int) -> Deployment | None:
        rows = self._reader.fetch("SELECT * FROM deployments WHERE project = ? AND number = ?", (project_name, number))
        return deployment_of(rows[0]) if rows else None

    def timings(self, project_name: str, numbers: Iterable[int]) -> Mapping[int, Timing]:
        """When those deployments entered their states: durations of build and whole."""
        rows = self._reader.fetch(
            "SELECT number, entered, ended_at FROM deployments WHERE project = ?"
            " AND number IN (SELECT value FROM json_each(?))",
            (project_name, json.dumps(list(numbers))),
        )
        return {row["number"]: timing_of(row) for row in rows}

    def releases(self, project_name: str, *, limit: int = 50) -> list[Release]:
        """Newest first."""
        rows = self._reader.fetch(
            "SELECT * FROM releases WHERE project = ? ORDER BY number DESC LIMIT ?", (project_name, limit)
        )
        return [release_of(row) for row in rows]

    def operations(self, project_name: str, deployment: int) -> list[JournalRow]:
        """The journal of one deployment, oldest first; of repairs where `deployment` is 0. At most 1,000."""
        rows = self._reader.fetch(
            "SELECT * FROM (SELECT * FROM operations WHERE project = ? AND deployment = ? ORDER BY id DESC LIMIT 1000)"
            " ORDER BY id",
            (project_name, deployment),
        )
        return [JournalRow(**{**dict(row), "retryable": bool(row["retryable"])}) for row in rows]

    def events(self, project_name: str, *, limit: int = 50) -> list[Event]:
        """Newest first."""
        rows = self._reader.fetch(
            "SELECT * FROM events WHERE project = ? ORDER BY last_at DESC LIMIT ?", (project_name, limit)
        )
        return [Event(**dict(row)) for row in rows]

    def job_rows(self, project_name: str, deployment: int) -> list[Job]:
        """The jobs of one deployment, oldest first."""
        rows = self._reader.fetch(
            "SELECT * FROM jobs WHERE project = ? AND deployment = ? ORDER BY started_at", (project_name, deployment)
        )
        return [_job(row) for row in rows]

    def builds(self, project_name: str, numbers: Iterable[int]) -> Mapping[int, Job]:
        """The build of each of those deployments, the last one where there were several; none where none was needed."""
        rows = self._reader.fetch(
            "SELECT * FROM jobs WHERE project = ? AND kind = 'build'"
            " AND deployment IN (SELECT value FROM json_each(?)) ORDER BY started_at",
            (project_name, json.dumps(list(numbers))),
        )
        return {row["deployment"]: _job(row) for row in rows}

    def build_durations(self, project_name: str, *, limit: int = 20) -> list[float]:
        """Seconds of the last builds that succeeded, newest first."""
        rows = self._reader.fetch(
            "SELECT started_at, ended_at FROM jobs WHERE project = ? AND kind = 'build' AND state = 'succeeded'"
            " ORDER BY id DESC LIMIT ?",
            (project_name, limit),
        )
        return [row["ended_at"] - row["started_at"] for row in rows]

    def _read(self, version: tuple[int, int], known: _Known) -> _Known:
        """Only the projects that were touched since; all of them where the file is another one."""
        if version[0] != known.version[0]:
            known = _Known()
        with self._reader.snapshot() as connection:
            rows = connection.execute("SELECT * FROM projects WHERE touched > ?", (known.touched,)).fetchall()
            fresh = {row["name"]: _project(connection, row) for row in rows}
            approved = connection.execute(
                "SELECT digest FROM approvals ORDER BY at DESC LIMIT ?", (_APPROVALS_FOR_PLANNING,)
            ).fetchall()
            inventory = connection.execute("SELECT container_id FROM inventory").fetchall()
            failures = [_failure(row) for row in connection.execute("SELECT * FROM failures")]
            digest = connection.execute("SELECT value FROM facts WHERE name = 'routes_digest'").fetchone()
        history = History(
            projects=MappingProxyType({**known.history.projects, **fresh}) if fresh else known.history.projects,
            approved=frozenset(row["digest"] for row in approved),
            inventory=frozenset(row["container_id"] for row in inventory),
            last_failures=MappingProxyType({failure.project: failure for failure in failures}),
            routes_digest=digest["value"] if digest else "",
        )
        return _Known(version, max([known.touched, *(row["touched"] for row in rows)]), history)


def _project(connection: Connection, row: Row) -> ProjectHistory:
    name = row["name"]
    found = {
        each["number"]: deployment_of(each)
        for each in connection.execute(
            "SELECT * FROM deployments WHERE project = ? AND number IN (?, ?, ?, ?)",
            (name, *(row[part] for part in _PARTS)),
        )
    }
    releases = connection.execute(
        "SELECT * FROM releases WHERE project = ?1 AND (number IN (SELECT number FROM releases WHERE project = ?1"
        " ORDER BY number DESC LIMIT ?2) OR number IN (SELECT value FROM json_each(?3))) ORDER BY number",
        (name, RELEASES_FOR_PLANNING, json.dumps([each.release for each in found.values()])),
    )
    draining = connection.execute(
        "SELECT number, drain_until FROM deployments WHERE project = ? AND drain_until > 0"
        " ORDER BY number DESC LIMIT ?",
        (name, _DRAINING_FOR_PLANNING),
    )
    retired = connection.execute(
        "SELECT image_id, MAX(ended_at) AS at FROM deployments WHERE project = ? AND state = 'retired'"
        " AND image_id <> '' GROUP BY image_id ORDER BY at DESC LIMIT ?",
        (name, _IMAGES_FOR_PLANNING),
    )
    return ProjectHistory(
        project=name,
        last_number=row["last_number"],
        live=found.get(row["live"]),
        open=found.get(row["open"]),
        last_ended=found.get(row["last_ended"]),
        previous_live=found.get(row["previous_live"]),
        releases=tuple(release_of(each) for each in releases),
        repairs=tuple(json.loads(row["repairs"])),
        adopted=bool(row["adopted"]),
        draining=MappingProxyType({each["number"]: each["drain_until"] for each in draining}),
        retired=MappingProxyType({each["image_id"]: each["at"] for each in retired}),
    )


def _failure(row: Row) -> Failure:
    return Failure(**{**dict(row), "retryable": bool(row["retryable"])})


def _job(row: Row) -> Job:
    values = dict(row)
    del values["id"]
    key = JobKey(values.pop("project"), values.pop("deployment"), values.pop("kind"))
    return Job(**{**values, "key": key, "retryable": bool(row["retryable"])})
