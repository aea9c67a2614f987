"""What is dirty, and which project has a run in flight.

Used by `loop.worker` and everything that triggers; a plain structure with a lock, no threads and
no clock of its own. A trigger carries a key, never an event: the run that takes the mark reads
the whole truth again, so that bursts collapse and a lost trigger costs time, never correctness.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.operation import PLATFORM

ALL = "*"


@dataclass(frozen=True)
class Mark:
    """Why a key is dirty. `version` grows with each mark; `request_id` is of the newest one."""

    version: int
    reason: str
    request_id: str = ""


class DirtyQueue:
    """Keys are project names, `repo:<address>` for a repository to ask, `news:<address>` for one that
    was asked, `*` for a full look.

    `take` hands out every mark and clears it *before* anything is read: a mark that arrives
    while the run reads is a newer version and stays for the next run. A mark of a project whose run is
    in flight is held until its end, which marks it anyway: what its own run does is no reason to look.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._marks: dict[str, Mark] = {}
        self._version = 0
        self._in_flight: dict[str, str] = {}

    def mark(self, key: str, reason: str, *, request_id: str = "") -> None:
        with self._changed:
            self._version += 1
            kept = self._marks.get(key)
            self._marks[key] = Mark(self._version, reason, request_id or (kept.request_id if kept else ""))
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Block until something is dirty or the time is over; whether something is."""
        with self._changed:
            return self._changed.wait_for(lambda: any(map(self._is_due, self._marks)), timeout=timeout_s)

    def take(self) -> Mapping[str, Mark]:
        with self._changed:
            taken = {key: mark for key, mark in self._marks.items() if self._is_due(key)}
            self._marks = {key: mark for key, mark in self._marks.items() if key not in taken}
            return taken

    def give_back(self, marks: Mapping[str, Mark]) -> None:
        """After a run that could not read: what it took is dirty again, newer marks win."""
        with self._changed:
            self._marks = {**marks, **self._marks}
            self._changed.notify_all()

    def begin(self, project_name: str, request_id: str) -> bool:
        """Claim the one run of the project; False while another is in flight (invariant 7)."""
        with self._changed:
            if project_name in self._in_flight:
                return False
            self._in_flight[project_name] = request_id
            return True

    def finish(self, project_name: str, reason: str) -> None:
        """The run is over; what it did must be looked at, so the project is dirty again."""
        with self._changed:
            request_id = self._in_flight.pop(project_name, "")
        self.mark(project_name, reason, request_id=request_id)

    def _is_due(self, key: str) -> bool:
        return key not in self._in_flight or key == PLATFORM

    def in_flight(self) -> frozenset[str]:
        with self._changed:
            return frozenset(self._in_flight)
