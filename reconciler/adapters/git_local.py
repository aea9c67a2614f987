"""Asks a repository of this host, in process: its refs are read as files, a fetch copies from disk.

Called by `git_repository` for paths that `git_address` allowed. Must not follow a repository out of the
allowed folders: neither its `.git` file nor its alternates (that is why libgit2 and git refuse other
users' repositories, which we open on purpose).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pygit2
from pygit2.enums import RepositoryOpenFlag

from reconciler.adapters.git_address import Address, is_within
from reconciler.adapters.git_fetch import (
    SHOWN_NAMES,
    Answer,
    Callbacks,
    Refused,
    Request,
    check_size,
    classify,
    fetch,
    words,
)
from reconciler.adapters.git_mirror import mirror_ref, open_bare, target_of

_ALTERNATES_LIMIT = 64 * 1024


def exchange_local(request: Request, address: Address, folders: tuple[Path, ...]) -> Answer:
    """Like `git_fetch.exchange`, for a path of this host. Never raises for trouble with either side."""
    assert address.path is not None  # noqa: S101 - tells mypy that it is local
    answer = Answer()
    try:
        source = _open(address.path, folders)
        answer = _listed(source, request.refs)
        mirror = open_bare(Path(request.mirror))
        wanted = [ref for ref, target in answer.refs.items() if target_of(mirror, mirror_ref(ref)) != target]
        if wanted:
            check_size(request, {answer.refs[ref] for ref in wanted})
            callbacks = Callbacks(request)
            callbacks.begin_transfer()
            fetch(mirror.remotes["origin"], wanted, callbacks)
            answer = replace(answer, fetched=True)
    except Refused as refused:
        return Answer(answer.refs, answer.names, refused.trouble, refused.detail)
    except (pygit2.GitError, OSError, ValueError, KeyError) as error:
        return Answer(answer.refs, answer.names, classify(error), words(error))
    return answer


def _open(path: Path, folders: tuple[Path, ...]) -> pygit2.Repository:
    if not path.is_dir():
        raise Refused("not_found", "no such folder on this host")
    try:
        source = pygit2.Repository(str(path), RepositoryOpenFlag.NO_SEARCH)
    except pygit2.GitError as error:
        trouble = "sha256" if "object format" in str(error) else "not_found"
        raise Refused(trouble, words(error)) from error
    git_folder = Path(source.path).resolve()
    for folder in (git_folder, (git_folder / "objects").resolve(), *_alternates(git_folder)):
        if not is_within(folder, folders):
            raise Refused("not_found", f"it takes its content from {folder}, outside of local_paths")
    return source


def _alternates(git_folder: Path) -> list[Path]:
    try:
        with (git_folder / "objects" / "info" / "alternates").open("rb") as file:
            text = file.read(_ALTERNATES_LIMIT).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return []
    return [(git_folder / "objects" / line).resolve() for line in text.splitlines() if line and line[0] != "#"]


def _listed(source: pygit2.Repository, refs: tuple[str, ...]) -> Answer:
    if refs:
        found = {ref: target for ref in refs if (target := target_of(source, ref))}
        if len(found) == len(refs):
            return Answer(found)
    names = sorted(reference for reference in source.references if reference.startswith("refs/heads/"))
    if not refs:
        found = {ref: target for ref in names if (target := target_of(source, ref))}
    return Answer(found, tuple(name.removeprefix("refs/heads/") for name in names[:SHOWN_NAMES]))
