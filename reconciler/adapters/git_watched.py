"""What of a commit `source.watch` looks at: one digest over the files that its globs match.

Called by `git_repository` alone. Reads trees, never contents; a glob that names a whole folder costs one look.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pygit2

from reconciler.adapters.git_tree import LISTING_DEPTH, entries, walk
from reconciler.errors import SourceUnusable
from reconciler.model.naming import digest

MOST_ENTRIES = 100_000
_TOKENS = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def watched_key(repository: pygit2.Repository, root: pygit2.Oid, globs: tuple[str, ...]) -> str:
    """Changes when a file that one of `globs` matches is added, changed or removed, and with nothing else.

    Raises `SourceUnusable` where no glob matches anything, or one leads to more than 100,000 entries.
    """
    found = dict(pair for glob in globs for pair in _matches(repository, root, glob))
    if not found:
        raise SourceUnusable(
            f"source.watch ({', '.join(globs)}) matches no file of the commit",
            expected="globs from the top of the repository, such as services/blog/**",
            remedy="Correct source.watch, or leave it out: then every file below source.path counts",
        )
    return digest(sorted(found.items()))


def pattern(glob: str) -> re.Pattern[bytes]:
    """A glob as in .gitignore: `*` and `?` stay in a folder, `**` crosses folders; all else is itself."""
    parts = (_WILD.get(token) or re.escape(token) for token in _TOKENS.findall(glob))
    return re.compile("".join(parts).encode() + rb"\Z", re.DOTALL)


def _matches(repository: pygit2.Repository, root: pygit2.Oid, glob: str) -> Iterator[tuple[str, str]]:
    """(path, object id) of each match; a folder stands for all that is in it where the glob takes all of it."""
    words = glob.split("/")
    fixed = next((at for at, word in enumerate(words) if set(word) & {"*", "?"}), len(words))
    oid, above = root, b""
    for at, word in enumerate(words[:fixed]):
        entry = next((each for each in entries(repository, oid, above) if each.path == above + word.encode()), None)
        if entry is None or (entry.kind != "folder" and at < len(words) - 1):
            return
        if at == len(words) - 1:
            yield entry.shown, str(entry.oid)
            return
        oid, above = entry.oid, entry.path + b"/"
    if words[fixed:] == ["**"]:
        yield above.decode("utf-8", "backslashreplace"), str(oid)
        return
    wanted = pattern("/".join(words[fixed:]))
    for count, entry in enumerate(walk(repository, oid, depth=LISTING_DEPTH), 1):
        if count > MOST_ENTRIES:
            raise SourceUnusable(
                f'source.watch "{glob}" leads to more than {MOST_ENTRIES} entries',
                expected="a glob that begins with the folder that it is about",
                remedy="Name the folder: services/blog/**/*.py, not **/*.py",
            )
        if entry.kind != "folder" and wanted.match(entry.path):
            yield (above + entry.path).decode("utf-8", "backslashreplace"), str(entry.oid)
