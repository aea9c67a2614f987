"""Small words that several commands print: ages, symbols of health, times."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.model.condition import Health
from reconciler.model.job import Job

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SYMBOLS: dict[Health, tuple[str, str]] = {
    Health.HEALTHY: ("●", "green"),
    Health.SUSPENDED: ("‖", "blue"),
    Health.PROGRESSING: ("◐", "cyan"),
    Health.UNKNOWN: ("?", "yellow"),
    Health.MISSING: ("○", "yellow"),
    Health.DEGRADED: ("▲", "red"),
}


def age(seconds: float) -> str:
    """`12s`, `4m`, `6h`, `2d`: the largest unit alone."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(int(seconds), 0)}s"


def duration(seconds: float) -> str:
    """`0.4s`, `31s`, `4m 10s`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    return f"{int(seconds // 60)}m {int(seconds % 60)}s"


def cache_use(build: Job) -> str:
    """`7/9 steps cached`; "" where no step was told."""
    return f"{build.cached}/{build.steps} steps cached" if build.steps else ""


def clock(at: float) -> str:
    """A moment in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of aligned columns; the last column is as long as it is, and never cut."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]


def as_json(value: object) -> str:
    """Frozen values as JSON, by the names of their fields."""
    return json.dumps(value, indent=2, default=_plain)


def plain_fields(value: DataclassInstance) -> dict[str, object]:
    """A frozen value by the names of its fields."""
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return plain_fields(value)
    return dict(value) if isinstance(value, Mapping) else str(value)
