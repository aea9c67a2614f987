"""One battery over every way to reach a repository: path, file://, git://, http and ssh, all real."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.adapters.git_repository import Mirrors
from reconciler.model.condition import Reason
from tests.git_servers import HttpServer, Source, git, git_daemon, ssh_server, sshd_missing

pytestmark = pytest.mark.real

MAIN = frozenset({"main"})
WAYS = ["path", "file", "git", "http", "ssh"]


@dataclass
class Reached:
    """A repository and the address at which the mirrors reach it."""

    source: Source
    url: str
    nowhere: str
    mirrors: Mirrors
    folder: Path

    def mirror_files(self) -> dict[str, tuple[int, int, int]]:
        """Every file and folder of the mirrors with what a write would change."""
        return {
            str(path): (status.st_mtime_ns, status.st_ino, status.st_size)
            for path in (self.folder, *self.folder.rglob("*"))
            for status in (path.lstat(),)
        }


@contextlib.contextmanager
def _served(way: str, base: Path, source: Source) -> Iterator[tuple[str, str, Path]]:
    known_hosts = base / "known_hosts"
    bare, nowhere = source.bare, base / "nowhere.git"
    if way == "path":
        yield str(bare), str(nowhere), known_hosts
    elif way == "file":
        yield f"file://{bare}", f"file://{nowhere}", known_hosts
    elif way == "git":
        with git_daemon(base) as url:
            yield f"{url}/{bare.name}", f"{url}/{nowhere.name}", known_hosts
    elif way == "http":
        with HttpServer(base) as server:
            yield f"{server.url}/{bare.name}", f"{server.url}/{nowhere.name}", known_hosts
    else:
        if sshd_missing():
            pytest.skip(sshd_missing())
        (base / "ssh").mkdir()
        with ssh_server(base / "ssh") as server:
            yield server.url(bare), server.url(nowhere), server.known_hosts


@pytest.fixture(params=WAYS)
def reached(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reached]:
    source = Source(tmp_path)
    with _served(request.param, tmp_path, source) as (url, nowhere, known_hosts):
        mirrors = Mirrors(tmp_path / "mirrors", local_paths=(str(tmp_path),), known_hosts=known_hosts, timeout_s=10)
        try:
            yield Reached(source, url, nowhere, mirrors, tmp_path / "mirrors")
        finally:
            mirrors.close()


def test_follows_pushes_and_a_force_push_and_serves_what_it_followed(reached: Reached) -> None:
    first = reached.source.push({"a.txt": "1"}, "First")
    state = reached.mirrors.refresh(reached.url, MAIN)
    assert (dict(state.branches), state.problem, dict(state.missing)) == ({"main": first}, None, {})

    second = reached.source.push({"a.txt": "2"}, "Second\n\nWith a body")
    assert reached.mirrors.known(reached.url, MAIN).branches["main"] == first
    assert reached.mirrors.refresh(reached.url, MAIN).branches["main"] == second

    reached.mirrors.keep("blog", 1, app=(reached.url, second), platform=(reached.url, second))
    third = reached.source.rewrite({"a.txt": "3"})
    assert reached.mirrors.refresh(reached.url, MAIN).branches["main"] == third
    assert reached.mirrors.known(reached.url, MAIN).branches["main"] == third

    for sha, text, subject in ((first, "1", "First"), (second, "2", "Second"), (third, "3", "Rewritten")):
        seen = reached.mirrors.source_state(reached.url, sha, ".")
        assert (seen.read_text("a.txt"), seen.commit.subject, seen.commit.author) == (text, subject, "Ana")


def test_nothing_new_means_nothing_is_written_invariant_11(reached: Reached) -> None:
    sha = reached.source.push({"a.txt": "1"})
    reached.mirrors.refresh(reached.url, MAIN)
    before = reached.mirror_files()
    for _ in range(3):
        assert reached.mirrors.refresh(reached.url, MAIN).branches["main"] == sha
    assert reached.mirror_files() == before


def test_all_wanted_branches_come_with_one_refresh_and_a_missing_one_is_named(reached: Reached) -> None:
    main = reached.source.push({"a.txt": "1"})
    other = reached.source.push({"a.txt": "2"}, branch="feature/x")
    state = reached.mirrors.refresh(reached.url, frozenset({"main", "feature/x", "gone"}))
    assert dict(state.branches) == {"main": main, "feature/x": other}
    assert state.problem is None
    assert state.problem_of("main") is None
    missing = state.problem_of("gone")
    assert missing is not None
    assert missing.reason == Reason.SOURCE_UNUSABLE
    assert 'has no branch "gone"; expected one of its branches: "feature/x", "main"' in missing.message


def test_a_deleted_branch_is_told_and_its_last_commit_stays_usable_invariant_3(reached: Reached) -> None:
    reached.source.push({"a.txt": "1"})
    sha = reached.source.push({"a.txt": "2"}, branch="next")
    reached.mirrors.refresh(reached.url, frozenset({"next"}))
    git("push", "-q", "origin", ":next", cwd=reached.source.work)
    state = reached.mirrors.refresh(reached.url, frozenset({"next"}))
    assert state.problem_of("next") is not None
    assert state.branches["next"] == sha
    assert reached.mirrors.source_state(reached.url, sha, ".").read_text("a.txt") == "2"


def test_a_branch_that_became_a_folder_of_branches_is_followed(reached: Reached) -> None:
    reached.source.push({"a.txt": "1"}, branch="next")
    reached.mirrors.refresh(reached.url, frozenset({"next"}))
    git("push", "-q", "origin", ":next", cwd=reached.source.work)
    sha = reached.source.push({"a.txt": "2"}, branch="next/one")
    state = reached.mirrors.refresh(reached.url, frozenset({"next/one"}))
    assert (state.branches["next/one"], state.problem) == (sha, None)


def test_an_empty_repository_is_a_state_with_a_remedy(reached: Reached) -> None:
    state = reached.mirrors.refresh(reached.url, MAIN)
    assert state.problem is not None
    assert state.problem.reason == Reason.SOURCE_UNUSABLE
    assert "has no commits yet; expected a branch with at least one commit. Push to it." in state.problem.message
    sha = reached.source.push({"a.txt": "1"})
    assert reached.mirrors.refresh(reached.url, MAIN).branches["main"] == sha


def test_an_unborn_branch_beside_others_is_missing(reached: Reached) -> None:
    reached.source.push({"a.txt": "1"}, branch="master")
    state = reached.mirrors.refresh(reached.url, MAIN)
    assert state.problem is None
    assert "master" in state.missing["main"].message


def test_no_repository_at_the_address_is_told(reached: Reached) -> None:
    state = reached.mirrors.refresh(reached.nowhere, MAIN)
    assert state.problem is not None
    assert state.problem.reason == Reason.SOURCE_UNUSABLE
    assert reached.nowhere in state.problem.message
    assert "expected the address of a Git repository" in state.problem.message
    assert dict(state.branches) == {}


def test_a_sha256_repository_is_told_and_crashes_nothing(reached: Reached) -> None:
    bare = reached.source.bare
    git("init", "-q", "--bare", "--object-format=sha256", str(bare.with_name("nowhere.git")), cwd=bare.parent)
    work = bare.with_name("sha256")
    git("init", "-q", "--object-format=sha256", str(work), cwd=bare.parent)
    git("commit", "-q", "--allow-empty", "-m", "First", cwd=work)
    git("push", "-q", str(bare.with_name("nowhere.git")), "HEAD:refs/heads/main", cwd=work)
    state = reached.mirrors.refresh(reached.nowhere, MAIN)
    assert state.problem is not None
    assert "sha256" in state.problem.message
    sha = reached.source.push({"a.txt": "1"})
    assert reached.mirrors.refresh(reached.url, MAIN).branches["main"] == sha


def test_a_name_resolves_to_a_branch_before_a_tag_then_to_a_sha(reached: Reached) -> None:
    first = reached.source.push({"a.txt": "1"})
    git("tag", "-a", "v1", "-m", "one", cwd=reached.source.work)
    git("tag", "both", cwd=reached.source.work)
    git("push", "-q", "--tags", cwd=reached.source.work)
    second = reached.source.push({"a.txt": "2"}, branch="both")
    third = reached.source.push({"a.txt": "3"}, branch="elsewhere")
    resolve = reached.mirrors.resolve
    assert resolve(reached.url, "main") == first
    assert resolve(reached.url, "v1") == first
    assert resolve(reached.url, "both") == second
    assert resolve(reached.url, third[:8]) == third
    assert resolve(reached.url, third) == third
    with pytest.raises(Exception, match=r'has no branch, tag or commit "nonsense"'):
        resolve(reached.url, "nonsense")


@pytest.mark.parametrize("branch", ["$(id)", "-x", "main; rm", "a..b", "+main", "main:refs/heads/x", "x*", "", "a\nb"])
def test_a_branch_name_is_data_never_a_command_or_a_refspec(tmp_path: Path, branch: str) -> None:
    source = Source(tmp_path)
    source.push({"a.txt": "1"})
    mirrors = Mirrors(tmp_path / "m", local_paths=(str(tmp_path),), known_hosts=tmp_path / "known", timeout_s=5)
    state = mirrors.refresh(str(source.bare), frozenset({branch}))
    problem = state.problem_of(branch)
    assert problem is not None
    assert problem.reason == Reason.SOURCE_UNUSABLE
    assert dict(state.branches) == {}


def test_tags_of_the_source_do_not_pile_up_in_the_mirror(reached: Reached) -> None:
    reached.source.push({"a.txt": "1"})
    git("tag", "v1", cwd=reached.source.work)
    git("push", "-q", "--tags", cwd=reached.source.work)
    reached.mirrors.refresh(reached.url, MAIN)
    (mirror,) = reached.folder.glob("*.git")
    assert git("for-each-ref", "--format=%(refname)", cwd=mirror) == "refs/mirror/heads%2Fmain"
    assert mirror.stat().st_mode & 0o777 == 0o700
