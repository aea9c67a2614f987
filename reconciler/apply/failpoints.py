"""Ends this process at a named place, for the chaos tests alone.

Called by `executor` and `jobs` at each side of every outside effect; does nothing unless
`Settings.failpoint` names a place. A place is `before:<Operation>`, `after:<Operation>`,
`begin:<job kind>` or `end:<job kind>`, with `#n` for its n-th passing.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import get_args

from reconciler.model.job import JobKind
from reconciler.model.operation import OPERATIONS


def places() -> list[str]:
    """Every place, generated from the operations and the kinds of jobs."""
    sides = [f"{side}:{operation.__name__}" for operation in OPERATIONS for side in ("before", "after")]
    return sides + [f"{side}:{kind}" for kind in get_args(JobKind) for side in ("begin", "end")]


class Failpoints:
    """`named` is `place` or `place#n`; "" turns it off."""

    def __init__(self, named: str = "") -> None:
        self._place, _, number = named.partition("#")
        self._left = int(number or 1)
        self._lock = threading.Lock()

    def reach(self, place: str) -> None:
        """SIGKILL to ourselves where `place` is the named one: no handler, no flush, no farewell."""
        if place != self._place:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
