"""Liveness and ages, in a small file on tmpfs that is replaced atomically at each look.

Written by `loop.worker`, read by web and CLI, so it knows `model` alone. Never in the store, since a
pass with nothing to do writes nothing there (invariant 11).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from reconciler.model.desired import Desired
from reconciler.model.observed import Observed


class Heartbeat:
    """`beats` counts what was written since the start."""

    def __init__(self, path: Path, *, instance: str) -> None:
        self._path, self._instance = path, instance
        self._git_checked_at = 0.0
        self.beats = 0
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)

    def git_checked(self, at: float) -> None:
        """A repository answered at `at`, with news or without."""
        self._git_checked_at = max(at, self._git_checked_at)

    def beat(self, desired: Desired, observed: Observed) -> None:
        """Say that the world was looked at just now, and what did not answer."""
        self._write(
            {
                "pid": os.getpid(),
                "instance": self._instance,
                "at": observed.at,
                "looked_at": observed.at,
                "revision": desired.revision,
                "git_checked_at": self._git_checked_at,
                "git": desired.problem,
                "engine": "" if observed.engine is not None else observed.engine_problem,
                "caddy": "" if observed.routes is not None else observed.caddy_problem,
                "diagnostics": [
                    {"where": str(each.location), "message": each.message, "project": each.project}
                    for each in desired.diagnostics
                ],
            }
        )

    def alive(self, at: float) -> None:
        """Between looks: only `at` moves on."""
        if (values := read_heartbeat(self._path)) is not None:
            self._write({**values, "at": at, "git_checked_at": self._git_checked_at})

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def _write(self, values: dict[str, object]) -> None:
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(values))
        temporary.chmod(0o644)
        temporary.replace(self._path)
        self.beats += 1


def read_heartbeat(path: Path) -> dict[str, object] | None:
    """The last beat, None where there is none or it cannot be read."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None
