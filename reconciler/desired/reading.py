"""Walks the event stream of one YAML text and builds its value, noting the place of everything.

Called by `documents` alone. Pure. Depth, count, anchors, tags and duplicate keys are checked event by event
before anything is built, since libyaml's own composer crashes on deep nesting and expands alias bombs
(research/security.md row 30); no node is ever composed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from reconciler.desired.places import FORBIDDEN, Path, Place, character_name, diagnostic
from reconciler.desired.scalars import read_plain, shorten
from reconciler.model.spec import Diagnostic

MAX_DEPTH = 32
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels: no spec needs that"
MAX_VALUES = 10_000
MAX_PROBLEMS = 50

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Stop(Exception):
    """Nothing after this point of the file is worth reading; the problem is noted."""


@dataclass
class _Frame:
    """A mapping or list that is being filled; `key` is the key whose value comes next."""

    container: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None
    expects_key: bool = True


@dataclass
class Reading:
    """What is known of one file while its events go by; `is_whole` once all went by."""

    file: str
    lines: Sequence[str]
    places: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    numbers: dict[Path, str] = field(default_factory=dict)
    faulty: set[Path] = field(default_factory=set)
    problems: list[Diagnostic] = field(default_factory=list)
    stack: list[_Frame] = field(default_factory=list)
    root: Any = None
    documents: int = 0
    copies: int = 0
    is_whole: bool = False

    def complain(self, place: Place, message: str) -> None:
        self.problems.append(diagnostic(self.file, self.lines, place, message))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop

    def stop(self, place: Place, message: str) -> NoReturn:
        self.complain(place, message)
        raise _Stop

    def next_path(self) -> Path:
        if not self.stack:
            return ()
        frame = self.stack[-1]
        if isinstance(frame.container, list):
            return (*frame.path, len(frame.container))
        return (*frame.path, frame.key if frame.key is not None else "")

    def put(self, value: Any) -> None:
        if not self.stack:
            self.root = value
            return
        frame = self.stack[-1]
        if isinstance(frame.container, list):
            frame.container.append(value)
        else:
            frame.container[frame.key or ""] = value
            frame.expects_key = True


def read(file: str, text: str, lines: Sequence[str]) -> Reading:
    """Read `text`, whose lines are `lines`; what is wrong is in `problems`. Raises nothing."""
    reading = Reading(file, lines)
    events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
    try:
        for event in events:
            _HANDLERS[type(event)](reading, event)
    except _Stop:
        return reading
    except yaml.YAMLError as error:
        place, message = _syntax_error(error, lines)
        reading.problems.append(diagnostic(file, lines, place, message))
        return reading
    reading.is_whole = True
    return reading


def _place_of(event: Any) -> Place:
    start, end = event.start_mark, event.end_mark
    width = end.column - start.column if end.line == start.line else 1
    return Place(start.line + 1, start.column + 1, max(width, 1))


def _on_document(reading: Reading, event: Any) -> None:
    reading.documents += 1
    if reading.documents > 1:
        reading.stop(
            _place_of(event), "a second document begins here: one file is one document; make it a file of its own"
        )
    if event.version or event.tags:
        reading.complain(_place_of(event), "a % directive has no meaning here: remove it")


def _on_alias(reading: Reading, event: Any) -> None:
    reading.stop(_place_of(event), f"*{event.anchor} is a YAML alias: aliases are refused; write the value out")


def _begin(reading: Reading, event: Any, place: Place) -> Path | None:
    """Note the value that begins here; None where the event stands in the place of a key."""
    if len(reading.places) + len(reading.keys) > MAX_VALUES:
        reading.stop(place, f"the file holds more than {MAX_VALUES} keys and values: a spec is a few lines")
    if event.anchor:
        reading.complain(
            place, f"&{event.anchor} is a YAML anchor: anchors are refused; write the value out where it is used"
        )
    if getattr(event, "tag", None):
        reading.complain(place, f"tag {shorten(event.tag)} is refused: write the value without a tag")
    if reading.stack and isinstance(reading.stack[-1].container, dict) and reading.stack[-1].expects_key:
        return None
    path = reading.next_path()
    reading.places[path] = place
    return path


def _on_scalar(reading: Reading, event: Any) -> None:
    place = _place_of(event)
    path = _begin(reading, event, place)
    text = event.value
    value, complaint = read_plain(text) if event.implicit[0] else (text, "")
    bad = FORBIDDEN.search(text)
    if bad:
        complaint = f"{character_name(bad.group())} is refused in a text: remove its escape"
    if path is None:
        if not isinstance(value, str):
            complaint = f'{shorten(text)} is no word, and a key is one: write "{shorten(text)}" in quotes'
        _on_key(reading, place, text, complaint)
        return
    if complaint:
        reading.complain(place, complaint)
        reading.faulty.add(path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        reading.numbers[path] = text
    reading.put(value)


def _on_key(reading: Reading, place: Place, key: str, complaint: str) -> None:
    frame = reading.stack[-1]
    path = (*frame.path, key)
    if not key:
        complaint = "a key is missing before this colon"
    if key == "<<":
        complaint = "<< is a YAML merge key: merge keys are refused; write the keys out"
    earlier = reading.keys.get(path)
    if earlier is not None:
        complaint = f'"{shorten(key)}" stands twice, first at {reading.file}:{earlier.line}:{earlier.column}: keep one'
        reading.copies += 1
        path = (*frame.path, f"{key}\0{reading.copies}")
    if complaint:
        reading.complain(place, complaint)
        reading.faulty.add(path)
    reading.keys[path] = place
    frame.key, frame.expects_key = str(path[-1]), False


def _on_collection(reading: Reading, event: Any) -> None:
    place = _place_of(event)._replace(width=1)
    path = _begin(reading, event, place)
    if path is None:
        reading.stop(place, "a list or mapping stands in the place of a key: a key is a word")
    if len(reading.stack) >= MAX_DEPTH:
        reading.stop(place, _TOO_DEEP)
    container: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
    reading.put(container)
    reading.stack.append(_Frame(container, path))


def _on_end(reading: Reading, _event: Any) -> None:
    frame = reading.stack.pop()
    if isinstance(frame.container, dict):
        for key in [key for key in frame.container if "\0" in key]:
            del frame.container[key]


def _ignore(_reading: Reading, _event: Any) -> None:
    """Events that carry nothing."""


_HANDLERS: dict[type, Any] = {
    yaml.StreamStartEvent: _ignore,
    yaml.StreamEndEvent: _ignore,
    yaml.DocumentStartEvent: _on_document,
    yaml.DocumentEndEvent: _ignore,
    yaml.AliasEvent: _on_alias,
    yaml.ScalarEvent: _on_scalar,
    yaml.SequenceStartEvent: _on_collection,
    yaml.MappingStartEvent: _on_collection,
    yaml.SequenceEndEvent: _on_end,
    yaml.MappingEndEvent: _on_end,
}


def _syntax_error(error: yaml.YAMLError, lines: Sequence[str]) -> tuple[Place, str]:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
    problem = getattr(error, "problem", None) or "the text is not YAML"
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return place, "a tab indents this line: YAML is indented with spaces only"
    if "maximum nesting depth" in problem:  # newer parsers have a limit of their own, and meet it first
        return place, _TOO_DEEP
    advice = _ADVICE.get(problem, "")
    context = getattr(error, "context", None)
    where = f", {context}" if context and not advice else ""
    return place, f"not YAML: {problem}{where}{advice}"


_ADVICE = {
    "mapping values are not allowed in this context": (
        ' (a text that holds ": " needs quotes, and keys need equal indentation)'
    ),
    "could not find expected ':'": ' (a key is written "key: value", with a space after the colon)',
    "found unexpected end of stream": " (a quote or bracket is not closed)",
    "found character that cannot start any token": " (a text that begins with @, ` or % needs quotes)",
}
