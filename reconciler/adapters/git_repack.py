"""Writes what the refs of a mirror lead to into one new pack, where that is worth it.

Runs in a worker process alone (`git_worker`), whose limits of memory and time hold for it, for `git_tidy`. Reads the
mirror and writes beside it: must not remove or replace anything there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from reconciler.adapters.git_fetch import Answer, Request, words
from reconciler.adapters.git_mirror import open_bare, pack_files, target_of

TIMES = 2
_LARGE = 0x80000000


def repack(request: Request) -> Answer:
    """Write one pack of all that is reachable into `request.into`, where the mirror's packs are more than twice that.

    `fetched` says whether it was written, `refs` what every ref pointed at. Never raises for trouble with the mirror.
    """
    try:
        return _repack(Path(request.mirror), Path(request.into))
    except (pygit2.GitError, OSError, ValueError, KeyError, MemoryError, struct.error) as error:
        return Answer(trouble="mirror", detail=words(error))


def _repack(mirror: Path, into: Path) -> Answer:
    packs = pack_files(mirror)
    sizes: dict[bytes, int] = {}
    for pack, size in packs.items():
        sizes.update(_sizes(pack.with_suffix(".idx").read_bytes(), size))
    repository = open_bare(mirror)
    roots = {ref: target_of(repository, ref) for ref in repository.references}
    reached = _reached(repository, {pygit2.Oid(hex=target) for target in roots.values() if target})
    if sum(packs.values()) <= TIMES * sum(sizes.get(oid.raw, 0) for oid in reached):
        return Answer()
    builder = pygit2.PackBuilder(repository)
    for oid in reached:
        if oid.raw in sizes or oid in repository.odb:
            builder.add(oid)
    builder.write(str(into))
    return Answer(refs=roots, fetched=True)


def _sizes(index: bytes, pack_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Object id and the bytes that it takes in its pack, of an index of version 2."""
    (count,) = struct.unpack_from(">I", index, 8 + 255 * 4)
    names = 8 + 256 * 4
    places = names + count * 24
    large = places + count * 4
    offsets = list(struct.unpack_from(f">{count}I", index, places))
    for position, offset in enumerate(offsets):
        if offset & _LARGE:
            (offsets[position],) = struct.unpack_from(">Q", index, large + (offset & ~_LARGE) * 8)
    end = pack_bytes - 20
    for position in sorted(range(count), key=offsets.__getitem__, reverse=True):
        yield index[names + position * 20 : names + position * 20 + 20], end - offsets[position]
        end = offsets[position]


def _reached(repository: pygit2.Repository, seen: set[pygit2.Oid]) -> set[pygit2.Oid]:
    """Everything that `seen` leads to, itself included; what a remote never sent is passed over, no blob is read."""
    waiting = list(seen)
    while waiting:
        oid = waiting.pop()
        try:
            kind, _ = repository.odb.read_header(oid)
        except KeyError:
            continue
        for each, is_leaf in _next(repository, oid, ObjectType(kind)):
            if each not in seen:
                seen.add(each)
                if not is_leaf:
                    waiting.append(each)
    return seen


def _next(repository: pygit2.Repository, oid: pygit2.Oid, kind: ObjectType) -> Iterator[tuple[pygit2.Oid, bool]]:
    """Where an object leads, and whether that is a blob. A submodule's commit is not of this repository."""
    if kind == ObjectType.BLOB:
        return
    found = repository[oid]
    if isinstance(found, pygit2.Commit):
        yield found.tree_id, False
        yield from ((parent, False) for parent in found.parent_ids)
    elif isinstance(found, pygit2.Tag):
        yield found.target, False
    elif isinstance(found, pygit2.Tree):
        for entry in found:
            if entry.type != ObjectType.COMMIT:
                yield entry.id, entry.type == ObjectType.BLOB
