"""Log lines as coloured pieces: colours of a terminal become words of a closed list.

Called by templates and streams. Two hundred and fifty-six colours, and those given as red, green and blue, become
the nearest of the eight; what `model.terminal` finds hidden becomes a visible sign.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from reconciler.model.terminal import SGR, still, visible

_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_STYLES = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse"}
_ENDS = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 27: ("inverse",)}
_CUBE = (0, 95, 135, 175, 215, 255)
_GREY_SPREAD = 48
_LONGEST = 20_000
_MOST_SPANS = 200


@dataclass(frozen=True)
class Span:
    """`classes` are of the closed list: t-red … t-white, on-red … on-white, t-bold, t-dim, t-italic, t-underline,
    t-inverse; "" is plain.
    """

    classes: str
    text: str


@dataclass(frozen=True)
class _Look:
    colour: str = ""
    ground: str = ""
    styles: frozenset[str] = frozenset()

    @property
    def classes(self) -> str:
        colours = [f"t-{self.colour}"] * bool(self.colour) + [f"on-{self.ground}"] * bool(self.ground)
        return " ".join([*colours, *(f"t-{name}" for name in sorted(self.styles))])


def spans(line: str) -> tuple[Span, ...]:
    """One log line as coloured pieces. A line of more than 20,000 characters is cut, and says so.

    After 200 pieces the rest keeps the last look: a page of lines that change it with each letter would take minutes.
    """
    line = still(line)
    rest = len(line) - _LONGEST
    if rest > 0:
        line = line[:_LONGEST]
    found: list[Span] = []
    look, at = _Look(), 0
    for match in SGR.finditer(line):
        if len(found) >= _MOST_SPANS:
            break
        _append(found, line[at : match.start()], look)
        look = _after(match[1], look)
        at = match.end()
    _append(found, SGR.sub("", line[at:]), look)
    if rest > 0:
        found.append(Span("t-dim", f" … {rest} more characters are in the plain text"))
    return tuple(found)


def _append(found: list[Span], text: str, look: _Look) -> None:
    if text:
        found.append(Span(look.classes, visible(text)))


def _after(codes: str, look: _Look) -> _Look:
    """How text looks after one escape sequence; what we do not show is skipped."""
    numbers = [int(code) if code else 0 for code in re.split("[;:]", codes) if len(code) <= 3]
    while numbers:
        code = numbers.pop(0)
        if code in (38, 48):
            look = _painted(look, code // 10, _extended(numbers))
        elif code in _STYLES:
            look = replace(look, styles=look.styles | {_STYLES[code]})
        elif code in _ENDS:
            look = replace(look, styles=look.styles - set(_ENDS[code]))
        elif code == 0:
            look = _Look()
        elif code // 10 in (3, 4, 9, 10) and code % 10 in range(10):
            look = _painted(look, code // 10, _COLOURS[code % 10] if code % 10 < len(_COLOURS) else "")
    return look


def _painted(look: _Look, tens: int, colour: str) -> _Look:
    """3x and 9x are the colour of the text, 4x and 10x of its ground."""
    return replace(look, colour=colour) if tens in (3, 9) else replace(look, ground=colour)


def _extended(numbers: list[int]) -> str:
    """Consume `5;n` or `2;r;g;b`: the nearest of the eight colours, "" where it is none."""
    mode = numbers.pop(0) if numbers else 0
    wanted = 1 if mode == 5 else 3
    taken = numbers[:wanted]
    del numbers[:wanted]
    if len(taken) < wanted or mode not in (2, 5) or max(taken) > 255:
        return ""
    return _nearest(*taken) if mode == 2 else _of_256(taken[0])


def _of_256(number: int) -> str:
    if number < 16:
        return _COLOURS[number % 8]
    if number >= 232:
        return _nearest(*[(number - 232) * 10 + 8] * 3)
    red, rest = divmod(number - 16, 36)
    return _nearest(*(_CUBE[level] for level in (red, *divmod(rest, 6))))


def _nearest(red: int, green: int, blue: int) -> str:
    least, most = min(red, green, blue), max(red, green, blue)
    if most - least < _GREY_SPREAD:
        return "black" if most < 128 else "white"
    middle = (least + most) / 2
    return _COLOURS[(red > middle) + 2 * (green > middle) + 4 * (blue > middle)]
