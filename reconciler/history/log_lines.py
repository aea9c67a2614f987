"""One line of a build log, and how a thousand of them are packed.

Called by the two sides of the log store; no file, no clock.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby, islice, pairwise, repeat, starmap
from typing import Any, NamedTuple

from reconciler.history.rows import clean
from reconciler.model.effects import Stream

LONGEST_LINE = 16 * 1024
LINES_PER_CHUNK = 1000
_LEVEL = 4  # of zlib: a third quicker than 6 and 3 % larger
_LONGEST_CHUNK = 256 * 1024 * 1024


Row = tuple[int, Stream, float, str, str]
"""A `LogLine` as it is written: a plain tuple, since a build may print a million of them."""


class LogLine(NamedTuple):
    """`number` counts from 1 within the log; `at` is Unix seconds; `step` the build step or ""."""

    number: int
    stream: Stream
    at: float
    step: str
    text: str


def fit(text: str) -> str:
    """As it is kept: one line, valid Unicode, at most 16 KiB, and saying what was cut."""
    if len(text) <= LONGEST_LINE and text.isascii() and "\n" not in text and "\0" not in text:
        return text
    if "\n" in text:
        text = text.replace("\n", "\N{RETURN SYMBOL}")
    if len(text) > LONGEST_LINE:
        text = f"{text[:LONGEST_LINE]}… [{len(text) - LONGEST_LINE} more characters cut]"
    return clean(text, len(text))


def pack(lines: Sequence[Row]) -> bytes:
    """Lines with consecutive numbers; the number of the first is kept beside the chunk.

    Column by column, which is smaller and faster than line by line: streams and steps as runs, times in
    milliseconds as differences, then the texts as they are.
    """
    _, streams, times, steps, texts = zip(*lines, strict=True)
    milliseconds = [round(time * 1000) for time in times]
    differences = [milliseconds[0], *(after - before for before, after in pairwise(milliseconds))]
    head = json.dumps([_runs(streams), _runs(steps), differences], ensure_ascii=False, separators=(",", ":"))
    return zlib.compress("\n".join([head, *texts]).encode(), _LEVEL)


def unpack(body: bytes, first_number: int, *, after: int = 0, limit: int | None = None) -> list[LogLine]:
    """The reverse of `pack`: at most `limit` of the lines with numbers above `after`.

    Version 0.1 wrote a chunk as one line: a list of (stream, time, step, text).
    """
    plain = zlib.decompressobj().decompress(body, _LONGEST_CHUNK).decode()
    head, *texts = plain.split("\n")
    skipped = max(after + 1 - first_number, 0)
    end = None if limit is None else skipped + limit
    rows = _rows(json.loads(head), texts, first_number)
    return list(starmap(LogLine, islice(rows, skipped, end)))


def _rows(head: list[Any], texts: Sequence[str], first_number: int) -> Iterator[tuple[int, str, float, str, str]]:
    if not texts:
        return ((number, *row) for number, row in enumerate(head, first_number))
    streams, steps, differences = head
    times = (time / 1000 for time in accumulate(differences))
    numbers = range(first_number, first_number + len(texts))
    return zip(numbers, _each(streams), times, _each(steps), texts, strict=True)


def _runs(values: Iterable[str]) -> list[tuple[str, int]]:
    return [(value, len(list(run))) for value, run in groupby(values)]


def _each(runs: Iterable[tuple[str, int]]) -> Iterator[str]:
    for value, count in runs:
        yield from repeat(value, count)
