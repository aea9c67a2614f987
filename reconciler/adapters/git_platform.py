"""Reads `platform.yaml` and `projects/*` as bytes, from a commit or from a folder that is being edited.

Called by `git_repository` and by `gitstead validate`/`plan`. What cannot be used (symlinks, submodules,
folders, LFS pointers, huge files) is named with a sentence, never followed. Must not parse.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pygit2

from reconciler.adapters.git_tree import Entry, content_of, entries, shown, size_of
from reconciler.errors import SourceUnusable

MAX_FILE = 1024 * 1024
MAX_TOTAL = 32 * 1024 * 1024
MAX_FILES = 10_000
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class PlatformFiles:
    """`files`: path to (blob id, bytes). `unusable`: path to a sentence that names what it is instead.

    While `unusable` is not empty the revision was not read whole: nothing may be pruned (invariant 3).
    """

    files: Mapping[str, tuple[str, bytes]]
    unusable: Mapping[str, str]


class _Collector:
    """Gathers entries until a bound is met; the bound itself becomes a sentence."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, bytes]] = {}
        self.unusable: dict[str, str] = {}
        self._total = 0

    def admits(self, path: str, size: int) -> bool:
        if size > MAX_FILE:
            self.unusable[path] = f"{path} has {size} bytes; expected at most {MAX_FILE}. Shorten it."
            return False
        if len(self.files) >= MAX_FILES or self._total + size > MAX_TOTAL:
            self.unusable["projects"] = (
                f"projects holds more than {MAX_FILES} files or {MAX_TOTAL} bytes; {path} and what follows is not "
                "read. Expected one small file per project. Remove what is no spec."
            )
            return False
        self._total += size
        return True

    def add(self, path: str, oid: str, data: bytes) -> None:
        if data.startswith(_LFS):
            self.unusable[path] = (
                f"{path} is a Git LFS pointer; expected the spec's own text. Take it out of LFS (git lfs untrack)."
            )
        else:
            self.files[path] = (oid, data)

    def refuse(self, path: str, kind: str) -> None:
        article = "an" if kind[0] in "aeiou" else "a"
        self.unusable[path] = f"{path} is {article} {kind}; expected a regular file. Commit the file itself."

    def result(self) -> PlatformFiles:
        return PlatformFiles(MappingProxyType(self.files), MappingProxyType(self.unusable))


def read_commit(
    repository: pygit2.Repository, root: pygit2.Oid, known: Mapping[str, tuple[str, bytes]]
) -> PlatformFiles:
    """The platform's files in a tree. Bytes of `known` are used again where the blob is the same."""
    collector = _Collector()
    for entry in _wanted(repository, root):
        path = entry.shown
        if entry.kind not in {"file", "executable"}:
            collector.refuse(path, {"link": "symlink", "unknown": "entry of unknown mode"}.get(entry.kind, entry.kind))
            continue
        oid = str(entry.oid)
        before = known.get(path, ("", b""))
        same = before[0] == oid
        if collector.admits(path, len(before[1]) if same else size_of(repository, entry)):
            collector.add(path, oid, before[1] if same else content_of(repository, entry))
    return collector.result()


def _wanted(repository: pygit2.Repository, root: pygit2.Oid) -> Iterator[Entry]:
    for entry in entries(repository, root):
        if entry.path == b"platform.yaml" or (entry.path == b"projects" and entry.kind != "folder"):
            yield entry
        elif entry.path == b"projects":
            yield from entries(repository, entry.oid, b"projects/")


def read_folder(folder: Path) -> PlatformFiles:
    """The platform's files in a working tree, committed or not; blob ids as Git would give them.

    Raises `SourceUnusable` where there is no such folder.
    """
    if not folder.is_dir():
        raise SourceUnusable(
            f"{folder} is not a folder",
            expected="a platform repository: platform.yaml and projects/<name>.yaml",
            remedy="Give its path, or REPO@REV",
        )
    collector = _Collector()
    for name, path in _present(folder):
        try:
            _read_file(collector, name, path)
        except OSError as error:
            collector.unusable[name] = f"{name} cannot be read: {error.strerror}. Expected a readable file."
    return collector.result()


def _present(folder: Path) -> Iterator[tuple[str, Path]]:
    if os.path.lexists(folder / "platform.yaml"):
        yield "platform.yaml", folder / "platform.yaml"
    projects = folder / "projects"
    if projects.is_symlink() or (projects.exists() and not projects.is_dir()):
        yield "projects", projects
    elif projects.is_dir():
        for path in sorted(projects.iterdir()):
            yield f"projects/{shown(os.fsencode(path.name))}", path


def _read_file(collector: _Collector, name: str, path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFLNK: "symlink", stat.S_IFDIR: "folder"}
        collector.refuse(name, kinds.get(stat.S_IFMT(status.st_mode), "special file"))
        return
    if collector.admits(name, status.st_size):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(file, "rb") as stream:
            data = stream.read(MAX_FILE)
        collector.add(name, str(pygit2.hash(data)), data)
