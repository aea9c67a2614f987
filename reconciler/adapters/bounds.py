"""What may end a piece of work before it is done: somebody who cancels it, and the deadline of its job.

A job says `within(bounds)`, and whatever its thread then does is held to them without being told: a program
(`processes`), a worker that talks to Git, a wait for a lock, an export. Outside of a job nothing is bounded.
Must not know what the work is, beyond the words for it in a message.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from reconciler.errors import BuildFailed, ProgramTimedOut

_LOOK_AGAIN_S = 0.1


class Cancellation:
    """Handed to whoever works and kept by whoever may cancel: `cancel` is safe from any thread, at any time.

    Cancelling before the start keeps a program from starting; after its end it does nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._ends: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the end."""
        return self._cancelled

    def cancel(self) -> None:
        """End what is under way."""
        with self._lock:
            self._cancelled = True
            for end in self._ends:
                end()

    @contextlib.contextmanager
    def ending(self, end: Callable[[], None]) -> Iterator[None]:
        """Call `end`, which must not wait, when it is cancelled meanwhile or was before; never after the block."""
        with self._lock:
            self._ends.append(end)
            if self._cancelled:
                end()
        try:
            yield
        finally:
            with self._lock:
                self._ends.remove(end)


class Bounds:
    """A deadline `timeout_s` from now and a way to be cancelled; `doing` names what is under way, for the message."""

    def __init__(self, cancellation: Cancellation, *, timeout_s: float) -> None:
        self.cancellation = cancellation
        self.doing = "preparing"
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s

    @property
    def left_s(self) -> float:
        """Seconds until the deadline, 0 after it; infinite where there is none."""
        return max(0.0, self._deadline - time.monotonic())

    def begin(self, doing: str) -> None:
        """From now on this is under way. Raises like `check`."""
        self.doing = doing
        self.check()

    def check(self) -> None:
        """Raises `BuildFailed` once it was cancelled, `ProgramTimedOut` after the deadline."""
        if self.cancellation.cancelled:
            raise BuildFailed(f"the build was cancelled while {self.doing}")
        if self.left_s == 0:
            raise ProgramTimedOut(
                f"the build was ended after {self._timeout_s:g} s while {self.doing}",
                expected=f"an end within build.timeout {self._timeout_s:g} s",
                remedy="Find out why it takes so long, or raise build.timeout",
            )

    def acquire(self, lock: threading.Lock | threading.Semaphore, *, timeout_s: float = math.inf) -> bool:
        """Wait for it at most so long; False where it was not to be had, or the work is to end."""
        deadline = time.monotonic() + min(timeout_s, self.left_s)
        while not lock.acquire(timeout=min(_LOOK_AGAIN_S, max(0.0, deadline - time.monotonic()))):
            if self.cancellation.cancelled or time.monotonic() >= deadline:
                return False
        return True

    @contextlib.contextmanager
    def holding(self, lock: threading.Lock) -> Iterator[None]:
        """Wait for a lock and hold it. Raises like `check` where the work is to end first."""
        while not self.acquire(lock):
            self.check()
        try:
            yield
        finally:
            lock.release()


_CURRENT: ContextVar[Bounds] = ContextVar("bounds")


@contextlib.contextmanager
def within(bounds: Bounds) -> Iterator[None]:
    """What this thread does in the block is held to `bounds`."""
    token = _CURRENT.set(bounds)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def unbounded() -> contextlib.AbstractContextManager[None]:
    """A block that is finished once begun, since ending it half done would harm the machine."""
    return within(Bounds(Cancellation(), timeout_s=math.inf))


def current() -> Bounds:
    """What the work of this thread is held to; without limits outside of a job."""
    return _CURRENT.get(None) or Bounds(Cancellation(), timeout_s=math.inf)
