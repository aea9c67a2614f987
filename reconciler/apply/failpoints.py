"""Ends this process at a named place, for the chaos tests alone.

Called by `executor` and `jobs` at each side of every outside effect, and before each write of whoever
records; does nothing unless `Settings.failpoint` names a place. A place is `intent:`, `before:` or
`after:<Operation>` (before its row, before its effect, before its row is closed), `begin:` or
`end:<job kind>`, or `write:<method>` of what records.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast, get_args

from reconciler.model.job import JobKind
from reconciler.model.operation import OPERATIONS

T = TypeVar("T")

FOLDER = "in:"
AIM, REACHED = "aim", "reached"
SAME_AS_OPERATION = frozenset({"begin", "succeed"})


def places(*writers: type) -> list[str]:
    """Every place, generated from the operations, the kinds of jobs and the methods of `writers`."""
    sides = [f"{side}:{each.__name__}" for each in OPERATIONS for side in ("intent", "before", "after")]
    jobs = [f"{side}:{kind}" for kind in get_args(JobKind) for side in ("begin", "end")]
    names = dict.fromkeys(name for writer in writers for base in writer.__mro__ for name in vars(base))
    writes = [f"write:{name}" for name in names if any(_is_write(getattr(each, name, None), name) for each in writers)]
    return [*sides, *jobs, *writes]


class Failpoints:
    """`named` is `place`, or `place#n` for its n-th passing; "" turns it off.

    `in:<folder>` takes the place from the folder's file `aim`, which may be written while this runs, and
    appends every place that is reached to the file `reached`.
    """

    def __init__(self, named: str = "") -> None:
        self._folder = Path(named.removeprefix(FOLDER)) if named.startswith(FOLDER) else None
        self._named, self._place, self._left = "", "", 0
        self._lock = threading.Lock()
        if self._folder is None:
            self._aim(named)

    def reach(self, place: str) -> None:
        """SIGKILL to ourselves where `place` is the named one: no handler, no flush, no farewell."""
        if self._folder is None and place != self._place:
            return
        with self._lock:
            if self._folder is not None:
                self._note(self._folder, place)
            if place == self._place:
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    def around(self, writer: T) -> T:
        """`writer` with a place before each of its writes; the very same where nothing is named."""
        if self._folder is None and not self._place:
            return writer
        return cast(T, _Watched(writer, self.reach))

    def _note(self, folder: Path, place: str) -> None:
        with (folder / REACHED).open("a") as file:
            file.write(f"{place}\n")
        aim = folder / AIM
        self._aim(aim.read_text().strip() if aim.exists() else "")

    def _aim(self, named: str) -> None:
        if named != self._named:
            self._named = named
            self._place, _, number = named.partition("#")
            self._left = int(number or 1)


class _Watched:
    """Hands everything on; a write is a place first."""

    def __init__(self, writer: object, reach: Callable[[str], None]) -> None:
        self._writer, self._reach = writer, reach

    def __getattr__(self, name: str) -> object:
        found = getattr(self._writer, name)
        if not _is_write(found, name):
            return found

        def write(*args: object, **keywords: object) -> object:
            self._reach(f"write:{name}")
            return found(*args, **keywords)

        return write


def _is_write(found: object, name: str) -> bool:
    return callable(found) and not name.startswith("_") and name not in SAME_AS_OPERATION
