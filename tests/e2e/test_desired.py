"""What the platform repository asks: bad specs hold nobody up, changes of a spec roll out, plans are told before."""

from __future__ import annotations

import json

import pytest

from tests.platform_support import Platform, git, inspect, wait_for

pytestmark = pytest.mark.real

BOMB = "\n".join(
    ["apiVersion: gitstead/v1", "kind: Project", "a0: &a0 [x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
)


# ---- invalid specs ---------------------------------------------------------------------------


def test_an_invalid_project_keeps_its_last_good_spec_and_the_others_go_on(platform: Platform) -> None:
    """Invariant 3: it is still deployed, repaired and routed as its last good spec says."""
    platform.deploy("shop", "blog")
    before = platform.ids("shop")
    bad = platform.spec("shop").replace('"64m"', '"64 megabytes"')
    good = platform.spec("blog", run={"memory": "64m", "env": {"GREETING": "hello"}})
    platform.platform_repo.push({"projects/shop.yaml": bad, "projects/blog.yaml": good})
    message = platform.condition("shop", "SpecInvalid")
    assert message.startswith("projects/shop.yaml:5:"), message
    assert "64 megabytes" in message
    assert "the last good spec holds" in message
    platform.answers("blog", "v1 hello")
    assert platform.ids("shop") == before
    assert platform.get("shop.localhost") == (200, "v1")
    platform.repos["shop"].push({"version": "v2\n"})
    platform.answers("shop", "v2")
    text = platform.cli("status", "shop").stdout
    assert "projects/shop.yaml:5:" in text
    platform.push_spec("shop")
    platform.healthy("shop")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("nonsense: 1\n", "nonsense"),
        ('kind: "Project"\n', "kind"),
        ("x: [\n", "projects/shop.yaml:"),
        (BOMB, "projects/shop.yaml:"),
        ("[" * 5000, "projects/shop.yaml:"),
    ],
    ids=["unknown-key", "duplicate-key", "syntax", "bomb", "deep-nesting"],
)
def test_a_bad_file_of_one_project_does_not_disturb_the_others(platform: Platform, fault: str, told: str) -> None:
    """Trap 30: also a YAML bomb and deep nesting are refused at once, with their place."""
    platform.app("shop")
    platform.app("blog")
    text = fault if fault in (BOMB, "[" * 5000) else platform.spec("shop", fault)
    platform.platform_repo.push({"projects/shop.yaml": text, "projects/blog.yaml": platform.spec("blog")})
    platform.start()
    platform.answers("blog", "v1")
    message = platform.condition("shop", "SpecInvalid")
    assert message.startswith("projects/shop.yaml:")
    assert told in message
    assert platform.containers("shop") == []
    platform.push_spec("shop")
    platform.answers("shop", "v1")


def test_a_domain_that_is_taken_twice_stays_with_the_older_project(platform: Platform) -> None:
    platform.deploy("shop", domains=["www.example.com", "shop.localhost"])
    platform.app("aaa", "wrong")
    platform.push_spec("aaa", domains=["aaa.localhost", "www.example.com"])
    message = platform.condition("aaa", "SpecInvalid")
    assert "www.example.com" in message
    assert "shop" in message
    platform.looks()
    assert platform.get("www.example.com") == (200, "v1")
    platform.healthy("shop")
    platform.push_spec("aaa")
    platform.answers("aaa", "wrong")
    assert platform.get("www.example.com") == (200, "v1")


def test_a_broken_platform_file_leaves_the_last_good_platform(platform: Platform) -> None:
    """Projects without domains keep their addresses, and a project's own change still goes through."""
    platform.deploy("shop")
    platform.platform_repo.push({"platform.yaml": "apiVersion: gitstead/v1\nkind: Platform\ndomain: 7\n"})
    wait_for(lambda: (platform.beat() or {}).get("diagnostics"), "the platform's problem is told")
    [problem] = (platform.beat() or {})["diagnostics"]
    assert problem["where"].startswith("platform.yaml:3:")
    platform.looks()
    assert platform.get("shop.localhost") == (200, "v1")
    platform.push_spec("shop", run={"memory": "64m", "env": {"GREETING": "hello"}})
    platform.answers("shop", "v1 hello")
    platform.platform_repo.push({"platform.yaml": "apiVersion: gitstead/v1\nkind: Platform\ndomain: other\n"})
    wait_for(lambda: platform.get("shop.other") == (200, "v1 hello"), "the new domain answers")


