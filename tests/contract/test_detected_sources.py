"""What a push makes of a project whose type is detected, read out of a real repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.secret_box import SecretBox
from reconciler.loop.sources import read_project
from reconciler.masking import Masker
from reconciler.model.condition import Reason
from reconciler.model.desired import DesiredProject
from reconciler.model.spec import BuildSpec, BuildType, ProjectSpec, SourceSpec
from tests.git_servers import Source

FLASK = {"app.py": "from flask import Flask\napp = Flask(__name__)\n", "requirements.txt": "flask\n"}


class App:
    """One app repository, and the project at its newest commit for any type and folder."""

    def __init__(self, folder: Path) -> None:
        self.source = Source(folder)
        self.mirrors = Mirrors(folder / "mirrors", local_paths=(str(folder),), known_hosts=folder / "no", timeout_s=5.0)
        self.secrets = SecretBox(folder / "keys", Masker())

    def project(self, build: BuildSpec | BuildType = "auto", *, path: str = ".") -> DesiredProject:
        build = build if isinstance(build, BuildSpec) else BuildSpec(build)
        spec = ProjectSpec("app", "b10b", SourceSpec(str(self.source.bare), path=path), build)
        sha = self.mirrors.refresh(str(self.source.bare), frozenset({"main"})).branches["main"]
        return read_project(self.mirrors, spec, sha, instance="abc123", problem=None, secrets=self.secrets)


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path)


def test_a_push_is_recognised_and_gets_its_dockerfile(app: App) -> None:
    app.source.push(FLASK)
    project = app.project()
    assert project.detection is not None
    assert project.detection.chosen is not None
    assert project.detection.chosen.title == "flask (Flask)"
    assert project.dockerfile is not None
    assert "app:app" in (project.dockerfile.text or "")
    assert project.source_problem is None


def test_writing_the_detected_type_into_the_spec_builds_nothing(app: App) -> None:
    app.source.push(FLASK)
    detected, written = app.project(), app.project("flask")
    assert detected.source_key == written.source_key
    assert detected.dockerfile == written.dockerfile
    assert app.project("python").source_key != written.source_key


def test_a_dockerfile_of_the_repository_s_own_wins_and_is_left_as_it_is(app: App) -> None:
    app.source.push({**FLASK, "Dockerfile": "FROM scratch\n"})
    detected, written = app.project(), app.project("dockerfile")
    assert detected.dockerfile is not None
    assert (detected.dockerfile.path, detected.dockerfile.text) == ("Dockerfile", None)
    assert detected.source_key == written.source_key
    assert detected.detection is not None
    assert [each.type for each in detected.detection.others] == ["flask"]
    assert app.project("flask").source_key != written.source_key


def test_arguments_of_the_build_are_part_of_the_key(app: App) -> None:
    app.source.push(FLASK)
    keys = {app.project(BuildSpec(args=args)).source_key for args in ({}, {"A": "1"}, {"A": "2"})}
    assert len(keys) == 3


def test_a_monorepo_is_told_its_folders_and_builds_one_of_them(app: App) -> None:
    app.source.push({"services/blog/app.py": FLASK["app.py"], "services/blog/requirements.txt": "flask\n",
                     "services/shop/go.mod": "module shop\n", "services/shop/main.go": "package main\n"})  # fmt: skip
    whole = app.project()
    assert whole.dockerfile is None
    assert whole.source_problem is not None
    assert whole.source_problem.reason is Reason.SOURCE_UNUSABLE
    assert "services/blog (requirements.txt), services/shop (go.mod)" in whole.source_problem.message
    blog = app.project(path="services/blog")
    assert blog.detection is not None
    assert blog.detection.chosen is not None
    assert blog.detection.chosen.type == "flask"


def test_a_manifest_that_is_a_link_is_not_followed(app: App, tmp_path: Path) -> None:
    (tmp_path / "outside.json").write_text('{"scripts": {"start": "node x.js"}}')
    (app.source.work / "package.json").symlink_to(tmp_path / "outside.json")
    app.source.push({"index.html": "1"})
    detection = app.project().detection
    assert detection is not None
    assert detection.chosen is not None
    assert detection.chosen.type == "static"


def test_nothing_recognised_keeps_the_project_from_being_built_and_says_why(app: App) -> None:
    app.source.push({"README.md": "# Hello\n"})
    project = app.project()
    assert project.dockerfile is None
    assert project.source_problem is not None
    assert "was not recognised: looked for a Dockerfile" in project.source_problem.message
    asked = app.project("go").source_problem
    assert asked is not None
    assert "nothing that build.type go could be made of" in asked.message


def test_a_dockerfile_that_is_missing_is_told_as_before(app: App) -> None:
    app.source.push({"docker/Dockerfile": "FROM scratch\n"})
    problem = app.project("dockerfile").source_problem
    assert problem is not None
    assert "has no Dockerfile (build.type dockerfile): set build.dockerfile to docker/Dockerfile." in problem.message
