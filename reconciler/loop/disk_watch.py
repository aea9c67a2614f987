"""Measures the disk beside the runs: after each deployment, and daily.

Started and stopped by `bootstrap`; `observe` takes the last measurement, `apply` prunes the build cache through
it. Decides nothing about what is removed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from reconciler.adapters.disk_usage import EngineDisk, EngineFacts, Room, Space, rounded_up
from reconciler.errors import EngineUnavailable, GitsteadError
from reconciler.model.disk import Disk, images_text, shown

log = structlog.get_logger(__name__)

DAY_S = 86400.0
ASK_AGAIN_S = 30.0
DAILY_AGAIN_S = 600.0
CACHE_OF_OURS_BYTES = 20 * 2**30


class DiskWatch:
    """`cache_limit` tells the limit of an engine's build cache by the engine's id, 0 = none; `on_measured` is told
    of each measurement, `tell` of what pruning did. `daily` is done once a day in the same thread.
    """

    def __init__(
        self,
        engine: EngineDisk,
        *,
        room: Room,
        cache_limit: Callable[[str], int],
        on_measured: Callable[[], None],
        tell: Callable[[str], None],
        daily: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._engine, self._room, self._cache_limit = engine, room, cache_limit
        self._on_measured, self._tell, self._daily, self._clock = on_measured, tell, daily, clock
        self._lock = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="disk-watch", daemon=True)
        self._facts: EngineFacts | None = None
        self._disk: Disk | None = None
        self._images = ""
        self._cache_pruned_at = 0.0

    # ---- read at each look --------------------------------------------------------------------

    def latest(self) -> Disk | None:
        """The last measurement, the very same value until the next; None before the first."""
        return self._disk

    def shortage(self) -> str:
        """What is below the floor now, in round figures, "" = nothing. Costs two system calls."""
        low = [f"less than {rounded_up(each)}" for each in self.spaces() if each.is_low]
        return "; ".join(low)

    def spaces(self) -> tuple[Space, ...]:
        """The filesystems that builds need: the state folder's and, on this machine, the engine's."""
        return self._room.spaces(self._facts.data_root if self._facts else None)

    def usage(self) -> str:
        """One line for people."""
        lines = [str(each) for each in self.spaces()]
        if self._disk is not None:
            lines.append(self._images)
            if self._disk.build_cache_limit_bytes:
                cache = f"{shown(self._disk.build_cache_bytes)} of {shown(self._disk.build_cache_limit_bytes)}"
                lines.append(f"build cache {cache}")
        return "; ".join(lines)

    # ---- measure ------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=5.0)
        self._engine.close()

    def ask(self) -> None:
        """Measure soon, in the watch's own thread."""
        self._wake.set()

    def prune_cache(self, keep_bytes: int, unused_s: float) -> None:
        """Prune the build cache and measure again, in the caller's thread. Raises where the engine refuses."""
        self._cache_pruned_at = self._clock()
        try:
            freed = self._engine.prune_build_cache(keep_bytes=keep_bytes, unused_s=unused_s)
            self._tell(f"build cache pruned to {shown(keep_bytes)}: {shown(freed)} freed")
        finally:
            self._measure(with_cache=True)

    def _run(self) -> None:
        due_at = time.monotonic()
        while not self._stop.is_set():
            is_daily = time.monotonic() >= due_at
            try:
                self._measure(with_cache=is_daily or bool(self.shortage()))
                if is_daily:
                    self._daily()
                    due_at = time.monotonic() + DAY_S
            except EngineUnavailable:
                self._stop.wait(ASK_AGAIN_S)
                continue
            except GitsteadError as error:
                log.warning("disk.not_measured", reason=error.reason, message=str(error))
                due_at = time.monotonic() + DAILY_AGAIN_S
            self._wake.wait(max(0.0, due_at - time.monotonic()))
            self._wake.clear()

    def _measure(self, *, with_cache: bool) -> None:
        with self._lock:
            if self._facts is None:
                self._facts = self._engine.facts()
            at, limit = self._clock(), self._cache_limit(self._facts.id)
            before = self._disk or Disk(0.0)
            cache = self._engine.build_cache_bytes() if limit and with_cache else before.build_cache_bytes
            layers, ours = self._engine.layers(), self._engine.ours()
            self._images = images_text(layers, ours)
            self._disk = replace(
                before,
                at=at,
                layers=layers,
                ours=ours,
                build_cache_bytes=cache,
                build_cache_limit_bytes=limit,
                cache_pruned_at=self._cache_pruned_at,
            )
        self._on_measured()
