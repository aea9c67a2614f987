"""One thread per web process that notices changes for all streams at once.

Made by `app.create_app`, used by `streams`. It runs only while somebody listens, looks every
100 ms (two `PRAGMA data_version` and one small file), and never writes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

PERIOD_S = 0.1


class Versions(NamedTuple):
    """Opaque words that differ whenever something changed.

    `state` is of the store of states and of what the heartbeat says, ages apart; `logs` of the build logs.
    """

    state: str
    logs: str


class Poller:
    """`look` returns the versions of now and must not raise."""

    def __init__(self, look: Callable[[], Versions]) -> None:
        self._look = look
        self._changed = threading.Condition()
        self._listeners = 0
        self._thread: threading.Thread | None = None
        self._versions = Versions("", "")

    @property
    def is_running(self) -> bool:
        with self._changed:
            return self._thread is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While in the block the thread runs, and `versions` and `wait` are up to date."""
        with self._changed:
            self._listeners += 1
            if self._thread is None:
                self._versions = self._look()
                self._thread = threading.Thread(target=self._run, name="poller", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._listeners -= 1
                self._changed.notify_all()

    def versions(self) -> Versions:
        with self._changed:
            return self._versions

    def wait(self, seen: Versions, *, timeout_s: float, logs: bool = False) -> Versions:
        """Return when the state (with `logs`: or the logs) differ from `seen`, at the latest after `timeout_s`."""

        def differ() -> bool:
            return self._versions.state != seen.state or (logs and self._versions.logs != seen.logs)

        with self._changed:
            self._changed.wait_for(differ, timeout=timeout_s)
            return self._versions

    def _run(self) -> None:
        while self._wait_a_round():
            versions = self._look()
            with self._changed:
                if versions != self._versions:
                    self._versions = versions
                    self._changed.notify_all()

    def _wait_a_round(self) -> bool:
        """False when nobody listens any more; the thread has then signed off."""
        deadline = time.monotonic() + PERIOD_S
        with self._changed:
            while self._listeners and (rest := deadline - time.monotonic()) > 0:
                self._changed.wait(rest)
            if self._listeners == 0:
                self._thread = None
            return self._listeners > 0


class Slots:
    """How many long answers may be under way, so that threads remain for everything else (trap 33)."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._taken = 0

    @property
    def taken(self) -> int:
        with self._lock:
            return self._taken

    def take(self) -> bool:
        """Take one; False where none is free."""
        with self._lock:
            if self._taken >= self.limit:
                return False
            self._taken += 1
            return True

    def give_back(self) -> None:
        with self._lock:
            self._taken -= 1
