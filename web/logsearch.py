"""Finds text in a build log, a bounded stretch at a time.

Called by the deployment's page. Colours do not hide a match, nor does the case of letters. What is not looked
at in one answer is looked at in the next: an answer takes no longer for a log of a million lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.history.logs import LogLine, LogReader
from reconciler.model.release import Deployment
from reconciler.model.terminal import plain

LONGEST_TEXT = 200
MOST_HITS = 100
MOST_LOOKED_AT = 300_000
_AT_ONCE = 1000
_LONGEST_SHOWN = 1000


@dataclass(frozen=True)
class Hit:
    """A line with the text in it; `pieces` are its plain text, each True where it is what was looked for."""

    line: LogLine
    pieces: tuple[tuple[bool, str], ...]


@dataclass(frozen=True)
class Found:
    """`hits` behind line `after` up to line `looked_to`; `has_more`: there are lines beyond it."""

    text: str
    hits: tuple[Hit, ...]
    after: int
    looked_to: int
    has_more: bool


def search(
    logs: LogReader, deployment: Deployment, text: str, *, after: int = 0, at_most: int = MOST_LOOKED_AT
) -> Found:
    """The next hits behind line `after`, looking at so many lines `at_most`. Raises StoreBusy, StoreUnusable."""
    needle = text.lower()
    hits: list[Hit] = []
    looked_to = after
    while looked_to - after < at_most:
        lines = logs.read(deployment.project, deployment.number, after=looked_to, limit=_AT_ONCE)
        for line in lines:
            if needle in (shown := _shown(line)).lower():
                hits.append(Hit(line, tuple(_pieces(shown, needle))))
                if len(hits) == MOST_HITS:
                    return Found(text, tuple(hits), after, line.number, has_more=True)
        if len(lines) < _AT_ONCE:
            return Found(text, tuple(hits), after, lines[-1].number if lines else looked_to, has_more=False)
        looked_to = lines[-1].number
    return Found(text, tuple(hits), after, looked_to, has_more=True)


def _shown(line: LogLine) -> str:
    return line.text if line.text.isprintable() else plain(line.text)


def _pieces(shown: str, needle: str) -> Iterator[tuple[bool, str]]:
    """A long line is cut around its first match."""
    lower = shown.lower()
    if len(lower) != len(shown):
        yield False, shown[:_LONGEST_SHOWN]
        return
    at = max(lower.find(needle) - _LONGEST_SHOWN // 2, 0)
    end = at + _LONGEST_SHOWN
    if at:
        yield False, "… "
    while (hit := lower.find(needle, at, end)) >= 0:
        yield from ((False, shown[at:hit]), (True, shown[hit : hit + len(needle)]))
        at = hit + len(needle)
    yield False, shown[at:end] + (" …" if len(shown) > end else "")
