"""Understands what `buildx --progress=rawjson` prints: steps, log lines with time and stream, the reason of a failure.

Used by `image_builder`; pure, fed with one line of output at a time. Must not run or store anything.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from reconciler.adapters.build_reasons import Failure, explain
from reconciler.adapters.processes import LINE_LIMIT
from reconciler.masking import Masker, PieceMasker
from reconciler.model.effects import CLIPPED_REMEDY, BuildStep, StepOutcome, Stream

_LOST_TRACK = re.compile(r"failed to receive status: .*\bCanceled\b")
_CLIPPED = re.compile(r"\[output clipped, (log limit [^\]]* reached)\]")
_BROKEN_OFF = re.compile(r"\bcontext canceled\b", re.IGNORECASE)
_INSTRUCTION = re.compile(r"\[(?:[^\]]* )?\d+/\d+\] (?!FROM )")
_STREAMS: Mapping[int, Stream] = {1: "stdout", 2: "stderr"}
_NAME_LIMIT = 200
_LINE_LIMIT = 64 * 1024
_REPORT_LIMIT = 4 * 1024 * 1024
_SPLIT_FROM = 512 * 1024  # bytes of output; BuildKit puts what is more than 1 MiB into many reports that follow
_LAST_LINES = 200
_EVIDENCE_LIMIT = 1000
_EVIDENCE_BEFORE_MASKING = 4 * _EVIDENCE_LIMIT
_MANY_EMPTY = 1000


@dataclass(frozen=True)
class Line:
    """One line of a build: `at` is Unix seconds, `step` the name of the step that it belongs to."""

    stream: Stream
    text: str
    at: float
    step: str = ""


@dataclass
class _Step:
    """A vertex of the build's graph, as far as it was told."""

    name: str = ""
    told: set[tuple[str, str]] = field(default_factory=set)
    pending: dict[Stream, tuple[float, bytes]] = field(default_factory=dict)
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    running: bool = False
    started_at: float = 0.0
    clipped: bool = False

    @property
    def is_internal(self) -> bool:
        return self.name.startswith("[internal]")

    def told_as(self, outcome: StepOutcome = "", *, ended_at: float = 0.0) -> BuildStep:
        return BuildStep(self.name, self.started_at, ended_at, outcome, clipped=self.clipped)


Told = Line | BuildStep
"""A line, or a step that began or ended, in the order in which it happened."""


