"""Writes exactly the tree of one commit into a folder, by our own rules: a build context.

Called by `git_repository.Mirrors.export`. A checkout by the library would follow the repository's own
symlinks out of the folder (trap 20); here every name is checked, every link is resolved inside the tree,
and every limit is checked before the first byte is written. No filter, hook or attribute runs.
"""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pygit2

from reconciler.adapters.bounds import current
from reconciler.adapters.git_submodules import Modules
from reconciler.adapters.git_tree import Entry, content_of, size_of, walk
from reconciler.errors import GitsteadError, HostUnfit, SourceUnusable

_INVISIBLE = frozenset("\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff")
_LINK_HOPS = 40
_LINK_DEPTH = 256
_LINK_STEPS = 1_000_000  # of all links together: each may lead through others, and so cost far more than its bytes


@dataclass(frozen=True)
class Limits:
    """Bounds of one export: bytes in all and of one file, entries of any kind, folders below each other."""

    total_bytes: int = 1024 * 1024 * 1024
    file_bytes: int = 256 * 1024 * 1024
    entries: int = 50_000
    depth: int = 64


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Exported:
    """What was written: files and links, and the bytes of the files."""

    files: int
    total_bytes: int


def write_tree(
    repository: pygit2.Repository,
    root: pygit2.Oid,
    destination: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    modules: Modules | None = None,
) -> Exported:
    """Write the tree `root` into `destination`, an empty or missing folder; all of it or nothing.

    The limits hold for the tree with all its submodules; without `modules` there may be none. Raises
    `SourceUnusable` naming the first entry that we refuse, `HostUnfit` where the disk refuses, and what fetching
    a submodule raises; `BuildFailed` or `ProgramTimedOut` where the job is to end (see `bounds`).
    """
    found = _checked(repository, root, limits, modules)
    sizes = _sizes(repository, found, limits)
    _check_links(repository, found, sizes)
    current().begin("writing the source")
    try:
        destination.mkdir(mode=0o755, exist_ok=True)
        if any(destination.iterdir()):
            raise HostUnfit(f"folder {destination} is not empty", expected="an empty folder for a clean export")
        try:
            _write(repository, found, os.fsencode(destination))
        except (OSError, GitsteadError):
            shutil.rmtree(destination, ignore_errors=True)
            raise
    except OSError as error:
        raise HostUnfit(
            f"a build context could not be written to {destination}: {error.strerror}",
            expected=f"{sum(sizes.values())} bytes of free space",
            remedy="Free space on that disk",
        ) from error
    return Exported(len(sizes), sum(sizes.values()))


def _everything(
    repository: pygit2.Repository, root: pygit2.Oid, modules: Modules | None, *, depth: int, below: bytes = b""
) -> Iterator[Entry]:
    """Every entry with a name and a kind that we write; a submodule is a folder with what is in it."""
    for found in walk(repository, root, depth=depth):
        entry = replace(found, path=below + found.path)
        _check_name(entry)
        _check_kind(entry)
        if entry.kind != "submodule":
            yield entry
            continue
        if modules is None:
            raise _refused(entry, "is a submodule", "files alone")
        tree, inner = modules.enter(found)
        yield replace(entry, kind="folder")
        yield from _everything(
            repository, tree, inner, depth=depth - found.path.count(b"/") - 1, below=entry.path + b"/"
        )


def _checked(
    repository: pygit2.Repository, root: pygit2.Oid, limits: Limits, modules: Modules | None
) -> dict[bytes, Entry]:
    found: dict[bytes, Entry] = {}
    spellings: dict[str, Entry] = {}
    bounds = current()
    for entry in _everything(repository, root, modules, depth=limits.depth + 1):
        bounds.check()
        spelling = unicodedata.normalize("NFC", entry.path.decode()).casefold()
        twin = spellings.setdefault(spelling, entry)
        if twin is not entry:
            raise _refused(
                entry, f'stands beside "{twin.shown}"', "names that differ by more than case", "Rename one of them"
            )
        found[entry.path] = entry
        if len(found) > limits.entries:
            raise SourceUnusable(
                f"the tree has more than {limits.entries} entries",
                expected=f"at most {limits.entries} files and folders",
                remedy="Set source.path to a smaller folder",
            )
        if entry.path.count(b"/") >= limits.depth:
            raise _refused(entry, "lies too deep", f"at most {limits.depth} folders below each other", "Flatten it")
    return found


