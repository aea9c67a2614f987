"""What an app repository holds at one commit, and what became of a refresh: the values handed out.

Made by `git_repository`; read by the loop, by detection and by resolution. Contents are immutable by
their sha, so what was read once is kept; nothing here reaches the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from reconciler.model.desired import SourceProblem
from reconciler.model.release import Commit

_KEPT_NAMES = 2_000
_KEPT_TEXT = 64 * 1024


@dataclass(frozen=True)
class RepositoryState:
    """The newest known commit of each wanted branch, and what kept us from newer ones.

    `branches` has what the mirror holds, also while `problem` says that the repository could not be
    asked or used. `missing` has the branches that the repository answered for and does not have.
    """

    repo: str
    branches: Mapping[str, str]
    problem: SourceProblem | None = None
    missing: Mapping[str, SourceProblem] = field(default_factory=lambda: MappingProxyType({}))

    def problem_of(self, branch: str) -> SourceProblem | None:
        """Why the newest commit of this branch is not known; None where all is well."""
        return self.problem or self.missing.get(branch)


class SourceState:
    """One commit seen from `source.path`: the commit, the regular files below it, and their texts."""

    def __init__(
        self, commit: Commit, list_files: Callable[[], frozenset[str]], read_file: Callable[[str], str | None]
    ) -> None:
        self.commit = commit
        self._list_files = list_files
        self._read_file = read_file
        self._listing: frozenset[str] | None = None
        self._texts: dict[str, str | None] = {}

    @property
    def listing(self) -> frozenset[str]:
        """Relative paths of regular files, the nearest 20,000 entries; links and submodules are not in it."""
        if self._listing is not None:
            return self._listing
        listing = self._list_files()
        if len(listing) <= _KEPT_NAMES:
            self._listing = listing
        return listing

    def read_text(self, relative: str) -> str | None:
        """The UTF-8 text of a regular file of at most 1 MiB, else None."""
        if relative in self._texts:
            return self._texts[relative]
        text = self._read_file(relative)
        if text is None or len(text) <= _KEPT_TEXT:
            self._texts[relative] = text
        return text
