"""Notices a push to a repository of this host at once, by watching where its refs lie.

Called by `loop.triggers`, which marks the repository's projects dirty. An event is only a reason to look
(a lost one costs time, never correctness): nothing is read here, and no event is believed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
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
        self._watched: dict[str, _Watched] = {}

    def watch(self, repos: frozenset[str]) -> None:
        """Watch exactly these; what is no repository of this host is passed over. Cheap when nothing changed.

        A repository that was removed and made again is watched anew by the next call, and reported then,
        since something may have been pushed to it in between.
        """
        renewed: list[str] = []
        with self._lock:
            for repo in list(self._watched):
                if repo not in repos or _identity(self._watched[repo].git_folder) != self._watched[repo].identity:
                    self._drop(repo)
            for repo in sorted(repos - set(self._watched)):
                git_folder = _git_folder(repo)
                if git_folder is not None and self._add(repo, git_folder):
                    renewed.append(repo)
        for repo in renewed:
            self._callback(repo)

    def close(self) -> None:
        """Watch nothing any more and end the threads."""
        with self._lock:
            observer, self._observer = self._observer, None
            self._watched.clear()
        if observer is not None:
            observer.stop()
            observer.join()

    @property
    def watched(self) -> frozenset[str]:
        """The repositories that are watched now."""
        with self._lock:
            return frozenset(self._watched)

    def _add(self, repo: str, git_folder: Path) -> bool:
        if self._observer is None:
            self._observer = Observer()
            self._observer.start()
        refs = _Handler(lambda: self._callback(repo), frozenset())
        top = _Handler(lambda: self._callback(repo), _TOP_LEVEL)
        watches: list[ObservedWatch] = []
        identity = _identity(git_folder)
        try:
            watches.append(self._observer.schedule(refs, git_folder / "refs", recursive=True, event_filter=_SEEN))
            watches.append(self._observer.schedule(top, git_folder, event_filter=_SEEN))
        except OSError:  # it vanished meanwhile, or the kernel's watches are used up: polling still finds it
            for watch in watches:
                self._observer.unschedule(watch)
            return False
        self._watched[repo] = _Watched(git_folder, identity, tuple(watches))
        return True

    def _drop(self, repo: str) -> None:
        for watch in self._watched.pop(repo).watches:
            if self._observer is not None:
                self._observer.unschedule(watch)


@dataclass(frozen=True)
class _Watched:
    git_folder: Path
    identity: tuple[int, ...]
    watches: tuple[ObservedWatch, ...]


class _Handler(FileSystemEventHandler):
    """Passes on what may be a moved ref: not the locks that git makes on its way."""

    def __init__(self, tell: Callable[[], None], names: frozenset[str]) -> None:
        self._tell = tell
        self._names = names

    def on_any_event(self, event: FileSystemEvent) -> None:
        name = Path(str(event.dest_path or event.src_path)).name
        if not name.endswith(".lock") and (not self._names or name in self._names):
            self._tell()


def _git_folder(repo: str) -> Path | None:
    path = Path(unquote(urlsplit(repo).path)) if repo.startswith("file://") else Path(repo)
    if not path.is_absolute():
        return None
    return next((folder for folder in (path / ".git", path) if (folder / "refs").is_dir()), None)


def _identity(git_folder: Path) -> tuple[int, ...]:
    """Tells a folder from another that was made later under the same name; empty where there is none."""
    try:
        return tuple((status := (git_folder / name).stat()).st_ino * 2**64 + status.st_dev for name in ("", "refs"))
    except OSError:
        return ()
