"""Text of strangers (logs, commit subjects, names) made safe and honest to look at.

Called by templates and streams. Colours of a terminal become words of a closed list; every
other control character, and what turns the direction of writing, becomes a visible sign.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_STYLES = {1: "bold", 2: "dim", 3: "italic", 4: "underline"}
_ENDS = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",)}
_SGR = re.compile(r"\x1b\[([0-9;:]{0,32})m")
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]")
_LONGEST = 20_000


@dataclass(frozen=True)
class Span:
    """`classes` are of the closed list: t-red … t-white, t-bold, t-dim, t-italic, t-underline; "" is plain."""

    classes: str
    text: str


def visible(text: str) -> str:
    """`text` with control and direction characters shown as signs; newline and tab stay."""
    return _HIDDEN.sub(_sign, text)


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\u2039U+{code:04X}\u203a"


def plain(line: str) -> str:
    """One log line without colours, safe to print in a terminal."""
    return visible(_SGR.sub("", line.rstrip("\r\n")))


def spans(line: str) -> tuple[Span, ...]:
    """One log line as coloured pieces. A line of more than 20,000 characters is cut, and says so."""
    line = line.rstrip("\r\n")
    rest = len(line) - _LONGEST
    if rest > 0:
        line = line[:_LONGEST]
    found: list[Span] = []
    colour, styles = "", frozenset[str]()
    at = 0
    for match in _SGR.finditer(line):
        _append(found, line[at : match.start()], colour=colour, styles=styles)
        colour, styles = _after(match[1], colour=colour, styles=styles)
        at = match.end()
    _append(found, line[at:], colour=colour, styles=styles)
    if rest > 0:
        found.append(Span("t-dim", f" … {rest} more characters are in the plain text"))
    return tuple(found)


def _append(found: list[Span], text: str, *, colour: str, styles: frozenset[str]) -> None:
    if text:
        names = ([colour] if colour else []) + sorted(styles)
        found.append(Span(" ".join(f"t-{name}" for name in names), visible(text)))


def _after(codes: str, *, colour: str, styles: frozenset[str]) -> tuple[str, frozenset[str]]:
    """Colour and styles after one escape sequence; what we do not show is skipped."""
    numbers = [int(code) if code else 0 for code in re.split("[;:]", codes) if len(code) <= 3]
    while numbers:
        code = numbers.pop(0)
        if code == 0:
            colour, styles = "", frozenset()
        elif code in (38, 48):
            chosen = _extended(numbers)
            colour = chosen if code == 38 else colour
        elif code in _STYLES:
            styles = styles | {_STYLES[code]}
        elif code in _ENDS:
            styles = styles - set(_ENDS[code])
        elif 30 <= code <= 37 or 90 <= code <= 97:
            colour = _COLOURS[code % 10]
        elif code == 39:
            colour = ""
    return colour, styles


def _extended(numbers: list[int]) -> str:
    """Consume `5;n` or `2;r;g;b`; the sixteen basic colours have a name, others are plain."""
    mode = numbers.pop(0) if numbers else 0
    taken = numbers[: 1 if mode == 5 else 3]
    del numbers[: len(taken)]
    if mode == 5 and taken and taken[0] < 16:
        return _COLOURS[taken[0] % 8]
    return ""
