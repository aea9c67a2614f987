"""Mirrors do not grow without bound: what nothing leads to goes, what is wanted or kept stays readable."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest

from reconciler.adapters import git_mirror, git_tidy
from reconciler.adapters.git_repository import Mirrors
from reconciler.model.condition import Reason
from tests.git_servers import HttpServer, Source, git, until

MAIN = frozenset({"main"})
MIB = 1024 * 1024


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


@pytest.fixture
def mirrors(tmp_path: Path) -> Iterator[Mirrors]:
    made = _mirrors(tmp_path)
    yield made
    made.close()


def _mirrors(folder: Path, *, max_bytes: int = 1024**3) -> Mirrors:
    return Mirrors(
        folder / "mirrors",
        local_paths=(str(folder),),
        known_hosts=folder / "known",
        timeout_s=10,
        max_bytes=max_bytes,
    )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also small mirrors are looked at."""
    monkeypatch.setattr(git_tidy, "FLOOR_BYTES", 1024)


def _rewrite(source: Source, mib: int = 1) -> str:
    """Force-push another history with so much that cannot be compressed; its commit."""
    git("checkout", "-q", "--orphan", f"other-{time.monotonic_ns()}", cwd=source.work)
    (source.work / "noise").write_bytes(os.urandom(mib * MIB))
    return source.push({"a.txt": str(time.monotonic_ns())})


def _fetched(mirrors: Mirrors, source: Source) -> str:
    state = mirrors.refresh(str(source.bare), MAIN)
    assert state.problem is None
    return state.branches["main"]


def _mirror_of(mirrors: Mirrors, repo: str) -> Path:
    return mirrors._asker.mirror_path(repo)


