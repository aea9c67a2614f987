"""The logs of builds: `BuildLogs` takes them, `LogReader` reads them, also while they are written.

The loop and the build jobs hold the first; web and CLI the second, on a connection that cannot write.
Line numbers count from 1 and never change, so that a page can go on where it stopped. Secrets are
masked before a line is kept; nothing here says what a line means.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection, Row
from typing import cast

from reconciler.history.database import Database, Reader
from reconciler.history.log_lines import LogLine, unpack
from reconciler.history.log_sink import BuildLogSink, OpenLog, seal_lines
from reconciler.history.log_steps import StepRow, end_steps, read_steps
from reconciler.history.migrations import LOGS
from reconciler.masking import Masker
from reconciler.model.effects import Stream

FLUSH_S = 0.2
LIMIT_BYTES = 64 * 1024 * 1024

__all__ = ["BuildLogs", "LogInfo", "LogLine", "LogReader", "StepRow"]


@dataclass(frozen=True)
class LogInfo:
    """A log as a whole. `closed_at` is 0 while it is written; `cut_lines` of it were not kept.

    `clipped`: the engine itself left out a part of some step's output.
    """

    lines: int
    opened_at: float
    closed_at: float
    cut_lines: int
    cut_bytes: int
    clipped: bool


class BuildLogs:
    """The writing side, one for each store. Raises StoreBusy, StoreUnusable.

    A log keeps its first `limit_bytes` and its last 200 lines, and says what is missing in between. `masker_of` gives
    by a project's name what hides secrets in its logs; None hides nothing.
    """

    def __init__(
        self,
        path: Path,
        *,
        masker_of: Callable[[str], Masker] | None = None,
        create: bool = False,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._database = Database(path, LOGS, create=create)
        self._masker_of = masker_of or (lambda _: Masker())
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._sinks: dict[int, BuildLogSink] = {}
        self._dirty = threading.Event()
        self._stopping = threading.Event()
        self._flusher = threading.Thread(target=self._flush_for_ever, name="log-flusher", daemon=True)
        self._flusher.start()

    @property
    def writes(self) -> int:
        """Rows written since the store was opened."""
        return self._database.writes

    def open_log(self, project_name: str, deployment: int, *, now: float) -> BuildLogSink:
        """Begin the log of a deployment, or go on with it where an earlier process stopped."""
        with self._database.transaction() as connection:
            log = _open(connection, project_name, deployment, now)
        sink = BuildLogSink(
            self._database,
            log,
            masker=self._masker_of(project_name),
            limit_bytes=self._limit_bytes,
            on_write=self._dirty.set,
            on_close=lambda _: self._forget(log.log_id),
        )
        with self._lock:
            self._sinks[log.log_id] = sink
        return sink

    def settle(self, now: float) -> int:
        """At start: seal and close the logs that a killed process left open; returns how many."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT * FROM logs WHERE closed_at = 0").fetchall()
            for row in rows:
                number = row["lines"] + 1
                last = LogLine(number, "system", now, "", "[the reconciler ended here]")
                seal_lines(connection, row["id"], [*_open_lines(connection, row["id"]), last])
                end_steps(connection, row["id"], now)
                connection.execute("UPDATE logs SET closed_at = ?, lines = ? WHERE id = ?", (now, number, row["id"]))
        return len(rows)

    def forget(self, deployments: Iterable[tuple[str, int]]) -> None:
        """Remove the logs of these (project, number), but for one that is being written."""
        with self._database.transaction() as connection:
            connection.executemany(
                "DELETE FROM logs WHERE project = ? AND deployment = ? AND closed_at > 0", list(deployments)
            )

    def close(self, *, clean: bool = True) -> None:
        """Store what waits and close the file; a log that is open stays so until `settle`."""
        self._stopping.set()
        self._dirty.set()
        self._flusher.join()
        self._flush_all()
        self._database.close(clean=clean)

    def _forget(self, log_id: int) -> None:
        with self._lock:
            self._sinks.pop(log_id, None)

    def _flush_for_ever(self) -> None:
        while not self._stopping.is_set():
            self._dirty.wait()
            if self._stopping.wait(FLUSH_S):
                return
            self._dirty.clear()
            if not self._flush_all():
                self._dirty.set()

    def _flush_all(self) -> bool:
        with self._lock:
            sinks = list(self._sinks.values())
        failed = [sink for sink in sinks if not sink.flush()]
        return not failed


