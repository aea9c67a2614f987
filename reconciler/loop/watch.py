"""Notices a push to a repository of this host at once, by watching where its refs lie.

Called by `loop.triggers`, which marks the repository's projects dirty. An event is only a reason to look
(a lost one costs time, never correctness): nothing is read here, and no event is believed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

_SEEN: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    FileClosedEvent,
    DirCreatedEvent,
    DirDeletedEvent,
]
_TOP_LEVEL = frozenset({"packed-refs", "HEAD", "refs"})


class LocalWatch:
    """Calls `callback(repo)` from its own thread whenever refs of a watched repository may have moved.

    The callback must be quick and may come more than once for one push; `repo` is spelled as it was
    given to `watch`.
    """

    def __init__(self, callback: Callable[[str], None]) -> None:
        self._callback = callback
        self._lock = threading.Lock()
        self._observer: BaseObserver | None = None
        self._watched: dict[Path, _Watched] = {}
        self._spellings: dict[Path, tuple[str, ...]] = {}
        self._complete: frozenset[str] | None = None

    def watch(self, repos: frozenset[str]) -> None:
        """Watch exactly these; what is no repository of this host is passed over. Cheap when nothing changed.

        A repository that is new here, or was removed and made again, is watched from now on and reported
        at once, since something may have been pushed to it before.
        """
        with self._lock:
            if repos == self._complete and self._is_intact():
                return
        wanted: dict[Path, tuple[str, ...]] = {}
        for repo in sorted(repos):
            git_folder = _git_folder(repo)
            if git_folder is not None:
                wanted[git_folder] = (*wanted.get(git_folder, ()), repo)
        with self._lock:
            self._spellings = wanted
            alive = self._alive()
            stale = [folder for folder, watched in self._watched.items() if not watched.holds(alive)]
            for git_folder in {*stale, *(self._watched.keys() - wanted.keys())}:
                self._drop(git_folder)
            added = [folder for folder in wanted if folder not in self._watched and self._add(folder)]
            found = {repo for folder in self._watched for repo in wanted[folder]}
            self._complete = repos if found == repos else None
        for git_folder in added:
            self._tell(git_folder)

    def close(self) -> None:
        """Watch nothing any more and end the threads."""
        with self._lock:
            observer, self._observer = self._observer, None
            self._watched.clear()
            self._complete = None
        if observer is not None:
            observer.stop()
            observer.join()

    @property
    def watched(self) -> frozenset[str]:
        """The repositories that are watched now."""
        with self._lock:
            return frozenset(repo for folder in self._watched for repo in self._spellings.get(folder, ()))

    def _tell(self, git_folder: Path) -> None:
        for repo in self._spellings.get(git_folder, ()):
            self._callback(repo)

    def _is_intact(self) -> bool:
        """Whether every watch still is on the folder that it was set on: two `stat` a repository."""
        emitters = self._observer.emitters if self._observer is not None else ()
        return all(each.is_alive() for each in emitters) and all(each.is_same() for each in self._watched.values())

    def _alive(self) -> frozenset[ObservedWatch]:
        emitters = self._observer.emitters if self._observer is not None else ()
        return frozenset(emitter.watch for emitter in emitters if emitter.is_alive())

    def _add(self, git_folder: Path) -> bool:
        observer = self._running()
        watches: list[ObservedWatch] = []
        places = (git_folder, git_folder / "refs")
        identity = _identity(places)
        try:
            for folder, names in ((places[1], None), (git_folder, _TOP_LEVEL)):
                handler = _Handler(partial(self._tell, git_folder), names)
                watches.append(observer.schedule(handler, folder, recursive=names is None, event_filter=_SEEN))
        except OSError:  # it vanished meanwhile, or the kernel's watches are used up: polling still finds a push
            for watch in watches:
                observer.unschedule(watch)
            return False
        self._watched[git_folder] = _Watched(places, identity, tuple(watches))
        return True

    def _drop(self, git_folder: Path) -> None:
        for watch in self._watched.pop(git_folder).watches:
            self._running().unschedule(watch)

    def _running(self) -> BaseObserver:
        if self._observer is None:
            self._observer = Observer()
            self._observer.start()
        return self._observer


@dataclass(frozen=True)
class _Watched:
    places: tuple[Path, ...]
    identity: tuple[int, ...]
    watches: tuple[ObservedWatch, ...]

    def holds(self, alive: frozenset[ObservedWatch]) -> bool:
        """Whether both watches go on: a watch ends with its folder, and moves along with it."""
        return self.is_same() and alive.issuperset(self.watches)

    def is_same(self) -> bool:
        return _identity(self.places) == self.identity


class _Handler(FileSystemEventHandler):
    """Passes on what may be a moved ref: not the locks that git makes on its way."""

    def __init__(self, tell: Callable[[], None], names: frozenset[str] | None) -> None:
        self._tell = tell
        self._names = names

    def on_any_event(self, event: FileSystemEvent) -> None:
        name = Path(str(event.dest_path or event.src_path)).name
        if not name.endswith(".lock") and (self._names is None or name in self._names):
            self._tell()


def _git_folder(repo: str) -> Path | None:
    path = Path(unquote(urlsplit(repo).path)) if repo.startswith("file://") else Path(repo)
    if not path.is_absolute():
        return None
    return next((folder for folder in (path / ".git", path) if (folder / "refs").is_dir()), None)


def _identity(places: tuple[Path, ...]) -> tuple[int, ...]:
    """Tells a folder from another that was made later under the same name; empty where there is none."""
    try:
        found = [place.stat() for place in places]
    except OSError:
        return ()
    return tuple(number for status in found for number in (status.st_dev, status.st_ino))
