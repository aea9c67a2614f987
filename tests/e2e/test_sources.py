"""Repositories that are away, empty, rewritten or slow: a clear condition, and what runs goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.git_servers import HttpServer, git_daemon
from tests.platform_support import Platform, Repo, app_files, git, wait_for

pytestmark = pytest.mark.real


def untouched(platform: Platform, before: dict[str, tuple[str, str]]) -> None:
    """After two more looks everything runs as it did, and the app answers."""
    platform.looks()
    assert platform.ids() == before
    assert platform.get("shop.localhost") == (200, "v1")


# ---- what cannot be used ---------------------------------------------------------------------


def test_a_repository_that_moved_away_is_told_and_used_again_when_it_is_back(platform: Platform) -> None:
    platform.deploy("shop")
    before = platform.ids()
    bare = platform.repos["shop"].bare
    away = bare.with_name("away.git")
    bare.rename(away)
    platform.looks(1)
    assert f'"{bare}" is not there' in platform.condition("shop", "SourceUnusable", timeout_s=10)
    untouched(platform, before)
    platform.stop()
    platform.start()
    platform.condition("shop", "SourceUnusable")
    untouched(platform, before)
    away.rename(bare)
    platform.repos["shop"].push({"version": "v2\n"})
    platform.looks(1)
    platform.answers("shop", "v2")
    platform.healthy("shop")


@pytest.mark.parametrize(
    ("source", "told"),
    [({"branch": "no-such-branch"}, "no-such-branch"), ({"path": "no/such/folder"}, "no/such/folder")],
    ids=["branch", "path"],
)
def test_a_missing_branch_or_path_is_told_and_changes_nothing(
    platform: Platform, source: dict[str, str], told: str
) -> None:
    platform.deploy("shop")
    before = platform.ids()
    platform.push_spec("shop", source={"repo": str(platform.repos["shop"].bare), **source})
    assert told in platform.condition("shop", "SourceUnusable")
    untouched(platform, before)
    platform.push_spec("shop")
    platform.healthy("shop")
    wait_for(lambda: len(_conditions(platform)) == 1, "nothing is wrong any more")
    assert platform.ids() == before


def _conditions(platform: Platform) -> tuple[object, ...]:
    status = platform.status("shop")
    return status.conditions if status else ()


def test_an_empty_repository_is_told_until_something_is_pushed(platform: Platform) -> None:
    shop = platform.repos["shop"] = Repo.make(platform.folder, "shop")
    platform.app("blog")
    platform.platform_repo.push({f"projects/{name}.yaml": platform.spec(name) for name in ("shop", "blog")})
    platform.start()
    platform.answers("blog", "v1")
    platform.condition("shop", "SourceUnusable")
    shop.push(app_files("v1"))
    platform.answers("shop", "v1")
    platform.healthy("shop")


def test_a_repository_that_does_not_exist_yet_is_used_once_it_does(platform: Platform) -> None:
    """And is watched from then on."""
    platform.push_spec("shop")
    platform.start()
    platform.condition("shop", "SourceUnusable")
    platform.app("shop")
    platform.looks(1)
    platform.answers("shop", "v1")
    platform.repos["shop"].push({"version": "v2\n"})
    platform.answers("shop", "v2", timeout_s=10)


def test_a_repository_outside_the_folders_that_the_host_allows_is_refused(platform: Platform) -> None:
    platform.deploy("shop")
    before = platform.ids()
    platform.push_spec("shop", source={"repo": "/srv/somewhere-else.git"})
    assert "/srv/somewhere-else.git" in platform.condition("shop", "SourceUnusable")
    untouched(platform, before)


def test_a_branch_that_was_emptied_of_its_files_is_told(platform: Platform) -> None:
    platform.deploy("shop")
    before = platform.ids()
    platform.repos["shop"].push(dict.fromkeys(("app.py", "version", "Dockerfile")), "Remove everything")
    wait_for(lambda: len(_conditions(platform)) > 1, "it is told")
    untouched(platform, before)
    platform.repos["shop"].push(app_files("v2"))
    platform.answers("shop", "v2")


# ---- what moved ------------------------------------------------------------------------------


def test_a_force_push_is_followed_and_what_was_rewritten_stays_reachable(platform: Platform) -> None:
    """Invariant 3: mirrors keep refs to the commits of what is live and kept."""
    shop = platform.app("shop", "v1")
    platform.push_spec("shop")
    platform.start()
    platform.answers("shop", "v1")
    first = platform.healthy("shop").commit
    git(shop.clone, "checkout", "-q", "--orphan", "rewritten")
    rewritten = shop.push(app_files("v2"), "Rewritten", force=True)
    platform.answers("shop", "v2")
    assert platform.healthy("shop").commit == rewritten
    kept = [
        line.split()[0]
        for mirror in (platform.state / "mirrors").iterdir()
        for line in git(mirror, "for-each-ref", "refs/gitstead/shop").splitlines()
    ]
    assert {first, rewritten} <= set(kept)


def test_a_change_outside_its_folder_of_a_monorepo_deploys_nothing(platform: Platform) -> None:
    repo = Repo.make(platform.folder, "mono")
    files = {f"{name}/{file}": text for name in ("shop", "blog") for file, text in app_files("v1").items()}
    repo.push(files)
    for name in ("shop", "blog"):
        platform.push_spec(name, source={"repo": str(repo.bare), "path": name})
    platform.start()
    for name in ("shop", "blog"):
        platform.answers(name, "v1")
        platform.healthy(name)
    blog = platform.ids("blog")
    repo.push({"shop/version": "v2\n"})
    platform.answers("shop", "v2")
    platform.looks()
    assert platform.ids("blog") == blog
    assert len(platform.deployments("blog")) == 1


# ---- remotes ---------------------------------------------------------------------------------


@pytest.fixture
def daemon(platform: Platform) -> Iterator[str]:
    with git_daemon(platform.folder) as address:
        yield address


def test_a_push_to_a_remote_is_found_by_polling(platform: Platform, daemon: str) -> None:
    platform.settings |= {"GITSTEAD_POLL_S": "1s", "GITSTEAD_PLATFORM_REPO": f"{daemon}/platform.git"}
    platform.deploy("shop", source={"repo": f"{daemon}/shop.git"})
    platform.repos["shop"].push({"version": "v2\n"})
    platform.answers("shop", "v2")
    platform.push_spec("shop", source={"repo": f"{daemon}/shop.git"}, run={"env": {"GREETING": "hello"}})
    platform.answers("shop", "v2 hello")


def test_a_person_in_a_hurry_has_a_remote_asked_at_once_by_sync(platform: Platform, daemon: str) -> None:
    """Also one that was heard of for the first time since the last poll."""
    platform.settings |= {"GITSTEAD_POLL_S": "1h"}
    platform.deploy("shop", source={"repo": f"{daemon}/shop.git"})
    platform.repos["shop"].push({"version": "v2\n"})
    assert platform.cli("sync").stdout
    platform.answers("shop", "v2")


def test_a_remote_that_goes_down_changes_nothing_and_is_found_again(platform: Platform) -> None:
    platform.settings |= {"GITSTEAD_POLL_S": "1s"}
    with git_daemon(platform.folder) as address:
        platform.deploy("shop", source={"repo": f"{address}/shop.git"})
    before = platform.ids()
    assert address in platform.condition("shop", "RemoteUnavailable")
    untouched(platform, before)
    platform.stop()
    platform.start()
    platform.condition("shop", "RemoteUnavailable")
    untouched(platform, before)
    assert platform.healthy("shop").commit, "known from the mirror"


def test_a_remote_that_hangs_delays_nobody_else(platform: Platform) -> None:
    """Invariant 7: while one repository never answers, another project's push goes live as always."""
    platform.settings |= {"GITSTEAD_POLL_S": "1s", "GITSTEAD_GIT_TIMEOUT_S": "8s"}
    with HttpServer(platform.folder) as server:
        server.mode = "hang"
        platform.app("blog")
        platform.app("shop")
        platform.push_spec("blog", source={"repo": f"{server.url}/blog.git"})
        platform.push_spec("shop")
        platform.start()
        platform.answers("shop", "v1", timeout_s=15)
        wait_for(lambda: server.requests, "the remote is being asked")
        platform.repos["shop"].push({"version": "v2\n"})
        platform.answers("shop", "v2", timeout_s=6)
        server.mode = ""
        platform.answers("blog", "v1")