class LogReader:
    """The reading side; may be made before the store exists. Raises StoreBusy, StoreUnusable."""

    def __init__(self, path: Path) -> None:
        self._reader = Reader(path, LOGS)

    def close(self) -> None:
        self._reader.close()

    def data_version(self) -> tuple[int, int]:
        """Changes with each commit: only then is there something new to read."""
        return self._reader.version()

    def info(self, project_name: str, deployment: int) -> LogInfo | None:
        """None where the deployment has no log, as when nothing had to be built."""
        rows = self._reader.fetch(
            "SELECT lines, opened_at, closed_at, cut_lines, cut_bytes,"
            " EXISTS (SELECT 1 FROM steps WHERE log_id = logs.id AND clipped)"
            " FROM logs WHERE project = ? AND deployment = ?",
            (project_name, deployment),
        )
        if not rows:
            return None
        lines, opened_at, closed_at, cut_lines, cut_bytes, clipped = rows[0]
        return LogInfo(lines, opened_at, closed_at, cut_lines, cut_bytes, bool(clipped))

    def read(self, project_name: str, deployment: int, *, after: int = 0, limit: int = 1000) -> list[LogLine]:
        """At most `limit` lines with numbers above `after`, in order; none where there is no log."""
        with self._reader.snapshot() as connection:
            row = _find(connection, project_name, deployment)
            return _read(connection, row["id"], after, limit) if row else []

    def steps(self, project_name: str, deployment: int) -> list[StepRow]:
        """The steps of the build in order of first appearance; none where there is no log."""
        with self._reader.snapshot() as connection:
            row = _find(connection, project_name, deployment)
            return read_steps(connection, row["id"]) if row else []

    def tail(self, project_name: str, deployment: int, *, limit: int = 50) -> list[LogLine]:
        """The last `limit` lines, in order."""
        with self._reader.snapshot() as connection:
            row = _find(connection, project_name, deployment)
            return _read(connection, row["id"], max(row["lines"] - limit, 0), limit) if row else []


def _find(connection: Connection, project_name: str, deployment: int) -> Row | None:
    row = connection.execute("SELECT * FROM logs WHERE project = ? AND deployment = ?", (project_name, deployment))
    return cast("Row | None", row.fetchone())


def _open(connection: Connection, project_name: str, deployment: int, now: float) -> OpenLog:
    connection.execute(
        "INSERT OR IGNORE INTO logs (project, deployment, opened_at) VALUES (?, ?, ?)", (project_name, deployment, now)
    )
    connection.execute("UPDATE logs SET closed_at = 0 WHERE project = ? AND deployment = ?", (project_name, deployment))
    row = connection.execute(
        "SELECT * FROM logs WHERE project = ? AND deployment = ?", (project_name, deployment)
    ).fetchone()
    lines, steps = _open_lines(connection, row["id"]), read_steps(connection, row["id"])
    return OpenLog(row["id"], row["lines"] + 1, row["kept_bytes"], tuple(lines), tuple(steps))


def _open_lines(connection: Connection, log_id: int, after: int = 0, limit: int = -1) -> list[LogLine]:
    rows = connection.execute(
        "SELECT number, stream, at, step, text FROM open_lines WHERE log_id = ? AND number > ? ORDER BY number LIMIT ?",
        (log_id, after, limit),
    )
    return [LogLine(row["number"], cast(Stream, row["stream"]), row["at"], row["step"], row["text"]) for row in rows]


def _read(connection: Connection, log_id: int, after: int, limit: int) -> list[LogLine]:
    lines: list[LogLine] = []
    chunks = connection.execute(
        "SELECT first_line, body FROM chunks WHERE log_id = ? AND last_line > ? ORDER BY last_line", (log_id, after)
    )
    for chunk in chunks:
        lines += unpack(chunk["body"], chunk["first_line"], after=after, limit=limit - len(lines))
        if len(lines) >= limit:
            return lines
    return lines + _open_lines(connection, log_id, after, limit - len(lines))
