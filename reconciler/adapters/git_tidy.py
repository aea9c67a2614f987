"""Keeps the mirrors of a state folder small: removes those without a use, remakes those that are mostly garbage.

Called by `git_repository.Mirrors`, from threads that nobody plans in. A kept commit stays readable at every step
(invariant 3): a new pack is complete, in place and on the disk before an old one goes, readers keep what they have
open, and nobody can pin a commit while it is decided what goes.
"""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

from reconciler.adapters import git_mirror
from reconciler.adapters.git_asking import Asker
from reconciler.errors import HostUnfit

FLOOR_BYTES = 64 * 1024 * 1024
UNNAMED_S = 3600.0
UNUSED_S = 30 * 86400.0


class Tidier:
    """`keeping` is held for moments only, by whoever pins or lets go a commit, or removes what is not pinned."""

    def __init__(self, folder: Path, asker: Asker) -> None:
        self._folder, self._asker = folder, asker
        self._looked: dict[Path, tuple[int, frozenset[tuple[str, str]]]] = {}
        self.keeping = threading.Lock()

    def forget_looks(self) -> None:
        """Look at every mirror again, also at one that was not worth it."""
        self._looked.clear()

    def remove(self, mirror: Path) -> int:
        """Remove a mirror that keeps no commit; the bytes of its packs, 0 where it stays."""
        gone, held = git_mirror.unfinished_path(self._folder), git_mirror.held_bytes(mirror)
        with self._asker.lock_of(mirror), self.keeping:
            if not mirror.is_dir() or any(git_mirror.kept(git_mirror.open_bare(mirror))):
                return 0
            mirror.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        return max(held, 1)

    def remake(self, mirror: Path, branches: frozenset[str] | None = None) -> int:
        """Leave of a mirror what its refs lead to, where it is large and most of it is something else; bytes saved.

        Refs of other branches than `branches` go before; None leaves all. Nothing happens where nothing changed
        since the last look. Raises `HostUnfit`, `OSError` or `pygit2.GitError`; the mirror is whole then, too.
        """
        packs = git_mirror.pack_files(mirror)
        held = sum(packs.values())
        if held <= FLOOR_BYTES:
            return 0
        if branches is not None:
            with self._asker.lock_of(mirror):
                git_mirror.drop_unwanted(git_mirror.open_bare(mirror), branches)
        look = held, frozenset(git_mirror.targets(git_mirror.open_bare(mirror)).items())
        if self._looked.get(mirror) == look:
            return 0
        self._looked[mirror] = look
        into = git_mirror.unfinished_path(self._folder)
        into.mkdir(mode=0o700)
        try:
            answer = self._asker.repack(mirror, into)
            if answer.trouble:
                raise HostUnfit(
                    f"mirror {mirror.name} could not be made smaller: {answer.detail}",
                    expected="a mirror that can be read, and free space for a copy of what is in use",
                )
            if answer.fetched:
                self._replace(mirror, packs, into, frozenset(answer.refs.values()))
        finally:
            shutil.rmtree(into, ignore_errors=True)
        return max(0, held - git_mirror.held_bytes(mirror))

    def _replace(self, mirror: Path, packs: dict[Path, int], into: Path, roots: frozenset[str]) -> None:
        """Put the new pack in the place of `packs`, unless a ref points at what is not in it by now."""
        folder = mirror / "objects" / "pack"
        (new,) = into.glob("*.pack")
        if new.stat().st_size >= sum(packs.values()):
            return
        with self._asker.lock_of(mirror), self.keeping:
            if not roots.issuperset(git_mirror.targets(git_mirror.open_bare(mirror)).values()):
                return
            for suffix in (".pack", ".idx"):
                new.with_suffix(suffix).rename(folder / new.with_suffix(suffix).name)
            _to_disk(folder)
            for old in packs:
                if old.name != new.name:
                    old.with_suffix(".idx").unlink(missing_ok=True)
                    old.unlink(missing_ok=True)


def _to_disk(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
