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
_TOKENS = re.compile(rb"\*\*/|\*\*|.", re.DOTALL)
_MOST_STEPS_KEPT = 10_000


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


class Glob:
    """A glob as in .gitignore: `*` and `?` stay in a folder, `**` crosses folders; all else is itself.

    No regular expression: names that a stranger chose could keep one busy for hours. Here a path costs one step a
    byte, from the places of the glob that may come next to those behind it, and each step is worked out once.
    """

    def __init__(self, glob: str) -> None:
        self._tokens = _TOKENS.findall(glob.encode())
        self._steps: dict[tuple[frozenset[int], int], frozenset[int]] = {}

    def match(self, path: bytes) -> bool:
        """Whether it takes the whole path."""
        places = frozenset(self._from(0))
        for byte in path:
            step = (places, byte)
            after = self._steps.get(step)
            if after is None:
                if len(self._steps) >= _MOST_STEPS_KEPT:
                    self._steps.clear()
                after = self._steps[step] = frozenset(each for at in places for each in self._after(at, byte))
            places = after
        return len(self._tokens) in places

    def _from(self, at: int) -> Iterator[int]:
        """The place, and those behind it that need no byte more."""
        yield at
        while at < len(self._tokens) and self._tokens[at] in (b"*", b"**", b"**/"):
            at += 1
            yield at

    def _after(self, at: int, byte: int) -> Iterator[int]:
        token = self._tokens[at] if at < len(self._tokens) else b""
        is_slash = byte == ord("/")
        if token == b"**" or (token == b"*" and not is_slash):
            yield from self._from(at)
        elif token == b"**/":
            yield at
            if is_slash:
                yield from self._from(at + 1)
        elif token == bytes((byte,)) or (token == b"?" and not is_slash):
            yield from self._from(at + 1)


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
    wanted = Glob("/".join(words[fixed:]))
    for count, entry in enumerate(walk(repository, oid, depth=LISTING_DEPTH), 1):
        if count > MOST_ENTRIES:
            raise SourceUnusable(
                f'source.watch "{glob}" leads to more than {MOST_ENTRIES} entries',
                expected="a glob that begins with the folder that it is about",
                remedy="Name the folder: services/blog/**/*.py, not **/*.py",
            )
        if entry.kind != "folder" and wanted.match(entry.path):
            yield (above + entry.path).decode("utf-8", "backslashreplace"), str(entry.oid)
