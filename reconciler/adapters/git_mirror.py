"""One bare mirror of a repository: how its folder and refs are named, made, read and swept.

Called by `git_repository` and, in the worker, by `git_fetch`. Knows nothing of the network, and never
makes a working tree. Wanted refs are copied to `refs/mirror/<escaped name>`, so that a branch `a` that
became `a/b` at the source cannot block the next fetch; `refs/gitstead/<project>/<deployment>` keep the
commits of what runs (invariant 3).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import pygit2
from pygit2.enums import ConfigLevel, ObjectType, RepositoryInitFlag, RepositoryOpenFlag

from reconciler.model.naming import digest

_KEPT = "refs/gitstead/"
_MIRRORED = "refs/mirror/"
BESIDE = "-platform"  # where app and platform are one repository and two commits
_SUBMODULE = "submodule-"
_USE_S = 86400.0
_UNFINISHED = ".new-"
_LEFTOVERS = ("objects/pack/pack_git2_*", "objects/tmp_object_git2_*", "objects/*/tmp_object_git2_*")


def configure(*, trust_owners: bool = False) -> None:
    """Set up libgit2 for this process: nothing of anybody's git configuration applies, writes are durable.

    A person's `insteadOf` would lead an address past our checks. `trust_owners` lets repositories of
    other users be opened: only where every path was checked before.
    """
    for level in (ConfigLevel.GLOBAL, ConfigLevel.XDG, ConfigLevel.SYSTEM, ConfigLevel.PROGRAMDATA):
        pygit2.settings.search_path[level] = ""
    pygit2.settings.enable_fsync_gitdir(True)
    pygit2.settings.cache_max_size(16 * 1024 * 1024)
    pygit2.settings.owner_validation = not trust_owners


def folder_name(url: str) -> str:
    """The mirror's folder, from a digest of the address: no part of an address becomes a path."""
    return f"{digest(url)[:32]}.git"


def submodule_name(text: str) -> str:
    """The folder of a submodule's mirror, from its address and the right to read it."""
    return f"{_SUBMODULE}{folder_name(text)}"


def is_of_submodule(mirror: Path) -> bool:
    return mirror.name.startswith(_SUBMODULE)


def note_use(mirror: Path) -> None:
    """A mirror's own time says when it was last exported from, to a day."""
    if time.time() - mirror.stat().st_mtime > _USE_S:
        os.utime(mirror)


def open_bare(path: Path) -> pygit2.Repository:
    """Open a mirror that exists. Raises `pygit2.GitError` where there is none."""
    return pygit2.Repository(str(path), RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.BARE)


def unfinished_path(folder: Path) -> Path:
    """A name beside the mirrors for what is half made, or half removed."""
    return folder / f"{_UNFINISHED}{secrets.token_hex(8)}"


def make(path: Path, url: str) -> None:
    """Make an empty mirror of mode 0700 unless it exists; complete or not at all, also after a kill."""
    if path.is_dir():
        return
    unfinished = unfinished_path(path.parent)
    flags = RepositoryInitFlag.BARE | RepositoryInitFlag.MKDIR | RepositoryInitFlag.NO_REINIT
    repository = pygit2.init_repository(str(unfinished), flags=flags, mode=0o700)
    unfinished.chmod(0o700)
    repository.config["remote.origin.url"] = url
    repository.config["remote.origin.tagopt"] = "--no-tags"
    repository.config["http.followRedirects"] = False  # in libgit2: only to the same host
    repository.config["core.logAllRefUpdates"] = False
    repository.free()
    unfinished.rename(path)


def mirror_ref(ref: str) -> str:
    """Where a ref of the source (`refs/heads/main`) stands in the mirror."""
    return _MIRRORED + quote(ref.removeprefix("refs/"), safe="")


def commit_of(repository: pygit2.Repository, ref: str) -> str:
    """The commit that a full ref of this repository leads to, tags peeled; "" where there is none."""
    reference = repository.references.get(ref)
    if reference is None:
        return ""
    try:
        return str(reference.peel(ObjectType.COMMIT).id)
    except (pygit2.GitError, KeyError, ValueError):
        return ""


