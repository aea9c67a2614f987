"""Turns the bytes of one YAML file into a value with the place of every key, or says what is wrong.

Called by `validation` (and by whoever reads `host.yaml`). Pure. Checks here what can be told from the raw
bytes (size, encoding, invisible characters); `reading` checks the rest event by event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.desired.places import FORBIDDEN, Path, Place, character_name, diagnostic
from reconciler.desired.reading import read
from reconciler.model.spec import Diagnostic, Location

MAX_BYTES = 256 * 1024

_LONE_RETURN = re.compile(r"\r(?!\n)")
_WIDE = re.compile(rb"\0[^\0]\0[^\0]|[^\0]\0[^\0]\0|\0\0\0[^\0]|[^\0]\0\0\0")
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class Document:
    """`value` is plain dicts, lists, texts, numbers, booleans and None.

    `places` has the place of every value, `keys` that of every key of a mapping, both by path.
    `numbers` is how a number was written ("1.10"). `faulty` are paths that a problem was already told of.
    """

    file: str
    value: Any
    places: Mapping[Path, Place]
    keys: Mapping[Path, Place]
    numbers: Mapping[Path, str]
    faulty: frozenset[Path]
    lines: Sequence[str]

    def location(self, path: Path) -> Location:
        """Where the value of `path` stands; of the nearest parent that exists where it does not."""
        place = self.place(path)
        return Location(self.file, place.line, place.column)

    def place(self, path: Path) -> Place:
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))

    def diagnostic(self, place: Place, message: str) -> Diagnostic:
        return diagnostic(self.file, self.lines, place, message)


@dataclass(frozen=True)
class Parsed:
    """`document` is None where no value can be told; there are diagnostics then."""

    document: Document | None
    diagnostics: tuple[Diagnostic, ...] = ()


def parse(file: str, data: bytes) -> Parsed:
    """Read one YAML document; `data` may be cut after `MAX_BYTES` + 1 bytes. Raises nothing."""
    complaint = _unreadable(data)
    if complaint is not None:
        return Parsed(None, (Diagnostic(Location(file), complaint),))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Parsed(None, (_not_utf8(file, data, error.start),))
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    bad = FORBIDDEN.search(text) or _LONE_RETURN.search(text)
    if bad:
        return Parsed(None, (_forbidden(file, text, lines, bad.start()),))
    return _read(file, text, lines)


def _unreadable(data: bytes) -> str | None:
    if len(data) > MAX_BYTES:
        return f"the file is larger than {MAX_BYTES // 1024} KiB: a spec is a few lines; put data elsewhere"
    if data.startswith(_LFS_POINTER):
        return "the file is a Git LFS pointer, not YAML: keep specs out of LFS (git lfs untrack)"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or _WIDE.match(data):
        return "the file is UTF-16 or UTF-32: save it as UTF-8"
    return None


def _not_utf8(file: str, data: bytes, offset: int) -> Diagnostic:
    before = data[:offset].decode("utf-8", "replace").removeprefix("\ufeff")
    lines = data.decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
    place = _place_at(before, len(before))
    return diagnostic(file, lines, place, f"byte 0x{data[offset]:02x} is not UTF-8: save the file as UTF-8")


def _forbidden(file: str, text: str, lines: Sequence[str], offset: int) -> Diagnostic:
    name = character_name(text[offset])
    message = f"{name} is refused in a spec, since nobody can see it: remove it"
    return diagnostic(file, lines, _place_at(text, offset), message)


def _place_at(text: str, offset: int) -> Place:
    line = text.count("\n", 0, offset) + 1
    return Place(line, offset - (text.rfind("\n", 0, offset) + 1) + 1)


def _read(file: str, text: str, lines: Sequence[str]) -> Parsed:
    reading = read(file, text, lines)
    if not reading.is_whole:
        return Parsed(None, tuple(reading.problems))
    if not reading.documents:
        return Parsed(None, (diagnostic(file, lines, Place(1, 1), "the file is empty"),))
    document = Document(
        file, reading.root, reading.places, reading.keys, reading.numbers, frozenset(reading.faulty), lines
    )
    return Parsed(document, tuple(reading.problems))