class BuildProgress:
    """Takes buildx's output line by line and tells it for people. Not for use by two threads at once.

    What `masker` knows is in no name, reason or torn line, since those are cut; whole lines are masked where they
    are kept.
    """

    def __init__(self, masker: Masker | None = None) -> None:
        self._masker = masker or Masker()
        self._pieces = PieceMasker(self._masker)
        self._steps: dict[str, _Step] = {}
        self._completed: list[Mapping[str, Any]] = []
        self._split: set[str] = set()
        self._report = bytearray()
        self._words: deque[str] = deque(maxlen=_LAST_LINES)
        self._failed: tuple[_Step, str] | None = None
        self._empty_reports = 0

    def feed(self, raw: bytes, *, now: float) -> Iterator[Told]:
        """What one line of output tells. `now` dates what has no time of its own.

        Reports are JSON objects, one a line or indented over several; anything else is text of buildx itself.
        """
        if raw == b"{}":
            self._empty_reports += 1
            return
        if not self._report and not raw.startswith(b"{"):
            yield from self._words_of_buildx(raw, now)
            return
        if raw.startswith(b"{"):  # inside a report, braces are indented
            self._report.clear()
        self._report += raw
        if not raw.endswith(b"}") or (len(raw) > 1 and raw.startswith(b" ")):
            if len(self._report) > _REPORT_LIMIT:
                self._report.clear()
            return
        report = _parse(bytes(self._report))
        if report is None:
            return
        self._report.clear()
        yield from self._take(report)

    def finish(self, *, now: float) -> Iterator[Told]:
        """What is left when the program has ended: lines without a newline at their end, steps broken off."""
        if self.lost_track:
            for digest, step in self._steps.items():
                step.clipped = step.clipped or step.running or digest in self._split
        self._split.clear()
        yield from self._end_completed()
        for step in self._steps.values():
            yield from self._flush(step)
            if step.running and not step.is_internal:
                step.running = False
                yield step.told_as("failed", ended_at=now)

    @property
    def lost_track(self) -> bool:
        """Whether buildx stopped learning how the build went, which went on by itself.

        BuildKit of engine 20.10 sends nothing but empty reports once more than 1 MiB of output came in one moment,
        and buildx gives up on reports 3 s after the build's end.
        """
        flooded = self._empty_reports > _MANY_EMPTY and self._failed is None
        return flooded or any(_LOST_TRACK.search(words) for words in self._words)

    def current_step(self) -> str:
        """The step at work, or the one that an end from outside has broken off; "" where there is none."""
        if self._failed is not None:
            return self._failed[0].name
        names = (step.name for step in self._steps.values() if step.running and not step.is_internal)
        return next(names, "")

    def failure(self, status: int) -> Failure:
        """Why the build failed, in one sentence, with what to do. `status` is buildx's exit status."""
        words = "\n".join(self._words)
        if self._failed is None:
            return explain("", (), words or f"buildx ended with status {status} and said nothing")
        step, error = self._failed
        evidence = (
            self._masker.mask(line, torn_end=len(line) == _EVIDENCE_BEFORE_MASKING)[:_EVIDENCE_LIMIT]
            for line in step.last_lines
        )
        return explain(step.name, tuple(evidence), error or words)

    def _take(self, report: Mapping[str, Any]) -> Iterator[Told]:
        vertexes, logs = report.get("vertexes") or (), report.get("logs") or ()
        for vertex in vertexes:
            yield from self._begin(vertex)
        for log in logs:
            yield from self._log(log)
        self._completed += (vertex for vertex in vertexes if vertex.get("completed"))
        with_output = {log.get("vertex", "") for log in logs}
        if sum(len(log.get("data") or "") for log in logs) >= _SPLIT_FROM:
            self._split |= with_output
        self._split &= with_output
        yield from self._end_completed()

    def _step(self, digest: str) -> _Step:
        return self._steps.setdefault(digest, _Step())

    def _begin(self, vertex: Mapping[str, Any]) -> Iterator[Told]:
        step, started = self._step(vertex.get("digest", "")), vertex.get("started") or ""
        step.name = _shortened(self._masker.mask(vertex["name"])) if vertex.get("name") else step.name
        if not started or (started, "") in step.told:
            return
        step.running = True
        step.started_at = step.started_at or _seconds(started)
        if not step.is_internal:
            yield step.told_as()
        if not (step.told or step.is_internal):
            yield Line("system", step.name, step.started_at, step.name)
        step.told.add((started, ""))

    def _end_completed(self) -> Iterator[Told]:
        """Tell what is completed, once no more of its lines can come: a report without any has followed."""
        completed, self._completed = self._completed, []
        for vertex in completed:
            if vertex.get("digest", "") in self._split:
                self._completed.append(vertex)
            else:
                yield from self._end(vertex)

    def _end(self, vertex: Mapping[str, Any]) -> Iterator[Told]:
        step = self._step(vertex.get("digest", ""))
        started, completed, error = (vertex.get(key) or "" for key in ("started", "completed", "error"))
        error = self._masker.mask(error)
        if (started, completed) in step.told:
            return
        step.told.add((started, completed))
        step.running = False
        yield from self._flush(step)
        if error and (self._failed is None or _BROKEN_OFF.search(self._failed[1])):
            self._failed = (step, error)
        elif not error:
            step.last_lines.clear()
        if error or not step.is_internal:
            outcome: StepOutcome = "failed" if error else "cached" if vertex.get("cached") else "done"
            yield step.told_as(outcome, ended_at=_seconds(completed))
            yield Line("system", _ending(vertex, started, completed, error), _seconds(completed), step.name)

    def _log(self, log: Mapping[str, Any]) -> Iterator[Line]:
        step = self._step(log.get("vertex", ""))
        stream = _STREAMS.get(log.get("stream", 1), "stdout")
        at = _seconds(log.get("timestamp") or "")
        began, rest = step.pending.pop(stream, (at, b""))
        *whole, rest = (rest + _decoded(log.get("data") or "")).split(b"\n")
        for raw in whole:
            yield from self._line(step, stream, raw, began)
            began = at
        while len(rest) > _LINE_LIMIT:
            piece = _whole_characters(rest, _LINE_LIMIT)
            yield from self._line(step, stream, piece, began, ends=False)
            rest = rest[len(piece) :]
        if rest:
            step.pending[stream] = (began, rest)

    def _flush(self, step: _Step) -> Iterator[Line]:
        for stream, (at, rest) in step.pending.items():
            yield from self._line(step, stream, rest, at)
        step.pending.clear()

    def _line(self, step: _Step, stream: Stream, raw: bytes, at: float, *, ends: bool = True) -> Iterator[Line]:
        text, origin = raw.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2], (id(step), stream)
        if not ends or self._pieces.is_torn(origin):
            text = self._pieces.mask(text, origin=origin, ends=ends)
        step.last_lines.append(text[:_EVIDENCE_BEFORE_MASKING])
        yield Line(stream, text, at, step.name)
        if not step.clipped and (clipped := _CLIPPED.search(text)):
            step.clipped = True
            said = f"[output of this step is missing here: the engine's {clipped[1]}; {CLIPPED_REMEDY}]"
            yield Line("system", said, at, step.name)

    def _words_of_buildx(self, raw: bytes, now: float) -> Iterator[Line]:
        text = raw.decode("utf-8", "replace").rstrip()
        text = self._pieces.mask(text, origin="buildx", ends=len(raw) < LINE_LIMIT)
        if text:
            self._words.append(text)
            yield Line("system", text, now)


def is_instruction(step_name: str) -> bool:
    """Whether a step makes something that a cache could hold: RUN, COPY and the like, but not FROM."""
    return _INSTRUCTION.match(step_name) is not None


def _whole_characters(raw: bytes, limit: int) -> bytes:
    """At most `limit` bytes of UTF-8, and no character cut in two."""
    end = limit
    while end > limit - 4 and raw[end] & 0xC0 == 0x80:
        end -= 1
    return raw[:end]


def _ending(vertex: Mapping[str, Any], started: str, completed: str, error: str) -> str:
    if error:
        return f"ERROR {error}"
    if vertex.get("cached"):
        return "CACHED"
    return f"DONE {max(0.0, _seconds(completed) - _seconds(started)):.1f}s"


def _parse(raw: bytes) -> Mapping[str, Any] | None:
    try:
        report = json.loads(raw)
    except ValueError:
        return None
    return report if isinstance(report, dict) else {}


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data)
    except binascii.Error:
        return b""


def _seconds(timestamp: str) -> float:
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return 0.0


def _shortened(name: str) -> str:
    one_line = " ".join(name.split())
    return one_line if len(one_line) <= _NAME_LIMIT else one_line[: _NAME_LIMIT - 1] + "…"
