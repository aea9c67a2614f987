"""Submodules of a repository: what `.gitmodules` says, where each may come from, and by what right it is asked.

Called by `git_repository` for an export. `.gitmodules` is a stranger's text: of each entry only `path` and `url` are
read, by a parser of our own, and nothing of it becomes configuration. A submodule comes from an allowed host or the
build fails with a sentence; exactly the commit that the tree pins is used, or none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pygit2

from reconciler.adapters.bounds import current
from reconciler.adapters.git_access import Access
from reconciler.adapters.git_address import Address
from reconciler.adapters.git_tree import Entry, commit_at, read_text, shown
from reconciler.errors import GitsteadError, SourceUnusable
from reconciler.model.address import remote_of

MOST = 20
DEEPEST = 3
_SECTION = re.compile(r'\[\s*submodule\s+"(?:[^"\\]|\\.)*"\s*\]\s*(?:[#;].*)?', re.IGNORECASE)
_PAIR = re.compile(r"(?P<key>[A-Za-z][A-Za-z0-9-]*)\s*=\s*(?P<value>.*)")
_PIECE = re.compile(r'"((?:[^"\\]|\\["\\])*)"|\\(["\\])|([^"\\#;]+)')

Fetch = Callable[[str, str, Access], Path]


@dataclass(frozen=True)
class Rules:
    """What holds for all submodules of one export: `hosts` as `submodule_hosts` writes them, `parse` refuses an
    address that no repository may have, `fetch` brings (address, commit) by an access into a mirror.
    """

    hosts: frozenset[str]
    parse: Callable[[str], Address]
    fetch: Fetch


@dataclass(frozen=True)
class Modules:
    """The submodules of one commit in an export.

    `repo` is its address, `access` how it is asked, `tree` its whole tree, `prefix` the folder of it that is
    exported; `at` is where it lies in the outermost one, for messages. `count` is shared by all levels.
    """

    rules: Rules
    repo: str
    access: Access
    objects: pygit2.Repository
    tree: pygit2.Oid
    prefix: str = ""
    at: str = ""
    level: int = 1
    count: list[str] = field(default_factory=list)

    def enter(self, entry: Entry) -> tuple[pygit2.Oid, Modules]:
        """The tree of a submodule, its objects readable from `objects` from now on, and what is inside it.

        Raises `SourceUnusable` where it may not be fetched, and what fetching it raises, naming it; `BuildFailed`
        or `ProgramTimedOut` where the export is to end.
        """
        path = f"{self.prefix}{shown(entry.path)}"
        bounds = current()
        bounds.begin(f"fetching submodule {self.at}{path}")
        try:
            return self._enter(path, str(entry.oid))
        except GitsteadError as error:
            bounds.check()  # what was ended on the way looks like trouble of its host
            what = f'submodule "{self.at}{path}": {error.what}'
            raise type(error)(what, expected=error.expected, remedy=error.remedy) from error

    def _enter(self, path: str, sha: str) -> tuple[pygit2.Oid, Modules]:
        self.count.append(path)
        if len(self.count) > MOST or self.level > DEEPEST:
            raise SourceUnusable(
                "it is one too many",
                expected=f"at most {MOST} submodules, at most {DEEPEST} inside each other",
                remedy="Copy its files into the repository, or fetch it while building",
            )
        text = read_text(self.objects, self.tree, ".gitmodules") or ""
        url = declared(text).get(path, "")
        if not url:
            raise SourceUnusable(
                "it has no path and url in .gitmodules",
                expected="an entry for it, as git submodule add writes it",
                remedy="Add the entry, or remove the folder with git rm --cached",
            )
        repo = self._allowed(url)
        is_same = remote_of(repo) == remote_of(self.repo)
        access = self.access if is_same else Access(own_keys=False)
        mirror = self.rules.fetch(repo, sha, access)
        self.objects.odb.add_disk_alternate(str(mirror / "objects"))
        tree = commit_at(self.objects, sha).tree_id
        return tree, replace(
            self, repo=repo, access=access, tree=tree, prefix="", at=f"{self.at}{path}/", level=self.level + 1
        )

    def _allowed(self, url: str) -> str:
        """The whole address of a submodule that may be fetched."""
        is_relative = url.startswith(("./", "../"))
        repo = resolved(url, self.repo) if is_relative else url
        address = self.rules.parse(repo) if repo.partition(":")[0] != "file" and repo[:1] not in "/-~" else None
        if is_relative and address is None and self.repo.startswith(("/", "file://")):
            address = self.rules.parse(repo)
        if address is None:
            raise SourceUnusable(
                f"its url {url!r} is a path of this host",
                expected="a relative url such as ../lib.git, or https://…",
                remedy="Correct .gitmodules",
            )
        if address.kind != "local" and address.remote.authority not in self.rules.hosts:
            raise SourceUnusable(
                f'it comes from "{address.remote.authority}", from which no submodule may come',
                expected=f"one of {', '.join(sorted(self.rules.hosts))}" if self.rules.hosts else "an allowed host",
                remedy="Name the host in submodule_hosts of platform.yaml, or copy the files into the repository",
            )
        return repo


def declared(text: str) -> dict[str, str]:
    """Path to url of each entry in a `.gitmodules`. Raises `SourceUnusable` for a line that is not of its format."""
    found: dict[str, str] = {}
    entry: dict[str, str] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            entry = {} if _SECTION.fullmatch(line) else None
            continue
        if entry is None:
            continue
        pair = _PAIR.fullmatch(line)
        if pair and pair["key"].lower() in {"path", "url"}:
            entry[pair["key"].lower()] = _value(pair["value"], number)
            if len(entry) == 2:
                found[entry["path"]] = entry["url"]
    return found


def _value(text: str, number: int) -> str:
    """A value of Git's configuration format: quotes and escapes undone, a comment dropped."""
    made, position = "", 0
    while position < len(text) and text[position] not in "#;":
        piece = _PIECE.match(text, position)
        if piece is None:
            raise SourceUnusable(
                f"line {number} of .gitmodules cannot be read", expected="key = value, as git submodule add writes it"
            )
        quoted, escaped, plain = piece.groups()
        made += quoted.replace('\\"', '"').replace("\\\\", "\\") if quoted is not None else escaped or plain
        position = piece.end()
    return made.strip()


def resolved(url: str, parent: str) -> str:
    """A relative url against its parent's address, as Git does it. Raises `SourceUnusable` where it leads above it."""
    separator = "/" if "://" in parent or parent.startswith("/") else ":"
    if separator == "/" and "://" in parent:
        scheme, _, rest = parent.partition("://")
        authority, _, path = rest.partition("/")
        base = f"{scheme}://{authority}/"
    else:
        base, _, path = parent.partition(separator)
        base += separator
    parts = [part for part in path.split("/") if part]
    for step in url.split("/"):
        if step in {"", "."}:
            continue
        if step != "..":
            parts.append(step)
        elif parts:
            parts.pop()
        else:
            raise SourceUnusable(f"its url {url!r} leads above {parent}", expected="a path on the same host")
    return base + "/".join(parts)
