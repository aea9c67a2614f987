"""Mirrors of the platform's and the apps' repositories: what Git says, whatever happens to the network.

Called by `loop` (refresh), by resolution (reads), `apply.build` (export) and the CLI (`resolve`). The
only way to Git; pygit2 stays behind the `git_*` adapters. Mirrors are bare; there is never a working
tree, and nothing of a repository is executed. Trouble with a remote is a value, not an exception, and
leaves the mirror as it was (invariant 3); a refresh with nothing new writes nothing (invariant 11).
Safe to use from several threads: one repository's trouble never delays another.
"""

from __future__ import annotations

import contextlib
import posixpath
import shutil
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pygit2
from pygit2.enums import ObjectType

from reconciler.adapters import git_mirror, git_platform, git_tidy, git_tree, git_trouble
from reconciler.adapters.git_access import Access, Permissions, Rights
from reconciler.adapters.git_asking import Asker, Ways
from reconciler.adapters.git_export import DEFAULT_LIMITS, Exported, Limits, write_tree
from reconciler.adapters.git_platform import PlatformFiles
from reconciler.adapters.git_source import RepositoryState, SourceState
from reconciler.adapters.git_submodules import Modules, Rules
from reconciler.adapters.git_tidy import Tidier
from reconciler.adapters.git_watched import watched_key
from reconciler.errors import GitsteadError, SourceUnusable
from reconciler.model.address import remote_of
from reconciler.model.credential import CredentialUse
from reconciler.model.desired import SourceProblem
from reconciler.model.disk import shown

_SHORTEST_SHA, _WHOLE_SHA = 4, 40
_CACHED_SOURCES = 256
_CACHED_PLATFORMS = 2