def test_a_last_good_spec_outlives_a_restart(platform: Platform) -> None:
    platform.deploy("shop")
    platform.platform_repo.push({"projects/shop.yaml": "kind: Nonsense\n"})
    platform.condition("shop", "SpecInvalid")
    before = platform.ids()
    platform.stop()
    platform.start()
    platform.condition("shop", "SpecInvalid")
    platform.repos["shop"].push({"version": "v2\n"})
    platform.answers("shop", "v2")
    assert platform.ids() != before


# ---- changes of a spec -----------------------------------------------------------------------


def test_a_change_of_environment_or_memory_rolls_out_without_a_build_and_says_its_line(platform: Platform) -> None:
    platform.deploy("shop")
    platform.push_spec("shop", run={"memory": "96m", "env": {"GREETING": "hello"}})
    platform.answers("shop", "v1 hello")
    status = platform.healthy("shop")
    assert status.deployment == 2
    assert status.release == 2
    newest = platform.deployments("shop")[0]
    assert "run.memory 64m → 96m (projects/shop.yaml:5)" in newest.cause_text
    assert "run.env.GREETING unset → hello (projects/shop.yaml:5)" in newest.cause_text
    assert newest.cause_text in platform.cli("history", "shop").stdout
    assert inspect(platform.live("shop"))["HostConfig"]["Memory"] == 96 * 2**20
    with platform.queries() as queries:
        assert [job.key.kind for job in queries.job_rows("shop", 2)] == ["probe", "verify"]
    platform.push_spec("shop")
    platform.answers("shop", "v1")
    assert platform.healthy("shop").release == 1, "the same image and settings are the same release"


def test_a_default_of_the_platform_reaches_projects_that_do_not_say_it_themselves(platform: Platform) -> None:
    platform.app("blog")
    platform.deploy("shop")
    platform.push_spec("blog", run={})
    platform.answers("blog", "v1")
    text = "apiVersion: gitstead/v1\nkind: Platform\ndomain: localhost\ndefaults: {run: {memory: 80m}}\n"
    platform.healthy("blog")
    platform.platform_repo.push({"platform.yaml": text})
    wait_for(lambda: inspect(platform.live("blog"))["HostConfig"]["Memory"] == 80 * 2**20, "the default is there")
    assert len(platform.deployments("shop")) == 1


def test_a_change_of_domains_moves_the_route_without_a_deployment(platform: Platform) -> None:
    platform.deploy("shop")
    before = platform.ids()
    platform.push_spec("shop", domains=["www.example.com", "example.com"])
    for host in ("www.example.com", "example.com"):
        wait_for(lambda: platform.get(host) == (200, "v1"), f"{host} answers")  # noqa: B023
    wait_for(lambda: platform.get("shop.localhost")[0] == 404, "the old address is gone")
    platform.healthy("shop")
    assert platform.ids() == before
    assert len(platform.deployments("shop")) == 1


def test_one_project_takes_a_domain_that_another_gives_up_in_the_same_commit(platform: Platform) -> None:
    platform.deploy("shop", "blog")
    swapped = {
        "projects/shop.yaml": platform.spec("shop", domains=["blog.localhost"]),
        "projects/blog.yaml": platform.spec("blog", domains=["shop.localhost"]),
    }
    platform.repos["blog"].push({"version": "blog\n"})
    platform.answers("blog", "blog")
    platform.platform_repo.push(swapped)
    platform.answers("shop", "blog")
    platform.answers("blog", "v1")


# ---- validate --------------------------------------------------------------------------------


