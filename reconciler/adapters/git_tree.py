"""Walks the trees of a commit within bounds: entries, sizes and texts, straight from the object store.

Called by `git_repository` and `git_export`. Never makes a working tree and never trusts a tree: sizes
are read before contents, and the number of entries is bounded, so that a few kilobytes of "git bomb"
cannot become billions of files (trap 22). Raises `SourceUnusable` for what cannot be read.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pygit2
from pygit2.enums import ObjectType

from reconciler.errors import SourceUnusable
from reconciler.model.release import Commit

LISTING_LIMIT = 20_000
LISTING_DEPTH = 32
TEXT_LIMIT = 1024 * 1024
OBJECT_LIMIT = 16 * 1024 * 1024  # of one tree or commit, which are read whole; 300,000 entries fit in

EntryKind = Literal["file", "executable", "link", "folder", "submodule", "unknown"]

_KINDS: dict[int, EntryKind] = {
    0o100644: "file",
    0o100664: "file",
    0o100755: "executable",
    0o120000: "link",
    0o040000: "folder",
    0o160000: "submodule",
}


@dataclass(frozen=True)
class Entry:
    """One entry of a tree, in raw bytes; `path` is relative to where the walk began.

    `name` is what the tree itself says: a hostile one may hold slashes, which the path no longer tells.
    """

    path: bytes
    name: bytes
    kind: EntryKind
    oid: pygit2.Oid

    @property
    def shown(self) -> str:
        """The path for people: what cannot be printed is escaped."""
        return shown(self.path)


def shown(path: bytes) -> str:
    text = path.decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def commit_at(repository: pygit2.Repository, sha: str) -> pygit2.Commit:
    """The commit of a full sha that the mirror holds."""
    try:
        oid = pygit2.Oid(hex=sha)
        _check_size(repository, oid, f'commit "{sha}"')
        found = repository[oid]
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise SourceUnusable(
            f'commit "{sha}" is not in the mirror',
            expected="a commit that was fetched",
            remedy="Fetch again; if it was removed upstream, push a new commit",
        ) from error
    if not isinstance(found, pygit2.Commit):
        raise SourceUnusable(f'"{sha}" is a {found.type_str}', expected="a commit")
    return found


def tree_at(repository: pygit2.Repository, commit: pygit2.Commit, path: str) -> pygit2.Oid:
    """The tree of `path` ("." is the root) in a commit. Raises `SourceUnusable` where there is no folder."""
    oid = commit.tree_id
    for part in [part for part in path.split("/") if part not in {"", "."}]:
        match = _named(repository, oid, part.encode())
        if match is None or match.kind != "folder":
            found = "is not there" if match is None else f"is a {match.kind}"
            raise SourceUnusable(
                f'source.path "{path}" {found} in commit {str(commit.id)[:7]}',
                expected="a folder of the repository",
                remedy="Correct source.path, or push a commit that has it",
            )
        oid = match.oid
    return oid


def entries(repository: pygit2.Repository, oid: pygit2.Oid, prefix: bytes = b"") -> Iterator[Entry]:
    """The entries of one tree."""
    try:
        _check_size(repository, oid, f'folder "{shown(prefix) or "."}"')
        tree = repository[oid]
    except (KeyError, pygit2.GitError) as error:
        raise SourceUnusable(f'folder "{shown(prefix) or "."}" ({oid}) cannot be read: {error}') from error
    if not isinstance(tree, pygit2.Tree):
        raise SourceUnusable(f'"{shown(prefix)}" is a {tree.type_str}', expected="a folder, as its mode says")
    for entry in tree:
        name = entry.raw_name or b""
        yield Entry(prefix + name, name, _KINDS.get(entry.filemode, "unknown"), entry.id)


def _check_size(repository: pygit2.Repository, oid: pygit2.Oid, what: str) -> None:
    """A few kilobytes of a pack can be gigabytes of one object. Raises KeyError, GitError where it is not there."""
    size = int(repository.odb.read_header(oid)[1])
    if size > OBJECT_LIMIT:
        raise SourceUnusable(
            f"{what} is an object of {size} bytes", expected=f"at most {OBJECT_LIMIT}", remedy="Remove it from Git"
        )


def walk(repository: pygit2.Repository, root: pygit2.Oid, *, depth: int) -> Iterator[Entry]:
    """Every entry below a tree, nearest first; folders below `depth` are named but not entered.

    The caller stops at its own bound: the walk itself may be endless for all practical purposes.
    """
    waiting = deque([(root, b"", 0)])
    while waiting:
        oid, prefix, level = waiting.popleft()
        for entry in entries(repository, oid, prefix):
            yield entry
            if entry.kind == "folder" and level + 1 < depth:
                waiting.append((entry.oid, entry.path + b"/", level + 1))


def list_files(repository: pygit2.Repository, root: pygit2.Oid) -> frozenset[str]:
    """Paths of the regular files among the nearest 20,000 entries; names that are not UTF-8 are left out."""
    nearest = itertools.islice(walk(repository, root, depth=LISTING_DEPTH), LISTING_LIMIT)
    regular = (entry.path for entry in nearest if entry.kind in {"file", "executable"})
    return frozenset(path.decode() for path in regular if _is_text(path))


def read_text(repository: pygit2.Repository, root: pygit2.Oid, relative: str) -> str | None:
    """The UTF-8 text of a regular file of at most 1 MiB below a tree, else None."""
    *folders, name = relative.encode().split(b"/")
    oid = root
    for folder in folders:
        below = _named(repository, oid, folder)
        if below is None or below.kind != "folder":
            return None
        oid = below.oid
    entry = _named(repository, oid, name)
    if entry is None or entry.kind not in {"file", "executable"} or size_of(repository, entry) > TEXT_LIMIT:
        return None
    content = content_of(repository, entry)
    return content.decode() if _is_text(content) else None


def _named(repository: pygit2.Repository, oid: pygit2.Oid, name: bytes) -> Entry | None:
    return next((entry for entry in entries(repository, oid) if entry.path == name), None)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def size_of(repository: pygit2.Repository, entry: Entry) -> int:
    """Bytes of a file or link, read without its content."""
    try:
        kind, size = repository.odb.read_header(entry.oid)
    except (KeyError, pygit2.GitError) as error:
        raise SourceUnusable(f'"{entry.shown}" ({entry.oid}) cannot be read: {error}') from error
    if kind != ObjectType.BLOB:
        raise SourceUnusable(f'"{entry.shown}" is not a file in the object store', expected="a file, as its mode says")
    return int(size)


def content_of(repository: pygit2.Repository, entry: Entry) -> bytes:
    """The content; ask `size_of` first."""
    try:
        return repository.odb.read(entry.oid)[1]
    except (KeyError, pygit2.GitError) as error:
        raise SourceUnusable(f'"{entry.shown}" ({entry.oid}) cannot be read: {error}') from error


def describe(commit: pygit2.Commit, tree: pygit2.Oid) -> Commit:
    """The commit as a value. Its texts come from strangers: control and bidi characters are dropped."""
    message = commit.raw_message[:4096].decode("utf-8", "replace").strip()
    author = commit.author.raw_name[:1024].decode("utf-8", "replace")
    return Commit(
        sha=str(commit.id),
        tree=str(tree),
        author=_plain(author, 100),
        subject=_plain(message.partition("\n")[0], 200),
        committed_at=float(commit.commit_time),
    )


def _plain(text: str, limit: int) -> str:
    """Without what could move a cursor, reverse a line or hide: categories C* and line separators."""
    kept = "".join(letter for letter in text if unicodedata.category(letter)[0] != "C" and letter not in "\u2028\u2029")
    kept = kept.strip()
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"
