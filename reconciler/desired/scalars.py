"""What one plain YAML scalar means, and which ones no two people read alike.

Called by `documents` alone. Pure. A scalar whose meaning depends on the reader (`no`, `22:22`, `0777`) is
refused with both ways to write it, so that nothing is guessed.
"""

from __future__ import annotations

import re

Scalar = str | int | float | bool | None

MAX_DIGITS = 15

_CONSTANTS: dict[str, Scalar] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_BOOLEAN_WORDS = {
    word: meaning
    for plain, meaning in {
        "yes": "true",
        "on": "true",
        "y": "true",
        "no": "false",
        "off": "false",
        "n": "false",
    }.items()
    for word in (plain, plain.capitalize(), plain.upper())
}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)\Z")
_AMBIGUOUS = (
    (re.compile(r"[-+]?0[0-7_]+\Z"), "an octal number by some YAML readers"),
    (re.compile(r"[-+]?0[0-9_]+\Z"), "a number with a leading zero"),
    (re.compile(r"[-+]?0(?:x[0-9a-fA-F_]+|b[01_]+|o[0-7]+)\Z"), "a hexadecimal, octal or binary number"),
    (re.compile(r"[-+]?[0-9][0-9_]*(?::[0-9][0-9_]?)+(?:\.[0-9_]*)?\Z"), "a number in base 60 by some YAML readers"),
    (re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?\Z"), "a number with separators by some YAML readers"),
    (
        re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+\Z"),
        "a number by some YAML readers, text by others",
    ),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?\Z"), "a date by some YAML readers"),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z"), "infinity"),
    (re.compile(r"\.(?:nan|NaN|NAN)\Z"), "not-a-number"),
    (re.compile(r"=\Z"), "a default value by some YAML readers"),
)
_NUMBER_START = frozenset("0123456789+-.=")


def read_plain(text: str) -> tuple[Scalar, str]:
    """(value, complaint) of a scalar without quotes or tag; a complaint of "" means it is unambiguous.

    Where there is a complaint the value is the text itself.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text], ""
    if text[0] not in _NUMBER_START:
        return (text, _word_complaint(text)) if text in _BOOLEAN_WORDS else (text, "")
    return _read_number(text)


def _read_number(text: str) -> tuple[Scalar, str]:
    if _INTEGER.match(text):
        if len(text.lstrip("+-")) > MAX_DIGITS:
            return text, f"a number of {len(text)} characters is too long: at most {MAX_DIGITS} digits are read"
        return int(text), ""
    if _DECIMAL.match(text):
        if len(text) > 2 * MAX_DIGITS:
            return text, f"a number of {len(text)} characters is too long: at most {2 * MAX_DIGITS} are read"
        return float(text), ""
    for pattern, meaning in _AMBIGUOUS:
        if pattern.match(text):
            return text, f'{shorten(text)} without quotes is {meaning}: write "{shorten(text)}" for the text'
    return text, ""


def _word_complaint(text: str) -> str:
    meaning = _BOOLEAN_WORDS[text]
    advice = f'write "{text}" for the text, or {meaning}'
    return f"{text} without quotes is the boolean {meaning} to some YAML readers: {advice}"


def shorten(text: str, limit: int = 60) -> str:
    """The text, cut in the middle of nowhere rather than flooding a message."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