def target_of(repository: pygit2.Repository, ref: str) -> str:
    """What a full ref points at, not peeled; "" where there is none. Reads no object."""
    reference = repository.references.get(ref)
    if reference is None:
        return ""
    try:
        return str(reference.resolve().target)
    except (pygit2.GitError, KeyError):
        return ""


def mirrored(repository: pygit2.Repository, refs: Iterable[str]) -> dict[str, str]:
    """Wanted refs of the source that the mirror holds, with what they point at."""
    found = {ref: target_of(repository, mirror_ref(ref)) for ref in refs}
    return {ref: target for ref, target in found.items() if target}


def targets(repository: pygit2.Repository) -> dict[str, str]:
    """Every ref of the mirror with what it points at."""
    return {ref: target_of(repository, ref) for ref in repository.references}


def drop_unwanted(repository: pygit2.Repository, branches: Iterable[str]) -> None:
    """Let go of every ref of the source but these branches; what is kept stays."""
    wanted = {mirror_ref(f"refs/heads/{branch}") for branch in branches}
    for ref in [ref for ref in repository.references if ref.startswith(_MIRRORED) and ref not in wanted]:
        repository.references.delete(ref)


def pack_files(mirror: Path) -> dict[Path, int]:
    """The packs that readers see, with their bytes."""
    return {
        pack: pack.stat().st_size
        for pack in (mirror / "objects" / "pack").glob("pack-*.pack")
        if pack.with_suffix(".idx").is_file()
    }


def held_bytes(mirror: Path) -> int:
    """The bytes of all packs, and of what else lies beside them."""
    try:
        with os.scandir(mirror / "objects" / "pack") as entries:
            return sum(entry.stat().st_size for entry in entries)
    except FileNotFoundError:  # no mirror, or a pack of it that went just now
        return 0


def put_kept(repository: pygit2.Repository, name: str, sha: str) -> bool:
    """Let `refs/gitstead/<name>` keep a commit; False, without a write, where it does already.

    Raises `KeyError` where the mirror lacks the commit.
    """
    ref = _KEPT + name
    if target_of(repository, ref) == sha:
        return False
    if pygit2.Oid(hex=sha) not in repository.odb:
        raise KeyError(sha)
    repository.references.create(ref, sha, force=True)
    return True


def drop_kept(repository: pygit2.Repository, name: str) -> None:
    """Let a kept commit go, and the one beside it; nothing happens where it was not kept."""
    for ref in (_KEPT + name, _KEPT + name + BESIDE):
        if repository.references.get(ref) is not None:
            repository.references.delete(ref)


def kept(repository: pygit2.Repository) -> Iterator[tuple[str, int]]:
    """(project, deployment) of every kept commit."""
    for ref in repository.references:
        if ref.startswith(_KEPT):
            project_name, _, number = ref.removeprefix(_KEPT).removesuffix(BESIDE).rpartition("/")
            if number.isdecimal():
                yield project_name, int(number)


def sweep(mirror: Path) -> list[str]:
    """Remove what a kill left: half packs, packs that lost their index, stale locks (trap 21).

    Only while nobody fetches.

    Returns the names of what was removed.
    """
    found = [path for pattern in _LEFTOVERS for path in mirror.glob(pattern)]
    found += [path for path in mirror.glob("objects/pack/pack-*.pack") if not path.with_suffix(".idx").exists()]
    found += [path for path in mirror.glob("*.lock") if path.is_file()]
    for folder, _, names in os.walk(mirror / "refs"):
        found += [Path(folder, name) for name in names if name.endswith(".lock")]
    for path in found:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    return sorted(str(path.relative_to(mirror)) for path in found)


def unfinished(folder: Path) -> Iterator[Path]:
    """Mirrors that a kill left half made."""
    return folder.glob(f"{_UNFINISHED}*")
