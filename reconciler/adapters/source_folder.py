"""Reads a source tree that lies in a folder of this machine, as `git_source` reads one out of Git.

Called by `bootstrap` for `gitstead detect`. Follows no link, opens nothing but regular files, changes nothing.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from pathlib import Path

MOST_FILES = 20_000
LONGEST_TEXT = 1024 * 1024
# Never pushed, or never the app's own.
_LEFT_OUT = frozenset({".git", "node_modules", ".venv", "venv", "__pycache__", ".tox", ".mypy_cache", ".pytest_cache"})


def list_folder(folder: Path) -> tuple[frozenset[str], bool]:
    """(relative paths of the nearest `MOST_FILES` regular files, whether there are more).

    What cannot be looked into, and names that are no UTF-8, are left out.
    """
    found: list[str] = []
    waiting = deque([""])
    while waiting:
        inner = waiting.popleft()
        for entry in _entries(folder / inner):
            path = f"{inner}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                waiting.extend([f"{path}/"] if entry.name not in _LEFT_OUT else [])
            elif entry.is_file(follow_symlinks=False):
                if len(found) == MOST_FILES:
                    return frozenset(found), True
                found.append(path)
    return frozenset(found), False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((each for each in entries if each.name.isprintable()), key=lambda each: each.name)
    except OSError:
        return []


def read_text(folder: Path, relative: str) -> str | None:
    """The UTF-8 text of a regular file of at most 1 MiB, else None."""
    try:
        file = os.open(folder / relative, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(file, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > LONGEST_TEXT:
                return None
            return stream.read(LONGEST_TEXT).decode()
    except (OSError, UnicodeDecodeError):
        return None
