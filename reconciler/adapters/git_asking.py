"""Asks one repository and brings its mirror up to date: in process for a path, by a worker for a remote.

Called by `git_repository.Mirrors` alone. One question per mirror at a time, since two fetches into
one would meet each other's locks; different repositories never wait for each other.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pygit2

from reconciler.adapters import git_hosts, git_mirror, git_trouble
from reconciler.adapters.bounds import current
from reconciler.adapters.git_access import Access, Opened, Permissions, Rights
from reconciler.adapters.git_address import Address, parse, real_folders
from reconciler.adapters.git_compact import compact
from reconciler.adapters.git_fetch import FULL, Answer, Request, classify
from reconciler.adapters.git_hosts import KnownHosts
from reconciler.adapters.git_local import exchange_local
from reconciler.adapters.git_transport import Workers
from reconciler.adapters.git_trouble import Asked
from reconciler.errors import GitsteadError
from reconciler.masking import Masker

TRANSFER_FACTOR = 10
REPACK_S = 1800.0
_KEY_NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")
_ABOUT_THE_CREDENTIAL = frozenset({"auth", "forbidden", "not_found", "redirect"})


@dataclass(frozen=True)
class Ways:
    """How remotes are asked: `known_hosts` is the host's own file, beside which its ssh keys lie."""

    known_hosts: Path
    timeout_s: float
    max_bytes: int
    rights: Rights