def test_validate_prints_every_problem_of_a_folder_or_a_revision_at_once(platform: Platform) -> None:
    """Text and JSON; exit status 0 or 1. No engine, no state and no running platform are needed."""
    platform.app("shop")
    good = platform.push_spec("shop")
    clone, bare = platform.platform_repo.clone, platform.platform_repo.bare
    assert platform.cli("validate", str(clone)).returncode == 0
    platform.platform_repo.push(
        {"projects/shop.yaml": platform.spec("shop", "nonsense: 1\n"), "projects/blog.yaml": "kind: [\n"}
    )
    for place in (str(clone), f"{bare}@main"):
        bad = platform.cli("validate", place, check=False)
        assert bad.returncode == 1
        assert "projects/shop.yaml:7:1" in bad.stdout
        assert "nonsense" in bad.stdout
        assert "projects/blog.yaml:" in bad.stdout
        told = json.loads(platform.cli("validate", place, "--json", check=False).stdout)
        files = {each["file"] for each in told["problems"]}
        assert files == {"projects/shop.yaml", "projects/blog.yaml"}
    assert platform.cli("validate", f"{bare}@{good}").returncode == 0
    told = json.loads(platform.cli("validate", f"{bare}@{good[:10]}", "--json").stdout)
    assert told["problems"] == []
    missing = platform.cli("validate", f"{bare}@no-such-branch", check=False)
    assert missing.returncode == 1
    assert "no-such-branch" in missing.stderr
    assert not (platform.state / "instance").exists(), "validate has no need of a state folder"


# ---- plan ------------------------------------------------------------------------------------


def test_plan_tells_what_a_working_tree_a_branch_and_a_revision_would_lead_to(platform: Platform) -> None:
    """Exit status 0 nothing, 2 changes, 1 error; it changes nothing."""
    platform.deploy("shop", "blog")
    repo, good = platform.platform_repo, git(platform.platform_repo.clone, "rev-parse", "HEAD")
    before = platform.ids()
    nothing = platform.cli("plan", check=False)
    assert nothing.returncode == 0, nothing.stdout
    assert nothing.stdout.startswith(f"platform main@{good}")
    assert "2 projects unchanged" in nothing.stdout

    changed = platform.spec("shop", run={"memory": "96m"})
    repo.write({"projects/shop.yaml": changed, "projects/blog.yaml": None})
    tree = platform.cli("plan", str(repo.clone), check=False)
    assert tree.returncode == 2
    assert "run.memory 64m → 96m (projects/shop.yaml:5)" in tree.stdout
    assert f"remove       {platform.live('blog')}" in tree.stdout
    assert "projects/blog.yaml left the platform repository" in tree.stdout

    git(repo.clone, "checkout", "-q", "-b", "proposal")
    git(repo.clone, "add", "-A")
    git(repo.clone, "commit", "-q", "-m", "Proposal")
    git(repo.clone, "push", "-q", "origin", "proposal")
    branch = platform.cli("plan", "proposal", check=False)
    assert branch.returncode == 2
    told = json.loads(platform.cli("plan", git(repo.clone, "rev-parse", "HEAD"), "--json", check=False).stdout)
    assert {each["project"] for each in told["projects"]} >= {"shop", "blog"}
    [shop] = [each for each in told["projects"] if each["project"] == "shop"]
    assert all(each["why"] for each in shop["operations"])
    assert "96m" in shop["operations"][0]["why"]

    repo.write({"projects/shop.yaml": "kind: [\n"})
    invalid = platform.cli("plan", str(repo.clone), check=False)
    assert invalid.returncode == 1
    assert "projects/shop.yaml:" in invalid.stdout
    unknown = platform.cli("plan", "no-such-revision", check=False)
    assert unknown.returncode == 1
    assert "no-such-revision" in unknown.stderr
    platform.looks()
    assert platform.ids() == before


def test_plan_before_the_first_start_tells_the_first_deployments(platform: Platform) -> None:
    platform.app("shop")
    platform.push_spec("shop")
    first = platform.cli("plan", check=False)
    assert first.returncode == 2, first.stderr
    assert "first deployment of main@" in first.stdout
    assert platform.containers() == []
