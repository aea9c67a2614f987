"""A build context is exactly the tree of a commit, and no tree can write anywhere else (trap 20)."""

from __future__ import annotations

import time
from pathlib import Path

import pygit2
import pytest

from reconciler.adapters.git_export import Limits, write_tree
from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.git_tree import OBJECT_LIMIT, commit_at, list_files
from reconciler.errors import HostUnfit, SourceUnusable
from tests.git_servers import Source, git

FILE, EXECUTABLE, LINK, FOLDER, MODULE = 0o100644, 0o100755, 0o120000, 0o040000, 0o160000
Tree = dict[bytes, tuple[int, "bytes | Tree"]]


@pytest.fixture
def repository(tmp_path: Path) -> pygit2.Repository:
    return pygit2.init_repository(str(tmp_path / "repository"), bare=True)


def _tree(repository: pygit2.Repository, wanted: Tree) -> pygit2.Oid:
    """Write a tree object byte by byte, so that it may hold what no tool would write."""
    raw = b""
    for name, (mode, content) in wanted.items():
        oid = _tree(repository, content) if isinstance(content, dict) else repository.create_blob(content)
        raw += f"{mode:o} ".encode() + name + b"\0" + oid.raw
    return repository.odb.write(pygit2.enums.ObjectType.TREE, raw)


def test_the_tree_of_a_commit_is_written_exactly(tmp_path: Path) -> None:
    source = Source(tmp_path)
    (source.work / "run.sh").write_text("#!/bin/sh\n")
    (source.work / "run.sh").chmod(0o755)
    (source.work / "sub" / "deep").mkdir(parents=True)
    (source.work / "sub" / "deep" / "up").symlink_to("../../run.sh")
    (source.work / "dangling").symlink_to("sub/not-there")
    (source.work / ".dockerignore").write_text("*.log\n")
    (source.work / ".gitattributes").write_text("*.txt filter=evil eol=crlf export-subst\n")
    (source.work / ".gitignore").write_text("x\n")
    sha = source.push({"a.txt": "$Format:%H$\n", "ünïcode/fü.txt": "ü"})
    mirrors = Mirrors(tmp_path / "m", local_paths=(str(tmp_path),), known_hosts=tmp_path / "k", timeout_s=10)
    mirrors.refresh(str(source.bare), frozenset({"main"}))
    out = tmp_path / "out"
    exported = mirrors.export(str(source.bare), sha, path=".", destination=out)
    listed = git("ls-tree", "-r", "-z", "--name-only", sha, cwd=source.work).rstrip("\0").split("\0")
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_symlink() or not path.is_dir())
    assert written == sorted(listed)
    assert exported.files == len(listed)
    for name in written:
        assert (out / name).is_symlink() == (source.work / name).is_symlink()
        if not (out / name).is_symlink():
            assert (out / name).read_bytes() == (source.work / name).read_bytes()
            assert (out / name).stat().st_mode & 0o777 == (0o755 if name == "run.sh" else 0o644)
    assert (out / "sub/deep/up").readlink() == Path("../../run.sh")
    assert (out / "sub").stat().st_mode & 0o777 == 0o755

    below = tmp_path / "below"
    mirrors.export(str(source.bare), sha, path="ünïcode", destination=below)
    assert [path.name for path in below.iterdir()] == ["fü.txt"]
    with pytest.raises(SourceUnusable, match=r'"deep/up" is a symlink to .* which leaves the tree'):
        mirrors.export(str(source.bare), sha, path="sub", destination=tmp_path / "leaves")
    assert not (tmp_path / "leaves").exists()


