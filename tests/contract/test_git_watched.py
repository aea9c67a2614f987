"""What source.watch looks at: a digest that moves with the files that its globs match, and with nothing else."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.git_watched import Glob
from reconciler.errors import SourceUnusable
from tests.git_servers import Source

FILES = {
    "services/blog/app.py": "1",
    "services/blog/deep/er/x.py": "1",
    "services/shop/app.py": "1",
    "lib/a.py": "1",
    "lib/sub/b.py": "1",
    "README.md": "1",
}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    made = Source(tmp_path)
    made.push(FILES)
    return made


@pytest.fixture
def mirrors(tmp_path: Path) -> Iterator[Mirrors]:
    made = Mirrors(tmp_path / "mirrors", local_paths=(str(tmp_path),), known_hosts=tmp_path / "known", timeout_s=10)
    yield made
    made.close()


def _watched(mirrors: Mirrors, source: Source, *globs: str) -> str:
    sha = mirrors.refresh(str(source.bare), frozenset({"main"})).branches["main"]
    return mirrors.watched(str(source.bare), sha, globs)


@pytest.mark.parametrize(
    ("glob", "moves", "stays"),
    [
        ("services/blog/**", "services/blog/deep/er/x.py", "services/shop/app.py"),
        ("services/blog/**", "services/blog/new.py", "lib/a.py"),
        ("services/*/app.py", "services/shop/app.py", "services/blog/deep/er/x.py"),
        ("lib/*.py", "lib/a.py", "lib/sub/b.py"),
        ("lib/**/*.py", "lib/sub/b.py", "lib/notes.txt"),
        ("**/app.py", "services/blog/app.py", "lib/a.py"),
        ("README.md", "README.md", "services/README.md"),
        ("**", "anything.txt", ""),
    ],
)
def test_a_digest_moves_with_what_the_glob_matches_alone(
    mirrors: Mirrors, source: Source, glob: str, moves: str, stays: str
) -> None:
    before = _watched(mirrors, source, glob)
    if stays:
        source.push({stays: "2"})
        assert _watched(mirrors, source, glob) == before
    source.push({moves: "2"})
    assert _watched(mirrors, source, glob) != before


def test_a_removed_file_and_another_glob_move_it_too(mirrors: Mirrors, source: Source) -> None:
    before = _watched(mirrors, source, "lib/**")
    assert _watched(mirrors, source, "lib/**", "README.md") != before
    (source.work / "lib" / "a.py").unlink()
    source.push({"unrelated": "2"})
    assert _watched(mirrors, source, "lib/**") != before


def test_globs_that_match_nothing_are_told_since_nothing_would_ever_be_deployed(
    mirrors: Mirrors, source: Source
) -> None:
    for glob in ("services/blgo/**", "README.md/x", "lib/*.rb", "nothing"):
        with pytest.raises(SourceUnusable, match="matches no file"):
            _watched(mirrors, source, glob)


def test_only_stars_and_question_marks_are_wild() -> None:
    assert Glob("a[b].py").match(b"a[b].py")
    assert not Glob("a[b].py").match(b"ab.py")
    assert Glob("?.py").match(b"x.py")
    assert not Glob("?.py").match(b"/.py")
    assert not Glob("*.py").match(b"x.py\n")
    assert Glob("a/**/b").match(b"a/b")
    assert Glob("a/**/b").match(b"a/x/y/b")


def test_a_glob_means_what_its_parts_mean() -> None:
    meant = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    for parts in itertools.product(("**/", "**", "*", "?", "a", "/"), repeat=4):
        glob = "".join(parts)
        tokens = re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", glob)
        wanted = re.compile("".join(meant.get(each) or re.escape(each) for each in tokens).encode() + rb"\Z", re.DOTALL)
        found = Glob(glob)
        for signs in itertools.chain.from_iterable(itertools.product(b"a/b", repeat=size) for size in range(5)):
            path = bytes(signs)
            assert found.match(path) == bool(wanted.match(path)), (glob, path)


def test_names_that_nearly_match_cost_no_time() -> None:
    glob, began = Glob("**/*-*-*-*-*-*-*.py"), time.monotonic()
    for at in range(1000):
        assert not glob.match(b"src/" + b"-" * 240 + b"%d" % at)
    assert time.monotonic() - began < 10
