"""Specs with every default filled in, their digests, and the sentences that say what changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.desired.resolution import desired_project, source_key
from reconciler.desired.run_view import config_digest, config_view, looks_secret
from reconciler.desired.units import format_size, parse_duration, parse_size
from reconciler.desired.validation import SpecFile, validate
from reconciler.model.condition import Reason
from reconciler.model.desired import Dockerfile, SourceProblem
from reconciler.model.release import Commit
from reconciler.model.spec import BuildSpec, Location, ProjectSpec, RunSpec, SourceSpec

MINIMAL = "apiVersion: gitstead/v1\nkind: Project\nsource: {repo: /srv/git/x.git}\nbuild: {type: flask}\n"
FULL = """\
apiVersion: gitstead/v1
kind: Project
source:
  repo: https://git.example.com/acme/blog.git
  branch: release/2
  path: services/blog
build:
  type: dockerfile
  timeout: 90s
  dockerfile: docker/web.Dockerfile
run:
  port: 80
  memory: 1g
  cpus: 2
  pids: 64
  env:
    VERSION: 1.10
    LOG_LEVEL: info
  capabilities: [SETUID, CHOWN]
  command: [gunicorn, "app:app"]
health: {path: /healthz, timeout: 2m, interval: 5s}
domains: [blog.example.com, www.example.com]
deploy: {rollback_window: 0s, drain: 1h}
"""


def resolve(text: str, *, defaults: str = "") -> ProjectSpec:
    platform = f"apiVersion: gitstead/v1\nkind: Platform\ndomain: apps.example.com\n{defaults}"
    validation = validate(
        {"platform.yaml": SpecFile("1", platform.encode()), "projects/blog.yaml": SpecFile("b10b", text.encode())}
    )
    assert validation.diagnostics == ()
    return validation.projects[0]


def test_a_minimal_spec_gets_every_default() -> None:
    spec = resolve(MINIMAL)
    assert (spec.name, spec.blob) == ("blog", "b10b")
    assert spec.source == SourceSpec("/srv/git/x.git", "main", ".")
    assert spec.build == BuildSpec("flask", 1200.0, "Dockerfile")
    assert spec.run == RunSpec()
    assert (spec.health.path, spec.health.timeout_s, spec.health.interval_s) == ("/", 60.0, 10.0)
    assert (spec.deploy.rollback_window_s, spec.deploy.drain_s) == (86400.0, 30.0)
    assert spec.domains == ("blog.apps.example.com",)


def test_the_platform_gives_limits_to_projects_that_set_none() -> None:
    defaults = "defaults: {run: {memory: 64m, cpus: 1, pids: 32}}\n"
    run = resolve(MINIMAL, defaults=defaults).run
    assert (run.memory_bytes, run.cpus, run.pids) == (64 * 1024**2, 1.0, 32)
    assert resolve(MINIMAL + "run: {memory: 1g}\n", defaults=defaults).run.memory_bytes == 1024**3


def test_every_key_of_a_full_spec_arrives() -> None:
    spec = resolve(FULL)
    assert spec.source == SourceSpec("https://git.example.com/acme/blog.git", "release/2", "services/blog")
    assert spec.build == BuildSpec("dockerfile", 90.0, "docker/web.Dockerfile")
    assert spec.run == RunSpec(
        port=80, memory_bytes=1024**3, cpus=2.0, pids=64, env={"LOG_LEVEL": "info", "VERSION": "1.10"},
        capabilities=("CHOWN", "SETUID"), command=("gunicorn", "app:app"),
    )  # fmt: skip
    assert (spec.health.path, spec.health.timeout_s, spec.health.interval_s) == ("/healthz", 120.0, 5.0)
    assert (spec.deploy.rollback_window_s, spec.deploy.drain_s) == (0.0, 3600.0)
    assert spec.domains == ("blog.example.com", "www.example.com")


def test_a_spec_knows_where_each_of_its_keys_stands() -> None:
    locations = resolve(FULL).locations
    assert locations["run.memory"] == Location("projects/blog.yaml", 13, 11)
    assert locations["run.env.VERSION"] == Location("projects/blog.yaml", 17, 14)
    assert locations["domains[1]"] == Location("projects/blog.yaml", 22, 29)


def test_the_config_digest_changes_with_each_run_setting_and_with_nothing_else() -> None:
    run = RunSpec(env={"A": "b", "C": "d"})
    variants = [
        replace(run, port=1), replace(run, memory_bytes=1), replace(run, cpus=1.0), replace(run, pids=1),
        replace(run, env={"A": "b"}), replace(run, capabilities=("CHOWN",)), replace(run, command=("a",)),
    ]  # fmt: skip
    assert len({config_digest(each) for each in [run, *variants]}) == len(variants) + 1
    assert config_digest(replace(run, env={"C": "d", "A": "b"})) == config_digest(run)
    spec = resolve(FULL)
    moved = resolve(FULL.replace("/healthz", "/up").replace("www.", "web."))
    assert config_digest(spec.run) == config_digest(moved.run)


def test_what_is_sealed_counts_by_its_mark_alone() -> None:
    """Sealing the same value again changes the text and deploys nothing; another value does."""
    run, again = RunSpec(secrets={"DB": "age:QUJD"}), RunSpec(secrets={"DB": "age:REVG"})
    assert config_digest(run, {"DB": "0a1b2c3d"}) == config_digest(again, {"DB": "0a1b2c3d"})
    digests = {config_digest(run, marks) for marks in ({"DB": "0a1b2c3d"}, {"DB": "0a1b2c3e"}, {"DC": "0a1b2c3d"}, {})}
    assert len(digests) == 4
    assert config_digest(RunSpec(), {}) == config_digest(RunSpec())
    assert dict(config_view(run, {"DB": "0a1b2c3d"}))["run.secrets.DB"] == "(sealed, 0a1b2c3d)"
    assert "QUJD" not in repr(config_view(run, {"DB": "0a1b2c3d"}))


def test_the_config_view_is_what_people_wrote() -> None:
    assert config_view(resolve(FULL).run) == (
        ("run.port", "80"), ("run.memory", "1g"), ("run.cpus", "2"), ("run.pids", "64"),
        ("run.env.LOG_LEVEL", "info"), ("run.env.VERSION", "1.10"),
        ("run.capabilities", "CHOWN, SETUID"), ("run.command", "gunicorn app:app"),
    )  # fmt: skip


def test_a_value_that_sounds_secret_is_not_in_the_view_but_its_change_is() -> None:
    """Invariant 6."""
    before = dict(config_view(RunSpec(env={"API_KEY": "hunter2"})))
    after = dict(config_view(RunSpec(env={"API_KEY": "hunter3"})))
    assert "hunter" not in repr(before)
    assert before != after


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("DB_PASSWORD", True), ("TOKEN", True), ("github_token", True), ("SECRET_KEY", True), ("API_KEY", True),
        ("APIKEY", True), ("MONKEY", False), ("KEYBOARD", False), ("TOKENIZER", False), ("LOG_LEVEL", False),
    ],
)  # fmt: skip
def test_names_that_sound_secret(name: str, secret: bool) -> None:
    assert looks_secret(name) is secret


def test_a_long_value_is_cut_in_the_view_but_its_change_is_seen() -> None:
    views = [dict(config_view(RunSpec(env={"A": "x" * 5000 + end})))["run.env.A"] for end in "ab"]
    assert views[0] != views[1]
    assert len(views[0]) < 220


def test_the_source_key_follows_the_tree_and_the_way_to_build_it() -> None:
    spec = resolve(FULL)
    key = source_key(spec, "tree1")
    assert source_key(spec, "tree2") != key
    assert source_key(replace(spec, build=replace(spec.build, dockerfile="Dockerfile")), "tree1") != key
    assert source_key(replace(spec, build=BuildSpec("static")), "tree1") != key
    assert source_key(replace(spec, build=replace(spec.build, timeout_s=1.0), run=RunSpec()), "tree1") == key
    static = replace(spec, build=BuildSpec("static"))
    assert source_key(static, "t") == source_key(replace(static, build=BuildSpec("static", dockerfile="x")), "t")


def test_a_desired_project_has_its_keys_once_its_source_was_read() -> None:
    spec, commit = resolve(MINIMAL), Commit("c0ffee", tree="7ree")
    dockerfile = Dockerfile(".gitstead/Dockerfile", "FROM scratch", ())
    project = desired_project(spec, commit, dockerfile)
    assert (project.dockerfile, project.source_problem) == (dockerfile, None)
    assert project.source_key == source_key(spec, "7ree")
    assert project.config_digest == config_digest(spec.run)
    assert project.config == config_view(spec.run)


def test_a_source_that_was_never_read_has_no_keys() -> None:
    problem = SourceProblem(Reason.REMOTE_UNAVAILABLE, "down")
    project = desired_project(resolve(MINIMAL), None, source_problem=problem, stale=True)
    assert (project.source_key, project.config_digest, project.config) == ("", "", ())
    assert (project.source_problem, project.stale) == (problem, True)


def test_a_tree_that_cannot_be_built_is_a_source_problem() -> None:
    problem = SourceProblem(Reason.SOURCE_UNUSABLE, "no Dockerfile")
    project = desired_project(resolve(MINIMAL), Commit("c0ffee", tree="7ree"), problem)
    assert (project.dockerfile, project.source_problem) == (None, problem)
    assert project.source_key


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("0s", 0.0), ("30s", 30.0), ("20m", 1200.0), ("24h", 86400.0), ("90s", 90.0)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("512k", 524288), ("256m", 268435456), ("1g", 1073741824)])
def test_sizes_are_read_and_written(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert format_size(size) == text


def test_what_is_no_duration_or_size_is_an_error() -> None:
    for text in ("", "1", "1.5s", "s", "-1s", "1d", "1s\n", "01s"):
        with pytest.raises(ValueError, match="not a duration"):
            parse_duration(text)
    for text in ("", "1", "0m", "1M", "1mb", "1m\n"):
        with pytest.raises(ValueError, match="not a size"):
            parse_size(text)
    assert format_size(1000) == "1000"
