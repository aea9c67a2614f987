"""Takes the lines of one build and brings them into the store, a chunk at a time.

Made by `logs.BuildLogs`, written to by the build job, flushed also by the store's own thread. A store
that is busy never holds a build up: its lines wait, and beyond a bound they are counted, not kept.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from sqlite3 import Connection

import structlog

from reconciler.errors import GitsteadError, StoreUnusable
from reconciler.history.database import Database
from reconciler.history.log_lines import LINES_PER_CHUNK, LogLine, Row, fit, pack
from reconciler.history.log_steps import StepRow, Steps, store_steps
from reconciler.masking import Masker
from reconciler.model.effects import BuildStep, Stream

_MOST_WAITING = 10_000
_LAST_LINES_KEPT = 200
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class OpenLog:
    """A log as it stands in the store when it is opened: `lines` are those of its open chunk."""

    log_id: int
    next_number: int = 1
    kept_bytes: int = 0
    lines: tuple[LogLine, ...] = ()
    steps: tuple[StepRow, ...] = ()


class BuildLogSink:
    """Implements `model.effects.LogSink`. Safe from any thread.

    `on_write` is called when there is something to flush, `on_close` when it is closed.
    """

    def __init__(
        self,
        database: Database,
        log: OpenLog,
        *,
        masker: Masker,
        limit_bytes: int,
        on_write: Callable[[], None],
        on_close: Callable[[BuildLogSink], None],
    ) -> None:
        self._database = database
        self._log_id = log.log_id
        self._masker = masker
        self._limit_bytes = limit_bytes
        self._on_write = on_write
        self._on_close = on_close
        self._storing = threading.Lock()
        self._lock = threading.Lock()
        self._open: list[Row] = list(log.lines)
        self._steps = Steps(log.steps)
        self._name = ("", "", 0)
        self._waiting: list[Row] = []
        self._next = log.next_number
        self._kept_bytes = log.kept_bytes
        self._cut_lines = 0
        self._cut_bytes = 0
        self._last_lines: deque[tuple[Stream, float, str, str]] = deque(maxlen=_LAST_LINES_KEPT)
        self._last_at = 0.0
        self._closed = False
        self._failing = False

    def write(self, stream: Stream, text: str, *, at: float, step: str = "") -> None:
        """Append one line, without its newline. Raises StoreUnusable after `close`, and nothing else."""
        text, step = fit(self._masker.mask(text)), self._name_of(step)
        with self._lock:
            self._refuse_closed()
            self._last_at = at
            self._take(stream, at, step, text)
            waiting = len(self._waiting)
        if waiting >= LINES_PER_CHUNK and not self._failing:
            self.flush()
        elif waiting == 1:
            self._on_write()

    def step(self, step: BuildStep) -> None:
        """Keep how a step goes. Raises StoreUnusable after `close`, and nothing else."""
        step = replace(step, name=self._name_of(step.name))
        with self._lock:
            self._refuse_closed()
            self._steps.tell(step)
        self._on_write()

    def flush(self) -> bool:
        """Bring what waits into the store; False where that failed and is to be tried again."""
        with self._storing:
            try:
                self._store(seal=False)
            except GitsteadError as error:
                if not self._failing:
                    _log.warning("log.not_stored", log_id=self._log_id, reason=error.reason, message=str(error))
                self._failing = True
                return False
            self._failing = False
            return True

    def close(self) -> None:
        """Seal what is open. Raises StoreBusy, StoreUnusable: the log is then sealed at the next start."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._say_what_was_cut()
        try:
            with self._storing:
                self._store(seal=True)
        finally:
            self._on_close(self)

    def _name_of(self, step: str) -> str:
        """The step's name as it is kept. Each line brings it, so the last one is remembered."""
        before, name, known = self._name
        if step != before or known != self._masker.known:
            known = self._masker.known
            name = fit(self._masker.mask(step))
            self._name = (step, name, known)
        return name

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreUnusable("the log is closed", expected="lines only while the build runs")

    def _take(self, stream: Stream, at: float, step: str, text: str) -> None:
        size = len(text) + 1
        if not self._cut_lines:
            why = ""
            if self._kept_bytes + size > self._limit_bytes:
                why = f"the log is longer than {in_words(self._limit_bytes)}"
            elif len(self._waiting) >= _MOST_WAITING:
                why = "the store takes no lines for now"
            if not why:
                self._kept_bytes += size
                self._append(stream, at, step, text)
                return
            self._append("system", at, "", f"[of what follows, the last {_LAST_LINES_KEPT} lines are kept: {why}]")
        self._cut_lines += 1
        self._cut_bytes += size
        self._last_lines.append((stream, at, step, text))

    def _append(self, stream: Stream, at: float, step: str, text: str) -> None:
        self._waiting.append((self._next, stream, at, step, text))
        self._next += 1

    def _say_what_was_cut(self) -> None:
        self._cut_lines -= len(self._last_lines)
        self._cut_bytes -= sum(len(text) + 1 for _, _, _, text in self._last_lines)
        if self._cut_lines > 0:
            gone = f"[{self._cut_lines} lines, {in_words(self._cut_bytes)}, were not kept]"
            self._append("system", self._last_at, "", gone)
        for line in self._last_lines:
            self._append(*line)
        self._last_lines.clear()

    def _store(self, *, seal: bool) -> None:
        """Chunks of a thousand, and the rest as rows or, to `seal`, as the last chunk. Our lists change afterwards."""
        with self._lock:
            waiting = list(self._waiting)
            self._steps.count(waiting)
            steps = self._steps.take_changed()
            counts = (self._next - 1, self._kept_bytes, self._cut_lines, self._cut_bytes)
            closed_at = max(self._last_at, 1.0) if seal else 0.0
        if not (waiting or steps or seal):
            return
        lines = [*self._open, *waiting]
        whole = len(lines) if seal else len(lines) // LINES_PER_CHUNK * LINES_PER_CHUNK
        rest = lines[whole:]
        try:
            with self._database.transaction() as connection:
                seal_lines(connection, self._log_id, lines[:whole])
                connection.executemany(
                    "INSERT INTO open_lines VALUES (?, ?, ?, ?, ?, ?)",
                    ((self._log_id, *line) for line in (rest if whole else waiting)),
                )
                store_steps(connection, self._log_id, steps)
                connection.execute(
                    "UPDATE logs SET lines = ?, kept_bytes = ?, cut_lines = ?, cut_bytes = ?, closed_at = ?"
                    " WHERE id = ?",
                    (*counts, closed_at, self._log_id),
                )
        except GitsteadError:
            with self._lock:
                self._steps.put_back(steps)
            raise
        self._open = rest
        with self._lock:
            del self._waiting[: len(waiting)]
            came_meanwhile = bool(self._waiting)
        if came_meanwhile:
            self._on_write()


def seal_lines(connection: Connection, log_id: int, lines: Sequence[Row]) -> None:
    """Move lines with consecutive numbers from rows (where they are rows yet) into chunks."""
    for begin in range(0, len(lines), LINES_PER_CHUNK):
        chunk = lines[begin : begin + LINES_PER_CHUNK]
        connection.execute("DELETE FROM open_lines WHERE log_id = ? AND number <= ?", (log_id, chunk[-1][0]))
        connection.execute(
            "INSERT INTO chunks (log_id, first_line, last_line, body) VALUES (?, ?, ?, ?)",
            (log_id, chunk[0][0], chunk[-1][0], pack(chunk)),
        )


def in_words(size: int) -> str:
    """Bytes for people."""
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"
