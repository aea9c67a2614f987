"""Liveness and ages, in a small file on tmpfs that is replaced atomically at each look.

Written by `loop.worker`, read with distrust by web and CLI, so it knows `model` alone. Never in the
store, since a pass with nothing to do writes nothing there (invariant 11).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from reconciler.model.credential import CredentialUse
from reconciler.model.desired import Desired
from reconciler.model.observed import Observed

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

    `git` (the platform repository), `engine` and `caddy` are what is wrong with them, "" = fine. `disk` says what
    is free and taken, `builds` which limits hold for builds, `credentials` how each fared, by its name.
    """

    problem: str = ""
    at: float = 0.0
    looked_at: float = 0.0
    revision: str = ""
    git_checked_at: float = 0.0
    git: str = ""
    engine: str = ""
    caddy: str = ""
    disk: str = ""
    builds: str = ""
    diagnostics: tuple[Complaint, ...] = ()
    credentials: Mapping[str, CredentialUse] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_fresh(self) -> bool:
        return not self.problem

    @property
    def without_ages(self) -> Heartbeat:
        """Equal for two heartbeats that would be told in the same words, ages apart."""
        fared = {name: replace(use, used_at=0.0) for name, use in self.credentials.items()}
        return replace(self, at=0.0, looked_at=0.0, git_checked_at=0.0, credentials=fared)


def read_heartbeat(path: Path, *, now: float) -> Heartbeat:
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
        disk=str(found.get("disk") or ""),
        builds=str(found.get("builds") or ""),
        diagnostics=tuple(_complaint(each) for each in diagnostics),
        credentials=_uses(found.get("credentials") or {}),
    )


def _uses(found: object) -> Mapping[str, CredentialUse]:
    if not isinstance(found, dict):
        raise TypeError("credentials is not a mapping")
    return {
        str(name): CredentialUse(_time(each.get("used_at")), str(each.get("error") or ""))
        for name, each in found.items()
    }


def _complaint(found: dict[str, object]) -> Complaint:
    return Complaint(*(str(found.get(key) or "") for key in ("where", "message", "project")))


def _time(value: object) -> float:
    if isinstance(value, int | float) and 0 <= value < 1e11:
        return float(value)
    return 0.0


class HeartbeatFile:
    """The writing side: one file of one reconciler. `beats` counts what was written since the start.

    `facts` gives the texts `disk` and `builds`, `mask` hides secrets in what others said, `uses` tells how
    credentials fared.
    """

    def __init__(
        self,
        path: Path,
        *,
        instance: str,
        facts: Callable[[], Mapping[str, str]] = dict,
        mask: Callable[[dict[str, object]], dict[str, object]] = dict,
        uses: Callable[[], Mapping[str, CredentialUse]] = dict,
    ) -> None:
        self._path, self._instance, self._facts, self._mask = path, instance, facts, mask
        self._uses = uses
        self._git_checked_at = 0.0
        self._last: dict[str, object] = {}
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
                **self._facts(),
                "diagnostics": [
                    {"where": str(each.location), "message": each.message, "project": each.project}
                    for each in desired.diagnostics
                ],
            }
        )

    def alive(self, at: float) -> None:
        """Between looks: only `at` moves on."""
        if self._last:
            self._write({**self._last, "at": at, "git_checked_at": self._git_checked_at})

    def _credentials(self) -> dict[str, object]:
        return {name: {"used_at": use.used_at, "error": use.error} for name, use in self._uses().items()}

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def _write(self, values: dict[str, object]) -> None:
        self._last = values = self._mask(values | {"credentials": self._credentials()})
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(values))
        temporary.chmod(0o644)
        temporary.replace(self._path)
        self.beats += 1
