"""Prints diagnostics for people and for programs.

Called by `gitstead validate`, the web and comments on pull requests. Pure. Nothing invisible from a file
reaches a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.desired.places import FORBIDDEN
from reconciler.model.spec import Diagnostic

_BEFORE, _AFTER = 60, 40
_INVISIBLE = re.compile(f"{FORBIDDEN.pattern}|[\t\r\n]")


def render_diagnostics(
    diagnostics: Sequence[Diagnostic], total_projects: int, *, notes: Sequence[Diagnostic] = ()
) -> str:
    """The text of `gitstead validate`: each problem with its line and a mark, notes, then the count."""
    width = max((len(str(each.location)) for each in (*diagnostics, *notes)), default=0) + 2
    lines = [line for each in diagnostics for line in _block(each, width, "")]
    lines += [line for each in notes for line in _block(each, width, "note: ")]
    return "\n".join([*lines, _count(diagnostics, total_projects)]) + "\n"


def as_json(
    diagnostics: Sequence[Diagnostic], total_projects: int, *, notes: Sequence[Diagnostic] = ()
) -> dict[str, object]:
    """The same facts as plain values, ready for `json.dumps`."""
    bad = {each.project for each in diagnostics if each.project}
    return {
        "valid": not diagnostics,
        "projects": total_projects,
        "invalid_projects": sorted(bad),
        "problems": [_plain(each) for each in diagnostics],
        "notes": [_plain(each) for each in notes],
    }


def _plain(each: Diagnostic) -> dict[str, object]:
    return {
        "file": each.location.file,
        "line": each.location.line,
        "column": each.location.column,
        "width": each.width,
        "message": each.message,
        "project": each.project,
        "excerpt": each.excerpt[:500],
    }


def _block(each: Diagnostic, width: int, kind: str) -> list[str]:
    lines = [f"{_visible(str(each.location)):<{width}}{kind}{_visible(each.message)}"]
    if not each.excerpt.strip():
        return lines
    text, start, mark = _window(each)
    number = str(each.location.line)
    indent = " " * (width + 2)
    return [
        *lines,
        f"{indent}{number} | {text}",
        f"{indent}{' ' * len(number)} | {' ' * start}{'^' * mark}",
    ]


def _window(each: Diagnostic) -> tuple[str, int, int]:
    """(the part of the line that is shown, where the mark begins in it, how long it is)."""
    column = each.location.column - 1
    first = 0 if column <= _BEFORE else column - _BEFORE // 2
    last = max(column + min(each.width, _AFTER), first + _BEFORE + _AFTER)
    text = each.excerpt[first:last]
    start = column - first + bool(first)
    mark = max(1, min(each.width, last - column))
    return f"{'…' if first else ''}{_visible(text)}{'…' if last < len(each.excerpt) else ''}".rstrip(), start, mark


def _visible(text: str) -> str:
    return _INVISIBLE.sub(lambda match: " " if match.group() == "\t" else "�", text)


def _count(diagnostics: Sequence[Diagnostic], total: int) -> str:
    bad = {each.project for each in diagnostics if each.project}
    in_projects = sum(1 for each in diagnostics if each.project)
    elsewhere = len(diagnostics) - in_projects
    if not diagnostics:
        return f"{_plural(total, 'project')} {'is' if total == 1 else 'are'} fine."
    parts = []
    if elsewhere:
        parts.append(f"{_plural(elsewhere, 'problem')} of the platform")
    if in_projects:
        parts.append(f"{_plural(in_projects, 'problem')} in {len(bad)} of {_plural(total, 'project')}")
    rest = total - len(bad)
    text = ", ".join(parts) + "."
    return f"{text} The other {f'{rest} are' if rest != 1 else 'one is'} fine." if bad and rest > 0 else text


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