class Asker:
    """Holds what every question needs; starts a worker only once a remote is asked."""

    def __init__(self, folder: Path, *, local_paths: tuple[str, ...], ways: Ways) -> None:
        self._folder = folder
        self._local_paths = local_paths
        self._ways = replace(ways, known_hosts=ways.known_hosts.expanduser())
        self._hosts = KnownHosts(
            folder, self._ways.known_hosts, met=ways.rights.met_hosts, remembers=ways.rights.remembers
        )
        self._guard = threading.Lock()
        self._locks: dict[Path, threading.Lock] = {}
        self._workers: Workers | None = None
        self._too_big: dict[Path, tuple[tuple[str, ...], str]] = {}
        self.permissions = Permissions()
        self.closed = False

    def mirror_path(self, repo: str, module_of: Access | None = None) -> Path:
        """Where a mirror lies. One of a submodule is kept apart for each right by which it was fetched: what
        one project may read is not there for another that only knows the address.
        """
        if module_of is None:
            return self._folder / git_mirror.folder_name(repo)
        right = module_of.credential.name if module_of.credential else "own keys" if module_of.own_keys else "none"
        return self._folder / git_mirror.submodule_name(f"{right}: {repo}")

    def address_of(self, repo: str) -> Address:
        """The address of a repository that may be asked. Raises `SourceUnusable`."""
        return parse(repo, local_paths=self._local_paths)

    def ask(
        self, repo: str, refs: tuple[str, ...], *, module_of: Access | None = None
    ) -> tuple[Answer, GitsteadError | None]:
        """List the repository and fetch what differs of `refs` (full names; none means every branch).

        `module_of` is the access of a submodule.
        """
        permissions = self.permissions
        access = module_of or permissions.of(repo)
        mirror = self.mirror_path(repo, module_of)
        try:
            address = self.address_of(repo)
            opened = self._open(access, address)
            with current().holding(self.lock_of(mirror)):
                answer = self._exchange(address, mirror, refs, access=access, opened=opened)
        except GitsteadError as error:
            return Answer(), error
        trouble = self._explain(answer, address, access, opened) if answer.trouble else None
        self._note(answer, access, trouble)
        return answer, trouble

    def is_full(self, mirror: Path) -> bool:
        """Whether nothing more is fetched into a mirror."""
        return git_mirror.held_bytes(mirror) > FULL * self._ways.max_bytes

    def repack(self, mirror: Path, into: Path) -> Answer:
        """Have a worker write a pack of what is reachable in a mirror, where that is worth it (see `git_repack`)."""
        ways = self._ways
        request = Request(
            url="",
            mirror=str(mirror),
            refs=(),
            timeout_s=ways.timeout_s,
            transfer_s=REPACK_S,
            max_bytes=ways.max_bytes,
            into=str(into),
        )
        return self._pool().ask(request)

    def lock_of(self, mirror: Path) -> threading.Lock:
        """Held by whoever fetches into a mirror."""
        with self._guard:
            return self._locks.setdefault(mirror, threading.Lock())

    def close(self) -> None:
        self.closed = True
        with self._guard:
            workers, self._workers = self._workers, None
        if workers is not None:
            workers.close()

    @property
    def worker_pids(self) -> tuple[int, ...]:
        workers = self._workers
        return workers.idle_pids if workers else ()

    def _open(self, access: Access, address: Address) -> Opened | None:
        if access.credential is None or address.kind == "local":
            return None
        return self._ways.rights.keyring.open(access.credential, address.remote)

    def _exchange(
        self, address: Address, mirror: Path, refs: tuple[str, ...], *, access: Access, opened: Opened | None
    ) -> Answer:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            git_mirror.make(mirror, address.url)
            request = self._request(address, mirror, refs, access=access, opened=opened)
        except (OSError, pygit2.GitError) as error:
            return Answer(trouble="mirror", detail=str(error))
        answer = self._answer(address, request)
        if answer.trouble in {"deadline", "died"}:
            git_mirror.sweep(mirror)
        self._remember(mirror, answer)
        if answer.fetched:
            with contextlib.suppress(OSError, pygit2.GitError):  # the next fetch tries again
                compact(mirror)
        return answer

    def _remember(self, mirror: Path, answer: Answer) -> None:
        """What was too big is not fetched again before other commits are there."""
        if not answer.trouble:
            self._too_big.pop(mirror, None)
        elif answer.trouble == "too_big" and answer.refs:
            held = git_mirror.mirrored(git_mirror.open_bare(mirror), answer.refs)
            wanted = {target for ref, target in answer.refs.items() if held.get(ref) != target}
            self._too_big[mirror] = tuple(sorted(wanted)), answer.detail

    def _answer(self, address: Address, request: Request) -> Answer:
        if address.kind == "local":
            return exchange_local(request, address, real_folders(self._local_paths))
        try:
            return self._pool().ask(request)
        except (OSError, GitsteadError) as error:
            return Answer(trouble=classify(error), detail=str(error))

    def _request(
        self, address: Address, mirror: Path, refs: tuple[str, ...], *, access: Access, opened: Opened | None
    ) -> Request:
        ways = self._ways
        too_big, said = self._too_big.get(mirror, ((), ""))
        request = Request(
            url=address.url,
            mirror=str(mirror),
            refs=refs,
            timeout_s=ways.timeout_s,
            transfer_s=ways.timeout_s * TRANSFER_FACTOR,
            max_bytes=ways.max_bytes,
            too_big=too_big,
            too_big_said=said,
            username=opened.username if opened else "",
            secret=opened.text if opened else "",
        )
        if address.kind != "ssh":
            return replace(request, home=str(self._folder))
        home = self._hosts.home(
            address.remote,
            self.permissions.known_hosts,
            may_meet=access.host_key == "first-use",
            timeout_s=ways.timeout_s,
        )
        keys = tuple(str(ways.known_hosts.parent / name) for name in _KEY_NAMES) if access.own_keys else ()
        return replace(request, home=str(home), keys=() if opened else keys)

    def _explain(self, answer: Answer, address: Address, access: Access, opened: Opened | None) -> GitsteadError:
        ways, remote = self._ways, address.remote
        detail = Masker([opened.text]).mask(answer.detail) if opened else answer.detail
        asked = Asked(address, timeout_s=ways.timeout_s, known_hosts=ways.known_hosts, met=ways.rights.met_hosts)
        if opened:
            asked = replace(asked, credential=opened.shown)
        if answer.trouble == "host_key":
            known = self._hosts.keys(remote, self.permissions.known_hosts, may_meet=access.host_key == "first-use")
            with contextlib.suppress(GitsteadError):  # the fingerprint is a help; without it the sentence is true
                found = git_hosts.scan(remote, timeout_s=ways.timeout_s)
                asked = replace(asked, shown_keys=git_hosts.fingerprints(git_hosts.keys_of(found, remote)))
            asked = replace(asked, known_keys=known)
        return git_trouble.explain(replace(answer, detail=detail), asked)

    def _note(self, answer: Answer, access: Access, error: GitsteadError | None) -> None:
        if access.credential is None:
            return
        if error is None:
            self._ways.rights.keyring.used(access.credential.name, time.time())
        elif answer.trouble in _ABOUT_THE_CREDENTIAL:
            self._ways.rights.keyring.failed(access.credential.name, str(error))

    def _pool(self) -> Workers:
        with self._guard:
            if self._workers is None:
                self._workers = Workers(log_path=self._folder / "worker.log")
            return self._workers