def _everything(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")}


def _exports(mirrors: Mirrors, source: Source, sha: str, folder: Path) -> bool:
    folder.mkdir(exist_ok=True)
    mirrors.export(str(source.bare), sha, path=".", destination=folder / sha)
    return (folder / sha / "noise").read_bytes() == _blob(source, sha)


def _blob(source: Source, sha: str) -> bytes:
    blob = pygit2.Repository(str(source.work)).revparse_single(f"{sha}:noise")
    assert isinstance(blob, pygit2.Blob)
    return blob.data


def test_after_force_pushes_a_mirror_holds_what_is_wanted_or_kept_invariant_3(
    source: Source, mirrors: Mirrors, tmp_path: Path
) -> None:
    repo, shas = str(source.bare), []
    for _ in range(5):
        shas.append(_rewrite(source, 16))
        assert _fetched(mirrors, source) == shas[-1]
        if len(shas) == 2:
            mirrors.keep("blog", 1, app=(repo, shas[-1]), platform=("", ""))
    mirror = _mirror_of(mirrors, repo)
    assert git_mirror.held_bytes(mirror) > 79 * MIB
    reader = git_mirror.open_bare(mirror)
    assert reader.get(shas[0]) is not None
    (done,) = mirrors.tidy(frozenset({repo}), time.time())
    assert done.startswith(f"{mirror.name} remade: ")
    assert git_mirror.held_bytes(mirror) < 33 * MIB
    assert all(_exports(mirrors, source, sha, tmp_path / "out") for sha in (shas[1], shas[-1]))
    assert reader.get(shas[1]) is not None, "a reader that was there goes on"
    assert mirrors.kept() == {("blog", 1)}
    git("fsck", "--full", "--strict", cwd=mirror)
    before = _everything(tmp_path / "mirrors")
    assert mirrors.tidy(frozenset({repo}), time.time()) == ()
    assert _everything(tmp_path / "mirrors") == before, "nothing is written where nothing is to do (invariant 11)"
    newest = source.push({"b.txt": "more"})
    assert _fetched(mirrors, source) == newest
    assert _exports(mirrors, source, newest, tmp_path / "out")


@pytest.mark.usefixtures("small")
def test_history_tags_submodules_and_old_branches_are_told_apart(source: Source, mirrors: Mirrors) -> None:
    repo = str(source.bare)
    first = source.push({"a.txt": "1", "folder/b.txt": "b" * 5000})
    git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lib", cwd=source.work)
    git("commit", "-q", "-m", "Pin", cwd=source.work)
    git("tag", "-a", "-m", "One", "v1", cwd=source.work)
    git("push", "-q", "origin", "v1", "HEAD:main", cwd=source.work)
    head = git("rev-parse", "HEAD", cwd=source.work)
    mirrors.resolve(repo, "v1")
    git("checkout", "-q", "-b", "old", cwd=source.work)
    (source.work / "noise").write_bytes(os.urandom(MIB))
    old = source.push({}, branch="old")
    mirrors.refresh(repo, MAIN | {"old"})
    assert mirrors.tidy(frozenset({repo}), time.time()) == (), "all of it is wanted"
    mirrors.refresh(repo, MAIN)
    mirrors.tidy(frozenset({repo}), time.time())
    mirror = git_mirror.open_bare(_mirror_of(mirrors, repo))
    assert mirror.get(old) is None
    assert mirrors.source_state(repo, first, "folder").read_text("b.txt") == "b" * 5000
    assert mirrors.known(repo, MAIN).branches["main"] == head
    assert git_mirror.held_bytes(_mirror_of(mirrors, repo)) < MIB / 2
    git("fsck", "--full", "--strict", cwd=_mirror_of(mirrors, repo))


@pytest.mark.usefixtures("small")
def test_a_mirror_whose_branches_are_all_gone_is_left_with_nothing(source: Source, mirrors: Mirrors) -> None:
    repo, other = str(source.bare), frozenset({"other"})
    _rewrite(source)
    _fetched(mirrors, source)
    mirrors.refresh(repo, other)
    assert len(mirrors.tidy(frozenset({repo}), time.time())) == 1
    assert git_mirror.held_bytes(_mirror_of(mirrors, repo)) < MIB / 2
    assert mirrors.refresh(repo, MAIN).problem is None


def test_a_mirror_that_no_spec_names_goes_unless_it_keeps_a_commit(tmp_path: Path, mirrors: Mirrors) -> None:
    left, kept, wanted = (Source(tmp_path, name) for name in ("left", "kept", "wanted"))
    for source in (left, kept, wanted):
        source.push({"a.txt": "1"})
        _fetched(mirrors, source)
    sha = mirrors.known(str(kept.bare), MAIN).branches["main"]
    mirrors.keep("blog", 3, app=(str(kept.bare), sha), platform=("", ""))
    named = frozenset({str(wanted.bare)})
    assert mirrors.tidy(named, time.time()) == (), "one that was made just now may be of a spec that is read just now"
    (done,) = mirrors.tidy(named, time.time() + 7200)
    assert done.startswith(f"{_mirror_of(mirrors, str(left.bare)).name} removed")
    assert not _mirror_of(mirrors, str(left.bare)).exists()
    mirrors.export(str(kept.bare), sha, path=".", destination=tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_text() == "1"
    mirrors.forget("blog", 3)
    assert len(mirrors.tidy(named, time.time() + 7200)) == 1
    assert [*(tmp_path / "mirrors").glob("*.git")] == [_mirror_of(mirrors, str(wanted.bare))]
    assert mirrors.refresh(str(left.bare), MAIN).problem is None, "it may come back"


def test_the_mirror_of_a_submodule_goes_30_days_after_its_last_export(tmp_path: Path, mirrors: Mirrors) -> None:
    lib, app = Source(tmp_path, "lib"), Source(tmp_path, "app")
    pinned = lib.push({"l.txt": "l"})
    git("update-index", "--add", "--cacheinfo", f"160000,{pinned},lib", cwd=app.work)
    (app.work / ".gitmodules").write_text('[submodule "lib"]\n\tpath = lib\n\turl = ../lib.git\n')
    git("add", ".gitmodules", cwd=app.work)
    git("commit", "-q", "-m", "Pin", cwd=app.work)
    git("push", "-q", "origin", "HEAD:main", cwd=app.work)
    sha = _fetched(mirrors, app)
    named, now = frozenset({str(app.bare)}), time.time()
    mirrors.export(str(app.bare), sha, path=".", destination=tmp_path / "out1")
    (module,) = (tmp_path / "mirrors").glob("submodule-*.git")
    os.utime(module, (now - 40 * 86400,) * 2)
    mirrors.export(str(app.bare), sha, path=".", destination=tmp_path / "out2")
    assert mirrors.tidy(named, now + 29 * 86400) == (), "an export is a use"
    assert len(mirrors.tidy(named, now + 31 * 86400)) == 1
    assert not module.exists()
    mirrors.export(str(app.bare), sha, path=".", destination=tmp_path / "out3")
    assert (tmp_path / "out3" / "lib" / "l.txt").read_text() == "l"


def test_a_kill_at_any_step_leaves_a_mirror_that_can_be_read_and_is_swept(
    source: Source, mirrors: Mirrors, tmp_path: Path
) -> None:
    for _ in range(3):
        sha = _rewrite(source)
        assert _fetched(mirrors, source) == sha
    mirror = _mirror_of(mirrors, str(source.bare))
    packs = mirror / "objects" / "pack"
    into = tmp_path / "mirrors" / ".new-0123456789abcdef"
    into.mkdir()
    (into / "pack_git2_half").write_bytes(b"half")
    for index in sorted(packs.glob("*.idx"), key=lambda path: path.stat().st_mtime_ns)[:-1]:
        index.unlink()  # a kill between the index of an old pack and the pack
    (packs / "pack_git2_half").write_bytes(b"half")
    assert _exports(mirrors, source, sha, tmp_path / "out")
    assert len(mirrors.sweep()) == 4
    assert sorted(path.suffix for path in packs.iterdir()) == [".idx", ".pack"]
    assert mirrors.sweep() == ()
    assert _exports(mirrors, source, sha, tmp_path / "out2")


@pytest.mark.usefixtures("small")
def test_what_is_remade_when_we_stop_stays_as_it_was(source: Source, mirrors: Mirrors, tmp_path: Path) -> None:
    for _ in range(4):
        sha = _rewrite(source, 8)
        assert _fetched(mirrors, source) == sha
    repo, folder = str(source.bare), tmp_path / "mirrors"
    tidying = threading.Thread(target=mirrors.tidy, args=(frozenset({repo}), time.time()))
    tidying.start()
    until(lambda: [*folder.glob(".new-*/pack_git2_*")] or not tidying.is_alive(), what="a pack is being written")
    mirrors.close()
    tidying.join(10)
    assert not tidying.is_alive()
    assert [*folder.glob(".new-*")] == []
    assert _exports(mirrors, source, sha, tmp_path / "out")
    git("fsck", "--full", cwd=_mirror_of(mirrors, repo))


@pytest.mark.usefixtures("small")
def test_a_new_pack_beside_the_old_ones_is_a_mirror_too(source: Source, mirrors: Mirrors, tmp_path: Path) -> None:
    """A kill after the new pack was put in place, before the old ones went."""
    for _ in range(3):
        sha = _rewrite(source)
        _fetched(mirrors, source)
    mirror = _mirror_of(mirrors, str(source.bare))
    old = {path: path.read_bytes() for path in (mirror / "objects" / "pack").iterdir()}
    mirrors.tidy(frozenset({str(source.bare)}), time.time())
    for path, content in old.items():
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    assert mirrors.sweep() == ()
    assert _exports(mirrors, source, sha, tmp_path / "out")
    assert len(mirrors.tidy(frozenset({str(source.bare)}), time.time())) == 1
    assert git_mirror.held_bytes(mirror) < 1.1 * MIB
    git("fsck", "--full", cwd=mirror)


@pytest.mark.usefixtures("small")
def test_readers_and_fetches_go_on_while_a_mirror_is_remade(source: Source, mirrors: Mirrors, tmp_path: Path) -> None:
    repo, kept = str(source.bare), _rewrite(source)
    _fetched(mirrors, source)
    mirrors.keep("blog", 1, app=(repo, kept), platform=("", ""))
    done, failed = threading.Event(), []

    def read() -> None:
        number = 0
        while not done.is_set():
            number += 1
            try:
                mirrors.export(repo, kept, path=".", destination=tmp_path / f"out{number}")
            except Exception as error:
                failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(6):
            _rewrite(source)
            _fetched(mirrors, source)
            mirrors.tidy(frozenset({repo}), time.time())
    finally:
        done.set()
        reader.join(30)
    assert failed == []
    assert git_mirror.held_bytes(_mirror_of(mirrors, repo)) < 4.1 * MIB


def test_a_full_mirror_is_remade_before_it_is_refused(source: Source, tmp_path: Path, small: None) -> None:
    mirrors = _mirrors(tmp_path, max_bytes=2 * MIB)
    for _ in range(8):
        assert _rewrite(source) == _fetched(mirrors, source)
        assert git_mirror.held_bytes(_mirror_of(mirrors, str(source.bare))) < 6 * MIB
    mirrors.close()


def test_a_full_mirror_takes_nothing_more_and_says_so(source: Source, tmp_path: Path) -> None:
    mirrors = _mirrors(tmp_path, max_bytes=2 * MIB)
    for number in range(3):  # all of it in use
        (source.work / f"noise{number}").write_bytes(os.urandom(3 * MIB // 2))
        sha = source.push({})
        assert _fetched(mirrors, source) == sha
    source.push({"a.txt": "more"})
    held = git_mirror.held_bytes(_mirror_of(mirrors, str(source.bare)))
    state = mirrors.refresh(str(source.bare), MAIN)
    assert state.problem is not None
    assert state.problem.reason == Reason.SOURCE_UNUSABLE
    assert f"is too big to mirror: its mirror has {held} bytes; expected at most 1 GiB" in state.problem.message
    assert state.branches["main"] == sha
    assert git_mirror.held_bytes(_mirror_of(mirrors, str(source.bare))) == held
    mirrors.close()


def _transfers(server: HttpServer) -> int:
    return sum(method == "POST" for method, _, _ in server.requests)


def test_what_was_too_big_is_fetched_again_only_once_other_commits_are_there(source: Source, tmp_path: Path) -> None:
    mirrors = _mirrors(tmp_path, max_bytes=MIB)
    with HttpServer(tmp_path) as server:
        url = f"{server.url}/app.git"
        source.push({"a.txt": "1"})
        assert mirrors.refresh(url, MAIN).problem is None
        _rewrite(source, 4)
        first = mirrors.refresh(url, MAIN)
        assert first.problem is not None
        assert "is too big to mirror" in first.problem.message
        transfers = _transfers(server)
        assert transfers
        assert mirrors.refresh(url, MAIN) == first, "the same words: it is no news"
        assert _transfers(server) == transfers
        git("checkout", "-q", "--orphan", "small", cwd=source.work)
        git("rm", "-q", "-f", "noise", cwd=source.work)
        sha = source.push({"a.txt": "3"})
        assert mirrors.refresh(url, MAIN).branches["main"] == sha
    mirrors.close()
