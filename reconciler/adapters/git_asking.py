"""Asks one repository and brings its mirror up to date: in process for a path, by a worker for a remote.

Called by `git_repository.Mirrors` alone. One question per repository at a time, since two fetches into
one mirror would meet each other's locks; different repositories never wait for each other.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pygit2

from reconciler.adapters import git_mirror, git_trouble
from reconciler.adapters.git_address import Address, parse, real_folders
from reconciler.adapters.git_compact import compact
from reconciler.adapters.git_fetch import Answer, Request, classify
from reconciler.adapters.git_local import exchange_local
from reconciler.adapters.git_transport import Workers
from reconciler.errors import GitsteadError

TRANSFER_FACTOR = 10
_KEY_NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")


class Asker:
    """Holds what every question needs; starts a worker only once a remote is asked."""

    def __init__(
        self, folder: Path, *, local_paths: tuple[str, ...], known_hosts: Path, timeout_s: float, max_bytes: int
    ) -> None:
        self._folder = folder
        self._local_paths = local_paths
        self._known_hosts = known_hosts.expanduser()
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._workers: Workers | None = None

    def mirror_path(self, repo: str) -> Path:
        return self._folder / git_mirror.folder_name(repo)

    def ask(self, repo: str, refs: tuple[str, ...]) -> tuple[Answer, GitsteadError | None]:
        """List the repository and fetch what differs of `refs` (full names; none means every branch)."""
        try:
            address = parse(repo, local_paths=self._local_paths)
        except GitsteadError as error:
            return Answer(), error
        with self._lock_of(repo):
            answer = self._exchange(address, refs)
        if not answer.trouble:
            return answer, None
        return answer, git_trouble.explain(answer, address, timeout_s=self._timeout_s, known_hosts=self._known_hosts)

    def close(self) -> None:
        with self._guard:
            workers, self._workers = self._workers, None
        if workers is not None:
            workers.close()

    @property
    def worker_pids(self) -> tuple[int, ...]:
        workers = self._workers
        return workers.idle_pids if workers else ()

    def _exchange(self, address: Address, refs: tuple[str, ...]) -> Answer:
        mirror = self.mirror_path(address.url)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            git_mirror.make(mirror, address.url)
        except (OSError, pygit2.GitError) as error:
            return Answer(trouble="mirror", detail=str(error))
        answer = self._answer(address, self._request(address, mirror, refs))
        if answer.trouble in {"deadline", "died"}:
            git_mirror.sweep(mirror)
        if answer.fetched:
            with contextlib.suppress(OSError, pygit2.GitError):  # the next fetch tries again
                compact(mirror)
        return answer

    def _answer(self, address: Address, request: Request) -> Answer:
        if address.kind == "local":
            return exchange_local(request, address, real_folders(self._local_paths))
        try:
            return self._pool().ask(request)
        except (OSError, GitsteadError) as error:
            return Answer(trouble=classify(error), detail=str(error))

    def _request(self, address: Address, mirror: Path, refs: tuple[str, ...]) -> Request:
        is_ssh = address.kind == "ssh"
        return Request(
            url=address.url,
            mirror=str(mirror),
            refs=refs,
            host=address.host,
            is_ssh=is_ssh,
            keys=tuple(str(self._known_hosts.parent / name) for name in _KEY_NAMES) if is_ssh else (),
            timeout_s=self._timeout_s,
            transfer_s=self._timeout_s * TRANSFER_FACTOR,
            max_bytes=self._max_bytes,
        )

    def _pool(self) -> Workers:
        with self._guard:
            if self._workers is None:
                home = git_mirror.ssh_home(self._folder, self._known_hosts)
                self._workers = Workers(home, log_path=self._folder / "worker.log")
            return self._workers

    def _lock_of(self, repo: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(repo, threading.Lock())
