"""Asks remote repositories for news, each at its own pace, never two at once for one repository.

Started by `loop.worker`; marks `repo:<address>` dirty where something is new. A repository that is
slow or down is asked by a thread of its own pool, so that it delays nobody else.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from reconciler.loop.sources import Sources, is_local

WORKERS = 8
LOCAL_WORKERS = 2
JITTER = 0.1
LONGEST_S = 300.0
STEP_S = 0.25
AT_ONCE = 0.0
DAY_S = 86400.0


class Poller:
    """`on_news` is called with the address of a repository whose state changed, `on_asked` with the time
    of each answer.

    Every known repository is asked each `interval_s` ± 10 %; a remote one with trouble less and less
    often, up to every 5 minutes. Local ones too, as a net under the file watch. Mirrors are tidied daily.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        interval_s: float,
        on_news: Callable[[str], None],
        on_asked: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._sources, self._interval_s, self._clock = sources, interval_s, clock
        self._on_news, self._on_asked = on_news, on_asked
        self._due: dict[str, float] = {}
        self._troubles: dict[str, int] = {}
        self._tidy_at = AT_ONCE
        self._tidying: Future[bool] | None = None
        self._asking: dict[str, Future[None]] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = False
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="poll")
        self._local_pool = ThreadPoolExecutor(LOCAL_WORKERS, thread_name_prefix="poll-local")
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()
        self._thread.join(timeout=5.0)
        for pool in (self._pool, self._local_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    def poll_now(self, repo: str | None = None) -> None:
        """Ask `repo`, or all, without waiting for the interval."""
        with self._lock:
            for each in [repo] if repo is not None else self._sources.addresses():
                self._due[each] = AT_ONCE
        self._wake.set()

    def ask(self, repo: str, *, wait_s: float) -> None:
        """Ask `repo` at once and wait at most `wait_s` for the answer; a later one comes as news.

        A question that is under way may have been answered before what is asked for now: then it is put again.
        """
        with self._lock:
            if self._is_asking(repo):
                self._due[repo] = AT_ONCE
                self._wake.set()
            future = self._submit(repo)
        wait([future], timeout=wait_s)

    def _run(self) -> None:
        while not self._stopped:
            next_at = self._submit_due()
            self._tidy()
            self._wake.wait(timeout=min(max(next_at - self._clock(), STEP_S), self._interval_s))
            self._wake.clear()

    def _submit_due(self) -> float:
        now = self._clock()
        with self._lock:
            known = self._sources.addresses()
            self._due = {repo: self._due.get(repo, self._first_due(repo, now)) for repo in known}
            for repo in [repo for repo, at in self._due.items() if at <= now]:
                if self._due[repo] == AT_ONCE and self._is_asking(repo):
                    continue
                self._due[repo] = now + self._pause_s(repo)
                self._submit(repo)
            return min(self._due.values(), default=now + self._interval_s)

    def _tidy(self) -> None:
        """Tidy the mirrors in a thread of the pool: once specs were read, and daily."""
        now, under_way = self._clock(), self._tidying
        if under_way is not None and under_way.done():
            self._tidying = None
            self._tidy_at = now + (DAY_S if not under_way.exception() and under_way.result() else self._interval_s)
        elif under_way is None and now >= self._tidy_at:
            self._tidying = self._pool.submit(self._sources.tidy, now)

    def _submit(self, repo: str) -> Future[None]:
        """Under the lock: one question at a time for each repository."""
        if not self._is_asking(repo):
            pool = self._local_pool if is_local(repo) else self._pool
            self._asking[repo] = pool.submit(self._poll, repo)
        return self._asking[repo]

    def _is_asking(self, repo: str) -> bool:
        under_way = self._asking.get(repo)
        return under_way is not None and not under_way.done()

    def _first_due(self, repo: str, now: float) -> float:
        return now + self._pause_s(repo) if self._sources.was_asked(repo) else AT_ONCE

    def _pause_s(self, repo: str) -> float:
        doublings = 0 if is_local(repo) else self._troubles.get(repo, 0)
        base = min(self._interval_s * 2.0**doublings, max(LONGEST_S, self._interval_s))
        return base * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, hides nothing

    def _poll(self, repo: str) -> None:
        news = self._sources.refresh(repo)
        self._on_asked(self._clock())
        trouble = self._sources.has_trouble(repo)
        self._troubles[repo] = min(self._troubles.get(repo, 0) + 1, 10) if trouble else 0
        if news:
            self._on_news(repo)