class Mirrors:
    """Every mirror of one state folder, made when first asked for. One process per folder.

    `local_paths` are the folders of this host under which repositories may lie. Keys for ssh
    (`id_ed25519`, `id_ecdsa`, `id_rsa`; the first that exists, without a passphrase) lie beside
    `known_hosts`. Connecting and listing end after `timeout_s`, a transfer after ten times that;
    `max_bytes` bounds one transfer. `rights` are what this host gives: without them no credential can be opened.
    """

    def __init__(
        self,
        folder: Path,
        *,
        local_paths: tuple[str, ...],
        known_hosts: Path,
        timeout_s: float,
        max_bytes: int = 1024**3,
        rights: Rights | None = None,
    ) -> None:
        git_mirror.configure(trust_owners=True)
        self._folder = folder
        self._rights = rights or Rights(folder / "met_hosts")
        ways = Ways(known_hosts, timeout_s=timeout_s, max_bytes=max_bytes, rights=self._rights)
        self._asker = Asker(folder, local_paths=local_paths, ways=ways)
        self._tidier = Tidier(folder, self._asker)
        self.permit(Permissions())
        self._guard = threading.Lock()
        self._states: dict[str, RepositoryState] = {}
        self._sources: OrderedDict[tuple[str, str, str], SourceState] = OrderedDict()
        self._platforms: OrderedDict[tuple[str, str], PlatformFiles] = OrderedDict()

    def permit(self, permissions: Permissions) -> frozenset[str]:
        """From now on ask as these say; the addresses for which that is something new."""
        before = self._asker.permissions
        access = {**permissions.access, **self._rights.fixed}
        self._asker.permissions = now = replace(permissions, access=MappingProxyType(access))
        changed = frozenset(repo for repo in access if before.of(repo) != now.of(repo))
        return changed if before.known_hosts == now.known_hosts else frozenset(access)

    def credential_uses(self) -> Mapping[str, CredentialUse]:
        """How each credential fared since the start, by its name."""
        return self._rights.keyring.uses()

    def refresh(self, repo: str, branches: frozenset[str]) -> RepositoryState:
        """One look at the repository for all wanted branches; fetches only what is new.

        Never raises for trouble of any kind: it is in the state, and the mirror stays as it was.
        """
        missing = {branch: problem for branch in branches if (problem := _misnamed(branch))}
        refs = tuple(f"refs/heads/{branch}" for branch in sorted(branches - set(missing)))
        problem = None
        if refs:
            self._make_room(self._asker.mirror_path(repo), branches)
            answer, error = self._asker.ask(repo, refs)
            if error is None and not answer.refs and not answer.names:
                error = git_trouble.empty(repo)
            problem = git_trouble.problem_of(error) if error else None
            for ref in () if error else set(refs) - set(answer.refs):
                branch = ref.removeprefix("refs/heads/")
                missing[branch] = git_trouble.problem_of(git_trouble.branch_missing(repo, branch, answer.names))
        state = RepositoryState(repo, self._mirrored(repo, refs), problem, MappingProxyType(missing))
        with self._guard:
            self._states[repo] = state
        return state

    def known(self, repo: str, branches: frozenset[str]) -> RepositoryState:
        """What the mirror holds and what the last refresh met, without asking the repository."""
        with self._guard:
            last = self._states.get(repo, RepositoryState(repo, {}))
        missing = {branch: problem for branch in branches if (problem := _misnamed(branch) or last.missing.get(branch))}
        refs = tuple(f"refs/heads/{branch}" for branch in sorted(branches) if _misnamed(branch) is None)
        return RepositoryState(repo, self._mirrored(repo, refs), last.problem, MappingProxyType(missing))

    def resolve(self, repo: str, rev: str) -> str:
        """The full sha that a branch, a tag or a (short) sha names; a branch wins over a tag of its name.

        Raises `SourceUnusable`, `RemoteUnavailable` or `HostKeyMismatch`.
        """
        is_sha = _SHORTEST_SHA <= len(rev) <= 40 and set(rev) <= set("0123456789abcdef")
        found = self._commit(repo, rev) if is_sha and len(rev) == 40 else ""
        refs = tuple(ref for ref in (f"refs/heads/{rev}", f"refs/tags/{rev}") if pygit2.reference_is_valid_name(ref))
        if not found and refs:
            there = self._ask(repo, refs)
            found = next((sha for ref in refs if ref in there and (sha := self._commit_of(repo, ref))), "")
        if not found and is_sha:
            found = self._commit(repo, rev)
        if not found and is_sha:
            self._ask(repo, ())
            found = self._commit(repo, rev)
        if not found:
            raise SourceUnusable(
                f'"{repo}" has no branch, tag or commit "{rev}"',
                expected="a name, or a sha that one of its branches leads to",
                remedy="Push it first, or correct the name",
            )
        return found

    def read_platform(self, repo: str, sha: str) -> PlatformFiles:
        """`platform.yaml` and `projects/*` at a commit. Raises `SourceUnusable` where the mirror lacks it."""
        with self._guard:
            cached = self._platforms.get((repo, sha))
            before = next(reversed(self._platforms.values()), None)
        if cached is not None:
            return cached
        mirror = self._open(repo)
        tree = git_tree.commit_at(mirror, sha).tree_id
        files = git_platform.read_commit(mirror, tree, before.files if before else {})
        with self._guard:
            self._platforms[repo, sha] = files
            while len(self._platforms) > _CACHED_PLATFORMS:
                self._platforms.popitem(last=False)
        return files

    def source_state(self, repo: str, sha: str, path: str) -> SourceState:
        """The commit as seen from `path`. Raises `SourceUnusable` where the commit or the folder is missing."""
        key = (repo, sha, path)
        with self._guard:
            cached = self._sources.get(key)
            if cached is not None:
                self._sources.move_to_end(key)
                return cached
        mirror = self._open(repo)
        commit = git_tree.commit_at(mirror, sha)
        tree = git_tree.tree_at(mirror, commit, path)
        state = SourceState(
            git_tree.describe(commit, tree),
            lambda: git_tree.list_files(self._open(repo), tree),
            lambda relative: git_tree.read_text(self._open(repo), tree, relative),
        )
        with self._guard:
            self._sources[key] = state
            while len(self._sources) > _CACHED_SOURCES:
                self._sources.popitem(last=False)
        return state

    def watched(self, repo: str, sha: str, globs: tuple[str, ...]) -> str:
        """A digest over what `globs`, from the top of the repository, match in a commit (see `git_watched`)."""
        mirror = self._open(repo)
        return watched_key(mirror, git_tree.commit_at(mirror, sha).tree_id, globs)

    def export(self, repo: str, sha: str, *, path: str, destination: Path, limits: Limits = DEFAULT_LIMITS) -> Exported:
        """Write the tree of `path` at a commit into an empty or missing folder; all of it or nothing.

        Submodules below it are fetched, as far as their hosts are allowed. Raises `SourceUnusable` naming what we
        refuse to write, `HostUnfit` where the disk refuses, and for a submodule what fetching raises. What the
        thread is held to (see `bounds`) ends it, and the worker that fetches for it.
        """
        mirror = self._open(repo)
        commit = git_tree.commit_at(mirror, sha)
        permissions, folder = self._asker.permissions, posixpath.normpath(path)
        own = frozenset({remote_of(repo).authority}) if remote_of(repo).scheme else frozenset()
        modules = Modules(
            Rules(own | frozenset(permissions.submodule_hosts), self._asker.address_of, self._fetch_module),
            repo=repo,
            access=permissions.of(repo),
            objects=mirror,
            tree=commit.tree_id,
            prefix="" if folder == "." else f"{folder}/",
        )
        tree = git_tree.tree_at(mirror, commit, path)
        return write_tree(mirror, tree, destination, limits=limits, modules=modules)

    def keep(self, project_name: str, deployment: int, *, app: tuple[str, str], platform: tuple[str, str]) -> bool:
        """Keep both commits of a deployment reachable (invariant 3); whether anything was written.

        `app` and `platform` are (repository, sha); an empty sha is passed over. Raises `SourceUnusable`
        where a mirror lacks its commit.
        """
        name = f"{project_name}/{deployment}"
        beside = app[1] and app[0] == platform[0] and app[1] != platform[1]
        wanted = ((name, *app), (f"{name}{git_mirror.BESIDE}" if beside else name, *platform))
        written = [self._keep(place, repo, sha) for place, repo, sha in wanted if sha]
        return any(written)

    def forget(self, project_name: str, deployment: int) -> None:
        """Let the commits of a deployment go, in every mirror; nothing happens where none was kept."""
        with self._tidier.keeping:
            for path in self._folder.glob("*.git"):
                git_mirror.drop_kept(git_mirror.open_bare(path), f"{project_name}/{deployment}")

    def kept(self) -> frozenset[tuple[str, int]]:
        """(project, deployment) of everything that is kept, over all mirrors."""
        with self._tidier.keeping:
            mirrors = [git_mirror.open_bare(path) for path in self._folder.glob("*.git")]
            return frozenset(kept for mirror in mirrors for kept in git_mirror.kept(mirror))

    def tidy(self, wanted: frozenset[str], now: float) -> tuple[str, ...]:
        """Remove mirrors without a use and remake those that are mostly garbage; what was done, for a log.

        `wanted` are the addresses that specs name, `now` in seconds since 1970. A mirror goes where none names it and
        it keeps no commit, an hour after it was written to; one of a submodule 30 days after its last export. Once a
        day, in a thread that may take half an hour. Raises nothing.
        """
        self._tidier.forget_looks()
        named = {self._asker.mirror_path(repo): repo for repo in wanted}
        unnamed = [path for path in sorted(self._folder.glob("*.git")) if path not in named]
        done = [self._removed(path, now) for path in unnamed]  # first: a spec may name one while others are remade
        for path in sorted(self._folder.glob("*.git")):
            # No ref keeps the commits of submodules that kept commits pin: those mirrors stay whole, and go whole.
            if not git_mirror.is_of_submodule(path) and not self._asker.closed:
                done.append(self._remade(path, named.get(path, "")))
        return tuple(filter(None, done))

    def sweep(self) -> tuple[str, ...]:
        """Remove what a kill left in the mirrors: half packs, stale locks, half-made mirrors (trap 21).

        Only at start, under the instance lock: nobody may be fetching. Returns what was removed.
        """
        removed = [f"{path.name}/{name}" for path in self._folder.glob("*.git") for name in git_mirror.sweep(path)]
        for path in git_mirror.unfinished(self._folder):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path.name)
        return tuple(removed)

    def close(self) -> None:
        """End the worker processes."""
        self._asker.close()

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Idle workers; none until a remote was asked."""
        return self._asker.worker_pids

    def _removed(self, path: Path, now: float) -> str:
        unused_s = git_tidy.UNUSED_S if git_mirror.is_of_submodule(path) else git_tidy.UNNAMED_S
        try:
            freed = self._tidier.remove(path) if now - path.stat().st_mtime > unused_s else 0
        except (OSError, pygit2.GitError) as error:
            return f"{path.name} not removed: {error}"
        return f"{path.name} removed: {shown(freed)}" if freed else ""

    def _remade(self, path: Path, repo: str) -> str:
        try:
            saved = self._tidier.remake(path, self._branches(repo))
        except (OSError, pygit2.GitError, GitsteadError) as error:
            return f"{path.name} not remade: {error}"
        return f"{path.name} remade: {shown(saved)} less" if saved else ""

    def _branches(self, repo: str) -> frozenset[str] | None:
        """The branches that the last refresh was for; None where there was none yet."""
        with self._guard:
            state = self._states.get(repo)
        return frozenset(state.branches) | frozenset(state.missing) if state else None

    def _make_room(self, path: Path, branches: frozenset[str] | None = None) -> None:
        """Before a fetch that would be refused: it is not for garbage that a repository is too big."""
        if self._asker.is_full(path):
            with contextlib.suppress(OSError, pygit2.GitError, GitsteadError):  # the answer then says what is full
                self._tidier.remake(path, branches)

    def _keep(self, name: str, repo: str, sha: str) -> bool:
        try:
            with self._tidier.keeping:
                return git_mirror.put_kept(self._open(repo), name, sha)
        except KeyError as error:
            raise SourceUnusable(
                f'commit "{sha}" of "{repo}" is not in its mirror, so it cannot be kept',
                expected="a commit that was fetched",
            ) from error

    def _fetch_module(self, repo: str, sha: str, access: Access) -> Path:
        """The mirror of a submodule that holds its commit; asked only where it does not yet."""
        path = self._asker.mirror_path(repo, access)
        if not _has_commit(path, sha):
            self._make_room(path)
            _, error = self._asker.ask(repo, (), module_of=access)
            if error is not None:
                raise error
        if not _has_commit(path, sha):
            raise SourceUnusable(
                f'no branch of "{repo}" leads to commit {sha}, which the repository pins',
                expected="a commit that was pushed there",
                remedy="Push it, or pin another one",
            )
        git_mirror.note_use(path)
        return path

    def _ask(self, repo: str, refs: tuple[str, ...]) -> dict[str, str]:
        answer, error = self._asker.ask(repo, refs)
        if error is not None:
            raise error
        return answer.refs

    def _open(self, repo: str) -> pygit2.Repository:
        try:
            return git_mirror.open_bare(self._asker.mirror_path(repo))
        except pygit2.GitError as error:
            raise SourceUnusable(
                f'"{repo}" was never fetched', expected="a mirror of it", remedy="Wait for the next fetch"
            ) from error

    def _mirrored(self, repo: str, refs: tuple[str, ...]) -> MappingProxyType[str, str]:
        try:
            mirror = git_mirror.open_bare(self._asker.mirror_path(repo))
        except pygit2.GitError:
            return MappingProxyType({})
        found = git_mirror.mirrored(mirror, refs)
        return MappingProxyType({ref.removeprefix("refs/heads/"): target for ref, target in found.items()})

    def _commit_of(self, repo: str, ref: str) -> str:
        return git_mirror.commit_of(self._open(repo), git_mirror.mirror_ref(ref))

    def _commit(self, repo: str, sha: str) -> str:
        return _commit_in(self._asker.mirror_path(repo), sha)


def _commit_in(mirror: Path, sha: str) -> str:
    """The full sha of a commit in a mirror; "" where there is none, or more than one."""
    try:
        repository = git_mirror.open_bare(mirror)
        oid = pygit2.Oid(hex=sha) if len(sha) == _WHOLE_SHA else repository.expand_id(sha)
        kind, _ = repository.odb.read_header(oid)  # a stranger's tree may pin a blob of gigabytes: nothing is loaded
    except (pygit2.GitError, KeyError, ValueError):
        return ""
    return str(oid) if kind == ObjectType.COMMIT else ""


def _has_commit(mirror: Path, sha: str) -> bool:
    return _commit_in(mirror, sha) == sha


def _misnamed(branch: str) -> SourceProblem | None:
    if pygit2.reference_is_valid_name(f"refs/heads/{branch}"):
        return None
    error = SourceUnusable(
        f"{branch!r} cannot be a branch",
        expected="a name that Git allows: no spaces, no .., none of ~^:?*[\\",
        remedy="Correct the branch's name",
    )
    return git_trouble.problem_of(error)
