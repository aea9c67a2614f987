"""Remembers what the engine said until an event says that it may have changed.

Used by `docker_engine` alone. Holds nothing while no event stream is attached, since then nobody would
say what became stale. Must not talk to the engine itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Entry:
    marker: Hashable
    value: Any


class EngineCache:
    """Values by key, each valid while its marker is the same and nobody forgot it. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._enabled = False
        self._version = 0

    def enable(self) -> None:
        """From now on somebody tells what changes; what was known before counts no longer."""
        with self._lock:
            self._enabled = True
            self._clear()

    def disable(self) -> None:
        """Nobody tells what changes any more: every answer is asked for anew."""
        with self._lock:
            self._enabled = False
            self._clear()

    def get(self, key: str, marker: Hashable, load: Callable[[], T]) -> T:
        """The remembered value, else what `load` gives.

        A value whose loading overlapped with any forgetting is returned but not kept: it may be older
        than the event.
        """
        with self._lock:
            entry, version = self._entries.get(key), self._version
        if entry is not None and entry.marker == marker:
            return entry.value  # type: ignore[no-any-return]
        value = load()
        with self._lock:
            if self._enabled and self._version == version:
                self._entries[key] = _Entry(marker, value)
        return value

    def forget(self, *keys: str) -> None:
        with self._lock:
            self._version += 1
            for key in keys:
                self._entries.pop(key, None)

    def forget_all(self) -> None:
        with self._lock:
            self._clear()

    def keep_only(self, keys: Collection[str]) -> None:
        """Drop what no longer exists, so that memory follows the engine's."""
        with self._lock:
            for key in self._entries.keys() - set(keys):
                del self._entries[key]

    def _clear(self) -> None:
        self._version += 1
        self._entries.clear()
