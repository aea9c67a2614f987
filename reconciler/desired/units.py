"""Durations and sizes as people write them, and back.

Called by `rules`, `resolution` and whoever prints a spec. Pure. Durations are seconds, sizes are bytes.
"""

from __future__ import annotations

import re

DURATION = re.compile(r"(0|[1-9][0-9]{0,8})(ms|s|m|h)\Z")
SIZE = re.compile(r"([1-9][0-9]{0,9})([kmg])\Z")

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"k": 1024, "m": 1024**2, "g": 1024**3}


def parse_duration(text: str) -> float:
    """Seconds of "500ms", "30s", "20m", "24h"; ValueError for anything else."""
    match = DURATION.match(text)
    if not match:
        raise ValueError(f"{text!r} is not a duration")
    number, unit = int(match[1]), match[2]
    return number / 1000 if unit == "ms" else number * _SECONDS[unit]


def parse_size(text: str) -> int:
    """Bytes of "512k", "256m", "1g"; ValueError for anything else."""
    match = SIZE.match(text)
    if not match:
        raise ValueError(f"{text!r} is not a size")
    return int(match[1]) * _BYTES[match[2]]


def format_size(size_bytes: int) -> str:
    """The shortest text that `parse_size` reads back as `size_bytes`; plain bytes where there is none."""
    for unit in ("g", "m", "k"):
        whole, rest = divmod(size_bytes, _BYTES[unit])
        if whole and not rest:
            return f"{whole}{unit}"
    return str(size_bytes)