@pytest.mark.parametrize(
    "name",
    [
        b".git",
        b".GIT",
        b".Git ",
        b".git.",
        b"git~1",
        b"GIT~1",
        b".git::$INDEX_ALLOCATION",
        ".g\u200cit".encode(),
        b"..",
        b".",
        b"",
        b"a/b",
        b"/etc",
        b"a\\b",
        b"a\nb",
        b"a\x1bb",
        b"\xff\xfe",
        b"x" * 256,
    ],
)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_hostile_name_is_refused_and_nothing_is_written(
    repository: pygit2.Repository, tmp_path: Path, name: bytes, kind: str
) -> None:
    hostile: Tree = {b"fine": (FILE, b"1"), name: (FILE, b"x") if kind == "file" else (FOLDER, {b"y": (FILE, b"x")})}
    out = tmp_path / "out"
    with pytest.raises(SourceUnusable) as refused:
        write_tree(repository, _tree(repository, hostile), out)
    assert not out.exists()
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({b"a": (FILE, b"1"), b"b": (LINK, b"a"), b"B": (FILE, b"2")}, 'stands beside "b"'),
        (
            {b"a": (FILE, b"1"), b"a ": (FILE, b"1"), b"a\xcc\x88": (FILE, b""), b"\xc3\xa4": (FILE, b"")},
            "stands beside",
        ),
        ({b"a": (LINK, b"/tmp"), b"A": (FOLDER, {b"x": (FILE, b"1")})}, "stands beside"),
        ({b"x": (LINK, b"/etc/passwd")}, "is a symlink to '/etc/passwd', which leaves the tree"),
        ({b"x": (LINK, b"../x")}, "leaves the tree"),
        ({b"x": (LINK, b"a/../../y"), b"a": (FOLDER, {b"f": (FILE, b"")})}, "leaves the tree"),
        ({b"d": (FOLDER, {b"up": (LINK, b".."), b"out": (LINK, b"up/../etc")})}, "leaves the tree"),
        ({b"x": (LINK, b"x")}, "leaves the tree"),
        ({b"x": (LINK, b"")}, "leaves the tree"),
        ({b"x": (LINK, b"a\0b")}, "leaves the tree"),
        ({b"x": (LINK, b"a" * 5000)}, "has 5000 bytes; expected at most 4096"),
        ({b"x": (FOLDER, b"not a tree")}, "is a blob; expected a folder"),
        ({b"x": (FILE, {b"y": (FILE, b"")})}, "is not a file in the object store"),
    ],
)
def test_a_hostile_tree_is_refused_and_nothing_is_written(
    repository: pygit2.Repository, tmp_path: Path, tree: Tree, words: str
) -> None:
    with pytest.raises(SourceUnusable, match=words.replace("'/", "./").replace("d',", "d.,")):
        write_tree(repository, _tree(repository, tree), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", [0o010644, 0o020666, 0o060660, 0o104755, 0o100777, 0o100600, 0o0])
def test_a_strange_mode_is_refused_or_a_plain_file(repository: pygit2.Repository, tmp_path: Path, mode: int) -> None:
    oid = _tree(repository, {b"x": (mode, b"1")})
    try:
        write_tree(repository, oid, tmp_path / "out")
    except SourceUnusable:
        assert not (tmp_path / "out").exists()
    else:
        assert (tmp_path / "out" / "x").is_file()
        assert (tmp_path / "out" / "x").stat().st_mode in {0o100644, 0o100755}


def test_the_same_name_twice_is_refused(repository: pygit2.Repository, tmp_path: Path) -> None:
    blob = repository.create_blob(b"/etc")
    below = _tree(repository, {b"passwd": (FILE, b"owned")})
    raw = b"120000 x\0" + blob.raw + b"40000 x\0" + below.raw
    with pytest.raises(SourceUnusable, match="stands beside"):
        write_tree(repository, repository.odb.write(pygit2.enums.ObjectType.TREE, raw), tmp_path / "out")


def test_a_submodule_is_refused_by_name(repository: pygit2.Repository, tmp_path: Path) -> None:
    raw = b"160000 vendor\0" + b"\1" * 20
    with pytest.raises(SourceUnusable, match=r'"vendor" is a submodule; expected files'):
        write_tree(repository, repository.odb.write(pygit2.enums.ObjectType.TREE, raw), tmp_path / "out")


def test_a_missing_object_is_told(repository: pygit2.Repository, tmp_path: Path) -> None:
    for raw in (b"100644 a\0" + b"\1" * 20, b"40000 a\0" + b"\2" * 20):
        with pytest.raises(SourceUnusable, match="cannot be read"):
            write_tree(repository, repository.odb.write(pygit2.enums.ObjectType.TREE, raw), tmp_path / "out")


def test_a_git_bomb_is_stopped_by_the_number_of_entries(repository: pygit2.Repository, tmp_path: Path) -> None:
    oid = _tree(repository, {b"f": (FILE, b"x")})
    for _ in range(10):
        raw = b"".join(f"40000 d{number}".encode() + b"\0" + oid.raw for number in range(10))
        oid = repository.odb.write(pygit2.enums.ObjectType.TREE, raw)
    began = time.monotonic()
    with pytest.raises(SourceUnusable, match="more than 50000 entries"):
        write_tree(repository, oid, tmp_path / "out")
    assert time.monotonic() - began < 10


def test_limits_hold_before_the_first_byte_is_written(repository: pygit2.Repository, tmp_path: Path) -> None:
    oid = _tree(repository, {b"a": (FILE, b"x" * 600), b"b": (FILE, b"y" * 600)})
    deep: Tree = {b"f": (FILE, b"")}
    for _ in range(5):
        deep = {b"d": (FOLDER, deep)}
    for tree, limits, words in (
        (oid, Limits(total_bytes=1000), "more than 1000 bytes"),
        (oid, Limits(file_bytes=500), "has 600 bytes; expected at most 500"),
        (oid, Limits(entries=1), "more than 1 entries"),
        (_tree(repository, deep), Limits(depth=3), "lies too deep"),
    ):
        with pytest.raises(SourceUnusable, match=words):
            write_tree(repository, tree, tmp_path / "out", limits=limits)
    assert not (tmp_path / "out").exists()
    assert write_tree(repository, _tree(repository, deep), tmp_path / "out", limits=Limits(depth=6)).files == 1


def test_links_that_lead_through_ever_more_links_are_refused_in_seconds(
    repository: pygit2.Repository, tmp_path: Path
) -> None:
    detour = b"a/" * 200 + b"../" * 200
    tree: Tree = {b"l%02d" % at: (LINK, detour + b"l%02d" % (at + 1)) for at in range(39)}
    tree |= {b"m%05d" % at: (LINK, b"l00") for at in range(5000)}
    began = time.monotonic()
    with pytest.raises(SourceUnusable, match=r"symlinks of the tree, .* lead through too many others"):
        write_tree(repository, _tree(repository, tree), tmp_path / "out")
    assert time.monotonic() - began < 20
    assert not (tmp_path / "out").exists()


def test_a_folder_whose_list_alone_is_enormous_is_not_read(repository: pygit2.Repository, tmp_path: Path) -> None:
    blob = repository.create_blob(b"x").raw
    raw = b"".join(b"100644 %08d\0%b" % (at, blob) for at in range(OBJECT_LIMIT // 36 + 1))
    root = repository.odb.write(pygit2.enums.ObjectType.TREE, raw)
    for read in (lambda: list_files(repository, root), lambda: write_tree(repository, root, tmp_path / "out")):
        with pytest.raises(SourceUnusable, match=rf'folder "." is an object of {len(raw)} bytes'):
            read()
    author = b"A <a@example.com> 1 +0000"
    commit = b"tree %b\nauthor %b\ncommitter %b\n\n%b" % (str(root).encode(), author, author, b"x" * OBJECT_LIMIT)
    sha = str(repository.odb.write(pygit2.enums.ObjectType.COMMIT, commit))
    with pytest.raises(SourceUnusable, match=rf'commit "{sha}" is an object of {len(commit)} bytes'):
        commit_at(repository, sha)


def test_a_link_that_stays_inside_is_written_as_a_link(repository: pygit2.Repository, tmp_path: Path) -> None:
    tree: Tree = {
        b"a": (FILE, b"1"),
        b"d": (FOLDER, {b"up": (LINK, b".."), b"a": (LINK, b"up/a"), b"here": (LINK, b"./a")}),
        b"via": (LINK, b"d/up/d/../a"),
    }
    write_tree(repository, _tree(repository, tree), tmp_path / "out")
    for name in ("d/a", "d/here", "via"):
        assert (tmp_path / "out" / name).is_symlink()
        assert (tmp_path / "out" / name).read_text() == "1"


def test_a_folder_that_is_not_empty_is_left_alone(repository: pygit2.Repository, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(HostUnfit, match="is not empty"):
        write_tree(repository, _tree(repository, {b"a": (FILE, b"1")}), tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text() == "mine"
    with pytest.raises(HostUnfit, match="could not be written"):
        write_tree(repository, _tree(repository, {b"a": (FILE, b"1")}), tmp_path / "out" / "mine" / "below")
