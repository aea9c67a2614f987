"""Which version of a language a project asks for, in the spellings that people use.

Read by `desired.dockerfiles` (which public image) and by `apply.build` (whether the base image has it). Pure.
A text that says nothing usable ("stable", "lts/*") asks for nothing: every version fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# A newer one of these builds what an older one was asked for: a plain version is the least that will do.
MINIMUM_LANGUAGES = frozenset({"go", "rust", "java"})

_LTS_NAMES = {"lts/hydrogen": "18", "lts/iron": "20", "lts/jod": "22", "lts/krypton": "24"}
_PART = re.compile(
    r"(?P<sign>>=|<=|==|!=|~=|~>|>|<|=|~|\^)?\s*"
    r"(?P<prefix>[A-Za-z]+-?)?(?P<number>\d{1,6}(?:\.\d{1,6}){0,3})(?P<wild>\.(?:x|X|\*))?(?P<tail>[A-Za-z+-][\w.+-]*)?"
)

Number = tuple[int, ...]


def number(text: str) -> Number:
    """The first dotted number of a text: `(3, 11, 2)`; empty where there is none."""
    match = re.search(r"\d{1,6}(?:\.\d{1,6}){0,3}", text)
    return tuple(int(each) for each in match[0].split(".")) if match else ()


def fits(asked: str, had: str, *, language: str) -> bool:
    """Whether the version `had` ("3.11" or "3.11.2") is one that `asked` means (">=3.10,<4", "^20", "20.x", "1.22").

    `||` separates alternatives. Only as many parts are compared as both have.
    """
    version = number(had)
    if not version:
        return True
    text = _LTS_NAMES.get(asked.strip().lower(), asked)
    return any(
        all(_holds(part, version, is_minimum=language in MINIMUM_LANGUAGES) for part in _PART.finditer(alternative))
        for alternative in re.split(r"\|\|?", text)
    )


def newest_fitting(asked: str, versions: Iterable[str], *, language: str) -> str:
    """The first of `versions` (newest first) that fits, "" where none does."""
    return next((each for each in versions if fits(asked, each, language=language)), "")


def _holds(part: re.Match[str], version: Number, *, is_minimum: bool) -> bool:
    wanted = tuple(int(each) for each in part["number"].split("."))
    size = min(len(wanted), len(version))
    left, right = version[:size], wanted[:size]
    sign = part["sign"] or (">=" if is_minimum else "=")
    if part["wild"] and sign not in ("!=", "<", "<=", ">", ">="):
        return left == right
    return _compare(sign, left, right, wanted)


def _compare(sign: str, left: Number, right: Number, wanted: Number) -> bool:
    if sign in (">=", ">"):
        # Whether 3.11.x is above 3.11.4 cannot be told from "3.11": it may be.
        return left >= right if sign == ">=" or len(right) < len(wanted) else left > right
    if sign == "<=":
        return left <= right
    if sign == "<":
        return left < right or (left == right and len(right) < len(wanted))
    if sign == "!=":
        return left != right or len(right) < len(wanted)
    if sign == "^":
        fixed = 1 if wanted[0] else 2
        return left >= right and left[:fixed] == right[:fixed]
    if sign in ("~=", "~>", "~"):
        fixed = max(1, len(wanted) - 1)
        return left >= right and left[:fixed] == right[:fixed]
    return left == right
