"""Says in words what changed between two sets of run settings.

Used by the passes that open deployments and by the page's diff; pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.spec import ProjectSpec


def describe_change(before: Mapping[str, str], after: Mapping[str, str], spec: ProjectSpec) -> list[str]:
    """One clause per changed key: `run.memory 256m → 512m (projects/blog.yaml:9)`.

    Empty where `before` is empty: an adopted deployment's settings are known by digest alone.
    """
    if not before:
        return []
    clauses: list[str] = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, "unset"), after.get(key, "unset")
        if old != new:
            clauses.append(f"{key} {old} → {new}{_where(key, spec)}")
    return clauses


def _where(key: str, spec: ProjectSpec) -> str:
    place = spec.locations.get(key)
    return f" ({place.file}:{place.line})" if place else ""
