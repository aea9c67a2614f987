"""What programs printed and strangers wrote, made harmless and honest to look at.

Used by the CLI before text reaches a terminal, and by the web before it reaches a page. Pure. Only colours can
be kept; what moves the cursor or rings is left out, every other hidden character becomes a visible sign.
"""

from __future__ import annotations

import re

SGR = re.compile(r"\x1b\[([0-9;:]{0,32})m")
"""Colour and style; the group holds its numbers."""

_SILENT = re.compile(r"\x1b\[[0-9;:?<=>!]{0,32}[ -/]?[@-ln-~]")
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]")


def visible(text: str) -> str:
    """`text` with control and direction characters shown as signs; newline and tab stay."""
    return _HIDDEN.sub(_sign, text)


def still(line: str) -> str:
    """One line without its newline and without what moves the cursor, erases or switches modes."""
    return _SILENT.sub("", line.rstrip("\r\n"))


def plain(line: str) -> str:
    """One line without colours, safe to print anywhere."""
    return visible(SGR.sub("", still(line)))


def coloured(line: str) -> str:
    """One line with its colours and nothing else that a terminal obeys; it ends in plain style."""
    line, parts, at = still(line), [], 0
    for match in SGR.finditer(line):
        parts += [visible(line[at : match.start()]), match[0]]
        at = match.end()
    return "".join([*parts, visible(line[at:]), "\x1b[0m" if parts else ""])


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"\u2039U+{code:04X}\u203a"
