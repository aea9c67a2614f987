"""Says run settings, and what changed between two sets of them, in the words of the spec.

Used by the passes that open deployments and by the page's diff; pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.spec import ProjectSpec


def describe_change(before: Mapping[str, str], after: Mapping[str, str], spec: ProjectSpec) -> list[str]:
    """One line for each key that differs, e.g. `run.memory 256m → 512m (projects/blog.yaml:9)`.

    Both map the spec's dotted keys to printable values; `before` is empty for an adopted deployment, whose
    settings are known by digest alone. A key that the spec does not write has no place: it comes from the
    platform's defaults or was taken out.
    """
    if not before:
        return []
    lines = []
    for key in [*after, *(key for key in before if key not in after)]:
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        place = spec.locations.get(key)
        where = f" ({place.file}:{place.line})" if place else ""
        lines.append(f"{key} {_word(old)} → {_word(new)}{where}")
    return lines


def _word(text: str | None) -> str:
    if text is None:
        return "unset"
    return text if text else '""'


def size(size_bytes: int) -> str:
    """As a spec writes it: `1g`, `64m`; what is no whole number of MiB in bytes."""
    for unit, letter in ((2**30, "g"), (2**20, "m")):
        if size_bytes and size_bytes % unit == 0:
            return f"{size_bytes // unit}{letter}"
    return f"{size_bytes} bytes"
