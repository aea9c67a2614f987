"""Places in a file, and the diagnostics that point at them.

Called by `documents`, `reading` and `validation`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from reconciler.model.spec import Diagnostic, Location

Path = tuple[str | int, ...]

FORBIDDEN = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
    "|[\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


_USER_IN_URL = re.compile(r"(?<=://)[^/\s\"']+(?=@)")


class Place(NamedTuple):
    """Line and column from 1, and how many columns to mark on that line."""

    line: int
    column: int
    width: int = 1


def diagnostic(file: str, lines: Sequence[str], place: Place, message: str) -> Diagnostic:
    """A diagnostic whose place is moved into the file where it lies beyond its end.

    A password in a URL is hidden in the excerpt, which goes to logs and pages.
    """
    number = min(max(place.line, 1), max(len(lines), 1))
    excerpt = lines[number - 1] if lines else ""
    column = min(max(place.column, 1), len(excerpt) + 1)
    width = max(1, min(place.width, len(excerpt) + 1 - column))
    hidden = _USER_IN_URL.sub(lambda match: "•" * len(match.group()), excerpt)
    return Diagnostic(Location(file, number, column), message, excerpt=hidden, width=width)


def character_name(character: str) -> str:
    kind = "a control character" if ord(character) < 0xA0 else "a text-direction or zero-width character"
    return f"U+{ord(character):04X}, {kind},"
