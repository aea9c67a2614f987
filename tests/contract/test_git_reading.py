"""What is read from a mirror: the platform's files, an app's listing and texts, and what is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest

from reconciler.adapters import git_compact, git_platform
from reconciler.adapters.git_platform import read_folder
from reconciler.adapters.git_repository import Mirrors
from reconciler.errors import SourceUnusable
from tests.git_servers import Source, git

MAIN = frozenset({"main"})
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


@pytest.fixture
def mirrors(tmp_path: Path) -> Iterator[Mirrors]:
    made = Mirrors(tmp_path / "mirrors", local_paths=(str(tmp_path),), known_hosts=tmp_path / "known", timeout_s=10)
    yield made
    made.close()


def _fetched(mirrors: Mirrors, source: Source) -> str:
    return mirrors.refresh(str(source.bare), MAIN).branches["main"]


def test_the_platforms_files_come_with_the_blob_ids_that_git_gives(source: Source, mirrors: Mirrors) -> None:
    source.push({"platform.yaml": "kind: Platform\n", "projects/blog.yaml": "kind: Project\n", "README.md": "x"})
    read = mirrors.read_platform(str(source.bare), _fetched(mirrors, source))
    blob = git("rev-parse", "HEAD:projects/blog.yaml", cwd=source.work)
    assert read.files["projects/blog.yaml"] == (blob, b"kind: Project\n")
    assert set(read.files) == {"platform.yaml", "projects/blog.yaml"}
    assert dict(read.unusable) == {}
    assert dict(read_folder(source.work).files) == dict(read.files)


def test_what_is_no_regular_file_is_named_and_never_followed(source: Source, mirrors: Mirrors, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    source.push({"platform.yaml": "a: 1\n", "projects/sub/deep.yaml": "x", "projects/lfs.yaml": LFS})
    (source.work / "projects" / "evil.yaml").symlink_to(tmp_path / "secret")
    big = source.work / "projects" / "big.yaml"
    big.write_text("x" * (git_platform.MAX_FILE + 1))
    source.push({"projects/blog.yaml": "b: 1\n"})
    at_commit = mirrors.read_platform(str(source.bare), _fetched(mirrors, source))
    for read in (at_commit, read_folder(source.work)):
        assert set(read.files) == {"platform.yaml", "projects/blog.yaml"}
        assert read.unusable["projects/evil.yaml"] == (
            "projects/evil.yaml is a symlink; expected a regular file. Commit the file itself."
        )
        assert "projects/sub is a folder" in read.unusable["projects/sub"]
        assert "Git LFS pointer" in read.unusable["projects/lfs.yaml"]
        assert "1048577 bytes; expected at most 1048576" in read.unusable["projects/big.yaml"]


def test_a_submodule_and_a_symlinked_folder_of_projects_are_named(source: Source, mirrors: Mirrors) -> None:
    sha = source.push({"platform.yaml": "a: 1\n"})
    git("update-index", "--add", "--cacheinfo", f"160000,{sha},projects/module", cwd=source.work)
    git("commit", "-q", "-m", "Submodule", cwd=source.work)
    git("push", "-q", "origin", "HEAD:main", cwd=source.work)
    read = mirrors.read_platform(str(source.bare), _fetched(mirrors, source))
    assert "projects/module is a submodule" in read.unusable["projects/module"]

    git("rm", "-q", "--cached", "projects/module", cwd=source.work)
    (source.work / "projects").symlink_to("/etc")
    source.push({"x": "1"})
    at_commit = mirrors.read_platform(str(source.bare), _fetched(mirrors, source))
    for read in (at_commit, read_folder(source.work)):
        assert "projects is a symlink" in read.unusable["projects"]
        assert set(read.files) == {"platform.yaml"}


def test_a_special_file_in_a_working_tree_blocks_nobody(tmp_path: Path) -> None:
    (tmp_path / "projects").mkdir()
    os.mkfifo(tmp_path / "projects" / "pipe.yaml")
    assert "special file" in read_folder(tmp_path).unusable["projects/pipe.yaml"]
    with pytest.raises(SourceUnusable, match="is not a folder; expected a platform repository"):
        read_folder(tmp_path / "nowhere")


def test_more_specs_than_the_bound_are_refused_by_a_sentence(
    source: Source, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_platform, "MAX_FILES", 3)
    source.push({f"projects/p{number}.yaml": str(number) for number in range(5)})
    read = mirrors.read_platform(str(source.bare), _fetched(mirrors, source))
    assert len(read.files) == 3
    assert "projects holds more than 3 files" in read.unusable["projects"]


def test_an_app_is_seen_from_its_path_with_regular_files_only(source: Source, mirrors: Mirrors) -> None:
    source.push({"services/blog/app.py": "print()", "services/blog/a/b.txt": "b", "other.txt": "o"})
    (source.work / "services/blog/Dockerfile").symlink_to("/etc/passwd")
    (source.work / "services/blog/latin").write_bytes(b"\xff\xfe")
    sha = source.push({})
    _fetched(mirrors, source)
    seen = mirrors.source_state(str(source.bare), sha, "services/blog")
    assert seen.listing == frozenset({"app.py", "a/b.txt", "latin"})
    assert seen.read_text("app.py") == "print()"
    assert seen.read_text("a/b.txt") == "b"
    for none in ("Dockerfile", "latin", "a", "nowhere", "a/nowhere", "../other.txt", "app.py/x", ""):
        assert seen.read_text(none) is None
    assert seen.commit.tree == git("rev-parse", f"{sha}:services/blog", cwd=source.work)
    assert seen is mirrors.source_state(str(source.bare), sha, "services/blog")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere", 'source.path "nowhere" is not there'),
        ("a.txt", "is a file"),
        ("..", "is not there"),
        ("link", "is a link"),
    ],
)
def test_a_path_that_is_no_folder_is_told(source: Source, mirrors: Mirrors, path: str, words: str) -> None:
    source.push({"a.txt": "1", "d/x": "1"})
    (source.work / "link").symlink_to("d")
    sha = source.push({})
    _fetched(mirrors, source)
    with pytest.raises(SourceUnusable, match=words):
        mirrors.source_state(str(source.bare), sha, path)


def test_a_commit_that_is_not_mirrored_is_told(source: Source, mirrors: Mirrors) -> None:
    source.push({"a.txt": "1"})
    with pytest.raises(SourceUnusable, match="was never fetched"):
        mirrors.source_state(str(source.bare), "0" * 40, ".")
    _fetched(mirrors, source)
    with pytest.raises(SourceUnusable, match=r'commit "0000000.*" is not in the mirror'):
        mirrors.read_platform(str(source.bare), "0" * 40)


def test_texts_of_a_commit_come_without_what_could_move_a_cursor(source: Source, mirrors: Mirrors) -> None:
    git("config", "user.name", "x", cwd=source.work)
    source.push({"a": "1"})
    repository = pygit2.Repository(str(source.bare))
    author = pygit2.Signature("An\x1b[31ma\u202e", "a@example.com", 1_700_000_000, 0)
    tree = repository.revparse_single("main").peel(pygit2.Commit).tree_id
    parent = [repository.revparse_single("main").id]
    subject = "\x1b]0;owned\x07 <b>\u202ereversed" + "long " * 100
    sha = str(repository.create_commit("refs/heads/main", author, author, subject + "\n\nbody", tree, parent))
    _fetched(mirrors, source)
    commit = mirrors.source_state(str(source.bare), sha, ".").commit
    assert commit.subject.startswith("]0;owned <b>reversedlong")
    assert len(commit.subject) == 200
    assert commit.author == "An[31ma"
    assert commit.committed_at == 1_700_000_000


def test_kept_commits_survive_a_force_push_and_git_gc_invariant_3(source: Source, mirrors: Mirrors) -> None:
    repo = str(source.bare)
    first = source.push({"a.txt": "1"})
    _fetched(mirrors, source)
    assert mirrors.keep("blog", 1, app=(repo, first), platform=(repo, first))
    assert not mirrors.keep("blog", 1, app=(repo, first), platform=(repo, first)), "nothing to write"
    second = source.rewrite({"a.txt": "2"})
    _fetched(mirrors, source)
    assert mirrors.keep("blog", 2, app=(repo, first), platform=(repo, second))
    mirrors.forget("blog", 1)
    assert mirrors.kept() == {("blog", 2)}
    (mirror,) = (mirrors._folder).glob("*.git")
    git("gc", "-q", "--prune=now", cwd=mirror)
    assert mirrors.source_state(repo, first, ".").read_text("a.txt") == "1"
    refs = git("for-each-ref", "--format=%(refname) %(objectname)", "refs/gitstead", cwd=mirror).splitlines()
    assert refs == [f"refs/gitstead/blog/2 {first}", f"refs/gitstead/blog/2-platform {second}"]
    mirrors.forget("blog", 2)
    mirrors.forget("blog", 2)
    assert mirrors.kept() == frozenset()


def test_many_small_packs_are_joined_and_nothing_is_lost(
    source: Source, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_compact, "MANY", 4)
    shas = []
    for number in range(10):
        shas.append(source.rewrite({"a.txt": str(number)}))
        assert _fetched(mirrors, source) == shas[-1]
    (mirror,) = mirrors._folder.glob("*.git")
    assert len([*mirror.glob("objects/pack/*.pack")]) < 5
    assert len([*mirror.glob("objects/pack/*.idx")]) < 5
    for number, sha in enumerate(shas):
        assert mirrors.source_state(str(source.bare), sha, ".").read_text("a.txt") == str(number)
    git("fsck", "--full", cwd=mirror)


def test_app_and_platform_are_kept_each_in_its_own_mirror(tmp_path: Path, mirrors: Mirrors) -> None:
    app, platform = Source(tmp_path, "one"), Source(tmp_path, "two")
    shas = app.push({"a": "1"}), platform.push({"b": "2"})
    _fetched(mirrors, app)
    _fetched(mirrors, platform)
    mirrors.keep("blog", 7, app=(str(app.bare), shas[0]), platform=(str(platform.bare), shas[1]))
    refs = {
        git("for-each-ref", "--format=%(refname) %(objectname)", "refs/gitstead", cwd=mirror)
        for mirror in (tmp_path / "mirrors").glob("*.git")
    }
    assert refs == {f"refs/gitstead/blog/7 {sha}" for sha in shas}
    with pytest.raises(SourceUnusable, match="so it cannot be kept"):
        mirrors.keep("blog", 8, app=(str(app.bare), "1" * 40), platform=(str(platform.bare), ""))


def test_what_a_kill_left_is_swept_and_the_next_fetch_goes_on_trap_21(source: Source, mirrors: Mirrors) -> None:
    source.push({"a.txt": "1"})
    _fetched(mirrors, source)
    (mirror,) = mirrors._folder.glob("*.git")
    (mirror / "objects/pack/pack_git2_abc123").write_bytes(b"half")
    (mirror / "refs/mirror/heads%2Fmain.lock").write_bytes(b"")
    (mirror / "packed-refs.lock").write_bytes(b"")
    (mirrors._folder / ".new-0123456789abcdef").mkdir()
    second = source.push({"a.txt": "2"})
    blocked = mirrors.refresh(str(source.bare), MAIN)
    assert blocked.problem is not None
    assert "could not be written" in blocked.problem.message
    assert len(mirrors.sweep()) == 4
    assert mirrors.sweep() == ()
    assert _fetched(mirrors, source) == second


@pytest.mark.parametrize("trick", ["outside", "symlink", "gitfile", "alternates"])
def test_nothing_outside_the_allowed_folders_is_read(tmp_path: Path, trick: str) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "allowed").mkdir()
    secret = Source(tmp_path / "secret")
    secret.push({"a.txt": "secret"})
    repo = tmp_path / "allowed" / "app.git"
    if trick == "outside":
        repo = secret.bare
    elif trick == "symlink":
        repo.symlink_to(secret.bare)
    elif trick == "gitfile":
        repo.mkdir()
        (repo / ".git").write_text(f"gitdir: {secret.bare}\n")
    else:
        git("clone", "-q", "--bare", "--shared", str(secret.bare), str(repo), cwd=tmp_path)
    mirrors = Mirrors(
        tmp_path / "mirrors", local_paths=(str(tmp_path / "allowed"),), known_hosts=tmp_path / "known", timeout_s=10
    )
    for url in (str(repo), f"file://{repo}", f"{tmp_path}/allowed/../{repo.relative_to(tmp_path)}"):
        state = mirrors.refresh(url, MAIN)
        assert state.problem is not None
        assert "outside" in state.problem.message
        assert "local_paths" in state.problem.message
        assert dict(state.branches) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_repository_of_another_user_is_read_where_the_host_file_allows_its_folder(
    source: Source, mirrors: Mirrors
) -> None:
    sha = source.push({"a.txt": "1"})
    for path in (source.bare, *source.bare.rglob("*")):
        os.chown(path, 12345, 12345)
    assert _fetched(mirrors, source) == sha


def test_a_working_repository_is_read_through_its_git_folder(source: Source, mirrors: Mirrors) -> None:
    sha = source.push({"a.txt": "1"})
    assert mirrors.refresh(str(source.work), MAIN).branches["main"] == sha
    git("pack-refs", "--all", cwd=source.work)
    assert mirrors.refresh(str(source.work), MAIN).branches["main"] == sha


def test_no_configuration_of_a_person_leads_an_address_elsewhere(
    source: Source, mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Source(tmp_path, "other")
    other.push({"a.txt": "other"})
    sha = source.push({"a.txt": "1"})
    (tmp_path / ".gitconfig").write_text(f'[url "{other.bare}"]\n\tinsteadOf = {source.bare}\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _fetched(mirrors, source) == sha
