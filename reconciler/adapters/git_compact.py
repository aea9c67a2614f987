"""Joins the small packs of a mirror: each fetch leaves one more, and every read looks through them all.

Called by `git_asking` after a fetch, while it holds the repository's lock. Loses no object, reachable or
not, and is safe to kill: the joined pack is complete before an old one goes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pygit2

from reconciler.adapters.git_mirror import open_bare

MANY = 64
SMALL = 8 * 1024 * 1024
_MAGIC = b"\xfftOc\x00\x00\x00\x02"


def compact(mirror: Path) -> int:
    """Join packs of less than 8 MiB once there are 64 of them; how many were joined.

    Raises `OSError` or `pygit2.GitError` where the disk refuses; the mirror is whole then, too.
    """
    folder = mirror / "objects" / "pack"
    small = [path for path in folder.glob("pack-*.idx") if _is_small(path)]
    if len(small) < MANY:
        return 0
    builder = pygit2.PackBuilder(open_bare(mirror))
    for index in small:
        for oid in _objects(index.read_bytes()):
            builder.add(oid)
    before = {path.name for path in folder.iterdir()}
    builder.write(str(folder))
    if {path.name for path in folder.iterdir()} == before:
        return 0
    for index in small:
        index.unlink()
        index.with_suffix(".pack").unlink()
    return len(small)


def _is_small(index: Path) -> bool:
    pack = index.with_suffix(".pack")
    if not pack.is_file() or pack.stat().st_size >= SMALL:
        return False
    with index.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _objects(index: bytes) -> Iterator[pygit2.Oid]:
    """The object ids in a pack's index of version 2, the only one that libgit2 writes."""
    (count,) = struct.unpack_from(">I", index, 8 + 255 * 4)
    start = 8 + 256 * 4
    for position in range(start, start + count * 20, 20):
        yield pygit2.Oid(raw=index[position : position + 20])
