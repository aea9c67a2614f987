"""The one place that hides secrets: replaces known values in text before it is kept or shown.

Called by the build log, the journal and whoever prints what an outside system said. It must not
store, print or compare the values in any other way, and no error of its own names one.
"""

from __future__ import annotations

import base64
import json
import math
import re
import threading
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from reconciler.errors import SpecInvalid

MASK = "[masked]"
SHORTEST = 4
_SHORTEST_SHIFTED = 8


class Masker:
    """Hides secrets in every form that programs commonly print them in. Safe from any thread.

    Raises SpecInvalid for a secret of fewer than 4 characters: hiding it would hide half the text.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """From now on hide these too. Raises SpecInvalid for one that is too short; then none is added."""
        found = {form for secret in secrets for form in forms(secret)}
        with self._lock:
            if found <= self._forms:
                return
            self._forms |= found
            longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    @property
    def known(self) -> int:
        """How many forms are hidden: what was masked while this was the same needs no masking again."""
        return len(self._forms)

    def mask(self, text: str) -> str:
        """`text` with every known secret replaced by `[masked]`."""
        pattern = self._pattern
        return pattern.sub(MASK, text) if pattern else text


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
    yield from _base64(value.encode("utf-8", "surrogateescape"))
    for quoted in (quote(value, safe="", errors="replace"), quote(value, errors="replace"), _plus(value)):
        yield quoted
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)
    for ascii_only in (True, False):
        in_json = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield in_json
        yield in_json.replace("/", "\\/")


def _plus(value: str) -> str:
    return quote_plus(value, errors="replace")


def _base64(value: bytes) -> Iterator[str]:
    """Whole, and the part that stays the same when the secret stands inside a longer text."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(value).decode()
        yield whole
        yield whole.rstrip("=")
        for before in range(3):
            shifted = encode(bytes(before) + value).decode()
            inner = shifted[math.ceil(before * 8 / 6) : (before + len(value)) * 8 // 6]
            if len(inner) >= _SHORTEST_SHIFTED:
                yield inner
