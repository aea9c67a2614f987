"""Whether the reconciler runs, and when it last looked: its `heartbeat.json`, read with distrust.

Called by the pages, the API and the poller. It never waits, writes or asks a process.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

FRESH_S = 90.0
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Complaint:
    """A problem of a spec at the platform's revision; `where` is `file:line:column`, `project` "" = the platform."""

    where: str
    message: str
    project: str = ""


@dataclass(frozen=True)
class Heartbeat:
    """`problem` says why there is none to go by, "" where it is fresh. Times are Unix seconds, 0 = never.

    `git` (the platform repository), `engine` and `caddy` are what is wrong with them, "" = fine.
    """

    problem: str = ""
    at: float = 0.0
    looked_at: float = 0.0
    revision: str = ""
    git_checked_at: float = 0.0
    git: str = ""
    engine: str = ""
    caddy: str = ""
    diagnostics: tuple[Complaint, ...] = ()

    @property
    def is_fresh(self) -> bool:
        return not self.problem

    @property
    def without_ages(self) -> Heartbeat:
        """Equal for two heartbeats that would be told in the same words, ages apart."""
        return replace(self, at=0.0, looked_at=0.0, git_checked_at=0.0)


def read(path: Path, *, now: float) -> Heartbeat:
    """The heartbeat at `path`; one that is missing, damaged or older than 90 s carries its `problem`."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_BYTES))
        beat = _parsed(found)
    except FileNotFoundError:
        return Heartbeat(problem="it has left no heartbeat")
    except OSError as error:
        return Heartbeat(problem=f"its heartbeat {path} cannot be read: {error.strerror}")
    except (ValueError, TypeError, AttributeError, RecursionError):
        return Heartbeat(problem=f"its heartbeat {path} is damaged")
    if now - beat.at > FRESH_S:
        return replace(beat, problem=f"its last heartbeat is older than {FRESH_S:g} s")
    return beat


def _parsed(found: dict[str, object]) -> Heartbeat:
    diagnostics = found.get("diagnostics") or []
    if not isinstance(diagnostics, list):
        raise TypeError("diagnostics is not a list")
    return Heartbeat(
        at=_time(found.get("at")),
        looked_at=_time(found.get("looked_at")),
        revision=str(found.get("revision") or ""),
        git_checked_at=_time(found.get("git_checked_at")),
        git=str(found.get("git") or ""),
        engine=str(found.get("engine") or ""),
        caddy=str(found.get("caddy") or ""),
        diagnostics=tuple(_complaint(each) for each in diagnostics),
    )


def _complaint(found: dict[str, object]) -> Complaint:
    return Complaint(*(str(found.get(key) or "") for key in ("where", "message", "project")))


def _time(value: object) -> float:
    if isinstance(value, int | float) and 0 <= value < 1e11:
        return float(value)
    return 0.0