def _check_name(entry: Entry) -> None:
    try:
        name = entry.name.decode()
    except UnicodeDecodeError as error:
        raise _refused(entry, "is not a UTF-8 name", "names in UTF-8", "Rename it") from error
    visible = "".join(letter for letter in name.casefold() if letter not in _INVISIBLE)
    bad = (
        name in {"", ".", ".."}
        or len(entry.name) > 255
        or any(letter in "/\\" or unicodedata.category(letter) == "Cc" for letter in name)
        or visible.partition(":")[0].rstrip(" .") in {".git", "git~1"}
    )
    if bad:
        raise _refused(entry, "has a name that we do not write", "no .git, no .., no backslash, no control characters")


def _check_kind(entry: Entry) -> None:
    if entry.kind == "unknown":
        raise _refused(entry, "is neither a file, a folder nor a link", "an entry with a mode that Git writes")


def _sizes(repository: pygit2.Repository, found: Mapping[bytes, Entry], limits: Limits) -> dict[bytes, int]:
    sizes: dict[bytes, int] = {}
    total = 0
    for entry in found.values():
        if entry.kind == "folder":
            continue
        size = sizes[entry.path] = size_of(repository, entry)
        bound = 4096 if entry.kind == "link" else limits.file_bytes
        if size > bound:
            raise _refused(entry, f"has {size} bytes", f"at most {bound}", "Fetch large files while building instead")
        total += size
        if total > limits.total_bytes:
            raise SourceUnusable(
                f"the tree has more than {limits.total_bytes} bytes",
                expected=f"at most {limits.total_bytes} bytes in all",
                remedy="Set source.path to a smaller folder",
            )
    return sizes


def _check_links(repository: pygit2.Repository, found: Mapping[bytes, Entry], sizes: Mapping[bytes, int]) -> None:
    links = {path: content_of(repository, found[path]) for path in sizes if found[path].kind == "link"}
    left, bounds = _LINK_STEPS, current()
    for path, target in links.items():
        bounds.check()
        steps = _followed(path, links, at_most=left)
        left -= steps or 0
        if left <= 0:
            raise SourceUnusable(
                f'the symlinks of the tree, "{found[path].shown}" among them, lead through too many others',
                expected=f"at most {_LINK_STEPS} steps from all links to their files",
                remedy="Let them name their files, not other links",
            )
        if steps is None:
            raise _refused(
                found[path],
                f"is a symlink to {target.decode('utf-8', 'backslashreplace')!r}, which leaves the tree",
                "links to files of the same tree, by a relative path",
                "Replace it by the file itself",
            )


def _followed(path: bytes, links: Mapping[bytes, bytes], *, at_most: int) -> int | None:
    """Follow a link step by step, other links on its way included; never above the root, never absolute.

    The steps that this took, `at_most` so many; None where it leaves the tree.
    """
    here = path.split(b"/")[:-1]
    waiting = [path.rpartition(b"/")[2]]  # the next step is the last one
    hops = steps = 0
    while waiting and steps < at_most:
        steps += 1
        step = waiting.pop()
        if step in {b"", b"."}:
            continue
        if step == b"..":
            if not here:
                return None
            here.pop()
            continue
        target = links.get(b"/".join([*here, step]))
        if target is None:
            here.append(step)
            if len(here) > _LINK_DEPTH:
                return None
            continue
        hops += 1
        if hops > _LINK_HOPS or not target or target.startswith(b"/") or b"\0" in target:
            return None
        waiting += reversed(target.split(b"/"))
    return steps


def _write(repository: pygit2.Repository, found: Mapping[bytes, Entry], destination: bytes) -> None:
    # The walk names a folder before what is in it, and no path was written by anybody but us.
    bounds = current()
    for entry in found.values():
        bounds.check()
        target = os.path.join(destination, entry.path)  # noqa: PTH118 - raw names, which Path cannot hold
        if entry.kind == "folder":
            os.mkdir(target, 0o755)  # noqa: PTH102
        elif entry.kind == "link":
            os.symlink(content_of(repository, entry), target)  # noqa: PTH211
        else:
            _write_file(target, content_of(repository, entry), 0o755 if entry.kind == "executable" else 0o644)


def _write_file(target: bytes, data: bytes, mode: int) -> None:
    file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(file, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
    finally:
        os.close(file)


def _refused(entry: Entry, found: str, expected: str, remedy: str = "Remove it from the repository") -> SourceUnusable:
    return SourceUnusable(f'"{entry.shown}" {found}', expected=expected, remedy=remedy)