def test_a_remote_that_hangs_does_not_hold_up_the_stop(platform: Platform) -> None:
    with HttpServer(platform.folder) as server:
        server.mode = "hang"
        platform.push_spec("blog", source={"repo": f"{server.url}/blog.git"})
        platform.start()
        wait_for(lambda: server.requests, "the remote is being asked")
        assert platform.process is not None
        platform.process.terminate()
        assert platform.wait_ended(timeout_s=10) == 0
    assert "Traceback" not in platform.log()


def test_a_pack_that_never_comes_delays_nobody_else(platform: Platform) -> None:
    platform.settings |= {"GITSTEAD_POLL_S": "1s", "GITSTEAD_GIT_TIMEOUT_S": "3s"}
    with HttpServer(platform.folder) as server:
        platform.deploy("shop", source={"repo": f"{server.url}/shop.git"})
        server.mode = "hang-pack"
        platform.repos["shop"].push({"version": "v2\n"})
        assert server.url in platform.condition("shop", "RemoteUnavailable")
        assert platform.get("shop.localhost") == (200, "v1")
        server.mode = ""
        platform.answers("shop", "v2")


# ---- clones of people ------------------------------------------------------------------------


def test_a_commit_in_a_repository_with_a_working_tree_is_deployed_too(platform: Platform) -> None:
    """A laptop's own folder as the source: what is committed counts, not what lies in the working tree."""
    shop = platform.app("shop")
    platform.push_spec("shop", source={"repo": str(shop.clone)})
    platform.start()
    platform.answers("shop", "v1")
    shop.write({"version": "v2\n"})
    subprocess.run(["git", "-C", str(shop.clone), "status", "--short"], check=True, capture_output=True)
    platform.looks()
    assert platform.get("shop.localhost") == (200, "v1")
    shop.push({"version": "v2\n"})
    platform.answers("shop", "v2")
