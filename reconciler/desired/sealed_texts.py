"""Finds the sealed values of a YAML file, and puts others in their place without touching anything else.

Called by `bootstrap.sealing`. Pure; opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.desired.documents import Document, parse
from reconciler.desired.places import Path
from reconciler.model.spec import Diagnostic, Location

_SEALED = re.compile(r"age:[A-Za-z0-9+/]+={0,2}\Z")
_REWRITE = "this sealed value is written over several lines or with escapes: put it on one, as it was printed"
_BEFORE_TEXT = re.compile(r"""[|>][^\n]*\n\s*|["']""")


@dataclass(frozen=True)
class SealedText:
    """One sealed value: where it stands, and the offset of its first character in the decoded file."""

    text: str
    location: Location
    offset: int


def find_sealed(file: str, data: bytes) -> tuple[tuple[SealedText, ...], tuple[Diagnostic, ...]]:
    """All sealed values in the order of the file, and what keeps one from being told. Raises nothing."""
    parsed = parse(file, data)
    if parsed.document is None or parsed.diagnostics:
        return (), parsed.diagnostics
    content = data.decode()
    found: list[SealedText] = []
    problems: list[Diagnostic] = []
    for path, text in _texts(parsed.document.value, ()):
        if not _SEALED.match(text):
            continue
        location = parsed.document.location(path)
        offset = _offset(parsed.document, path, content)
        before = _BEFORE_TEXT.match(content, offset)
        begin = before.end() if before else offset
        if content.startswith(text, begin):
            found.append(SealedText(text, location, begin))
        else:
            problems.append(Diagnostic(location, _REWRITE))
    return tuple(sorted(found, key=lambda each: each.offset)), tuple(problems)


def replace_sealed(data: bytes, texts: Mapping[SealedText, str]) -> bytes:
    """The file with each of its sealed values replaced; every other byte is as it was."""
    content = data.decode()
    for sealed in sorted(texts, key=lambda each: each.offset, reverse=True):
        content = content[: sealed.offset] + texts[sealed] + content[sealed.offset + len(sealed.text) :]
    return content.encode()


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _texts(each, (*path, index))


def _offset(document: Document, path: Path, content: str) -> int:
    """Where the value of `path` begins: at its quote, or at the mark of a block."""
    place = document.place(path)
    before = len("\n".join(content.split("\n")[: place.line - 1])) + (place.line > 1)
    return before + place.column - 1 + (place.line == 1 and content.startswith("\ufeff"))
