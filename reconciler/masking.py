"""The one place that hides secrets: replaces known values in text before it is kept or shown.

Called by the build log, the journal, the program's own log and whoever prints what an outside system said. It
must not store, print or compare the values in any other way, and no error of its own names one.
"""

from __future__ import annotations

import base64
import json
import math
import re
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from reconciler.errors import SpecInvalid

MASK = "[masked]"
SHORTEST = 4
_SHORTEST_SHIFTED = 8
_WRAPPED_AT = (64, 76)  # where programs break base64 into lines
# A text is looked at in each fourth place, four characters at a time: a form of seven holds one such piece whole.
_PIECE = 8
_SHORTEST_FOUND_BY_PIECE = 2 * _PIECE - 1


class Masker:
    """Hides secrets in every form that programs commonly print them in. Safe from any thread.

    Raises SpecInvalid for a secret of fewer than 4 characters: hiding it would hide half the text.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._forms: set[str] = set()
        self._short: tuple[str, ...] = ()
        self._by_piece: dict[str, list[str]] = {}
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """From now on hide these too. Raises SpecInvalid for one that is too short; then none is added."""
        found = {form for secret in secrets for form in forms(secret)}
        with self._lock:
            for form in found - self._forms:
                if len(form) < _SHORTEST_FOUND_BY_PIECE:
                    self._short += (form,)
                    continue
                for piece in {form[at : at + _PIECE] for at in range(_PIECE)}:
                    self._by_piece.setdefault(piece, []).append(form)
            self._forms |= found

    @property
    def known(self) -> int:
        """How many forms are hidden: what was masked while this was the same needs no masking again."""
        return len(self._forms)

    def mask(self, text: str, *, torn_start: bool = False, torn_end: bool = False) -> str:
        """`text` with every known secret replaced by `[masked]`.

        Where the text was cut off from more at its start or end, what may be the rest or the beginning of a secret
        there is hidden too.
        """
        if not self._forms:
            return text
        held = self._held_by(text)
        spans = [span for form in held for span in _spans(text, form)] if held else []
        if torn_start or torn_end:
            spans += self._torn(text, start=torn_start, end=torn_end)
        return _without(text, spans) if spans else text

    def mask_values(self, value: Any) -> Any:
        """A text, or a list, tuple or mapping of such, with every text masked; keys and all else stay as they are."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, Mapping):
            return {key: self.mask_values(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.mask_values(each) for each in value)
        return value

    def _held_by(self, text: str) -> set[str]:
        """The forms that stand in the text. One look at a text without any costs a microsecond or two."""
        pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
        likely: Iterable[str] = self._short
        if not self._by_piece.keys().isdisjoint(pieces):
            likely = {*likely, *(form for piece in pieces for form in self._by_piece.get(piece, ()))}
        return {form for form in likely if form in text} if likely else set()

    def _torn(self, text: str, *, start: bool, end: bool) -> Iterator[tuple[int, int]]:
        with self._lock:
            known = tuple(self._forms)
        for form in known:
            if start and end and text in form:
                yield 0, len(text)
            if end:
                yield _tail(text, form), len(text)
            if start:
                head = text[: len(form) - 1]
                yield 0, len(head) - _tail(head[::-1], form[::-1])


class PieceMasker:
    """Masks texts that came apart wherever a program, a pipe or a limit broke them, a secret in the middle included.

    For one thread. Pieces of one origin (a stream, a step) are handed in in their order.
    """

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._torn: set[Hashable] = set()

    def is_torn(self, origin: Hashable) -> bool:
        """Whether what comes next of that origin goes on with a line."""
        return origin in self._torn

    def mask(self, text: str, *, origin: Hashable, ends: bool) -> str:
        """The piece, masked; `ends` says whether it ends where its line does."""
        torn_start = origin in self._torn
        (self._torn.discard if ends else self._torn.add)(origin)
        return self._masker.mask(text, torn_start=torn_start, torn_end=not ends)


def _spans(text: str, form: str) -> Iterator[tuple[int, int]]:
    at = text.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = text.find(form, at + 1)


def _tail(text: str, form: str) -> int:
    """Where the longest end of the text begins that is the beginning of `form`, and less than all of it."""
    at = text.find(form[0], max(len(text) - len(form) + 1, 0))
    while at >= 0 and not form.startswith(text[at:]):
        at = text.find(form[0], at + 1)
    return at if at >= 0 else len(text)


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    """Spans that overlap are hidden as one, so that no end of either shows."""
    parts: list[str] = []
    shown_from = hidden_to = 0
    for begin, end in sorted(spans):
        if begin == end:
            continue
        if begin >= hidden_to:
            parts += (text[shown_from:begin], MASK)
        hidden_to = shown_from = max(hidden_to, end)
    return "".join(parts) + text[shown_from:]


def forms(secret: str) -> frozenset[str]:
    """The spellings of one secret: itself, each of its lines, and both in base64, URL and JSON form.

    Raises SpecInvalid where it has fewer than 4 characters.
    """
    if len(secret.strip()) < SHORTEST:
        raise SpecInvalid(
            f"a secret has {len(secret.strip())} characters",
            expected=f"at least {SHORTEST}, since a shorter one cannot be hidden in logs",
            remedy="Choose a longer value and seal it again",
        )
    lines = (line.strip() for line in secret.splitlines())
    values = {secret, secret.strip(), *(line for line in lines if len(line) >= SHORTEST)}
    return frozenset(form for value in values for form in _spellings(value) if len(form) >= SHORTEST)


def _spellings(value: str) -> Iterator[str]:
    yield value
    yield repr(value)[1:-1]
    yield from _base64(value.encode("utf-8", "surrogateescape"))
    for quoted in (quote(value, safe="", errors="replace"), quote(value, errors="replace"), _plus(value)):
        yield quoted
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)
    for ascii_only in (True, False):
        in_json = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield in_json
        yield in_json.replace("/", "\\/")
        yield in_json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")  # as Go writes it


def _plus(value: str) -> str:
    return quote_plus(value, errors="replace")


def _base64(value: bytes) -> Iterator[str]:
    """Whole, wrapped, and the part that stays the same when the secret stands inside a longer text."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(value).decode()
        yield whole
        yield whole.rstrip("=")
        for width in _WRAPPED_AT:
            yield from (each for each in _wrapped(whole, width) if len(each) >= _SHORTEST_SHIFTED)
        for before in range(3):
            shifted = encode(bytes(before) + value).decode()
            inner = shifted[math.ceil(before * 8 / 6) : (before + len(value)) * 8 // 6]
            if len(inner) >= _SHORTEST_SHIFTED:
                yield inner


def _wrapped(text: str, width: int) -> list[str]:
    return [text[at : at + width] for at in range(0, len(text), width)]
