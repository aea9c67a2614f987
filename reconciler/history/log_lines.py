"""One line of a build log, and how a thousand of them are packed.

Called by the two sides of the log store; no file, no clock.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import NamedTuple, cast

from reconciler.history.rows import clean
from reconciler.model.effects import Stream

LONGEST_LINE = 16 * 1024
LINES_PER_CHUNK = 1000
_LONGEST_CHUNK = 256 * 1024 * 1024


class LogLine(NamedTuple):
    """`number` counts from 1 within the log; `at` is Unix seconds; `step` the build step or ""."""

    number: int
    stream: Stream
    at: float
    step: str
    text: str


def fit(text: str) -> str:
    """As it is kept: one line, valid Unicode, at most 16 KiB, and saying what was cut."""
    if "\n" in text:
        text = text.replace("\n", "\N{RETURN SYMBOL}")
    if len(text) > LONGEST_LINE:
        text = f"{text[:LONGEST_LINE]}… [{len(text) - LONGEST_LINE} more characters cut]"
    return clean(text, len(text))


def pack(lines: Sequence[LogLine]) -> bytes:
    """Lines with consecutive numbers; the number of the first is kept beside the chunk."""
    plain = [(line.stream, line.at, line.step, line.text) for line in lines]
    return zlib.compress(json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode(), 6)


def unpack(body: bytes, first_number: int) -> list[LogLine]:
    """The reverse of `pack`."""
    plain = json.loads(zlib.decompressobj().decompress(body, _LONGEST_CHUNK))
    return [
        LogLine(number, cast(Stream, stream), at, step, text)
        for number, (stream, at, step, text) in enumerate(plain, first_number)
    ]
