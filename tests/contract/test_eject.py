"""`gitstead eject` on real repositories: the Dockerfile alone on standard output, and what to do with it beside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reconciler.cli import main
from tests.golden_sources import FLASK
from tests.platform_support import Repo

Eject = Callable[..., Result]
SPEC = "apiVersion: gitstead/v1\nkind: Project\nsource: {{repo: {repo}}}\nbuild: {{type: {type}}}\n"


@pytest.fixture
def eject(tmp_path: Path) -> Eject:
    """A platform with a Flask app `guest`, a project `own` with a Dockerfile, and one without anything usable."""
    repos = {name: Repo.make(tmp_path, name) for name in ("platform", "guest", "own", "empty")}
    repos["guest"].push({"app.py": FLASK, "requirements.txt": "flask\n", ".env": "A=1\n"})
    repos["own"].push({"Dockerfile": "FROM gitstead/base-python\n"})
    repos["empty"].push({"README.md": "nothing\n"})
    types = {"guest": "auto", "own": "dockerfile", "empty": "go"}
    repos["platform"].push(
        {
            "platform.yaml": "apiVersion: gitstead/v1\nkind: Platform\ndomain: localhost\n",
            "projects/broken.yaml": "kind: 7\n",
            **{f"projects/{name}.yaml": SPEC.format(repo=repos[name].bare, type=kind) for name, kind in types.items()},
        }
    )
    env = {
        "GITSTEAD_STATE": str(tmp_path / "state"),
        "GITSTEAD_PLATFORM_REPO": str(repos["platform"].bare),
        "GITSTEAD_LOCAL_PATHS": str(tmp_path),
    }

    def run(*words: str, **more: str) -> Result:
        return CliRunner().invoke(main, ["eject", *words], env={**env, **more})

    return run


def test_the_dockerfile_is_printed_alone_and_what_to_do_beside_it(eject: Eject) -> None:
    done = eject("guest")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("ARG BASE=gitstead/base-python\n")
    assert done.stdout.endswith('"app:app"]\n')
    assert "put one beside it:\n  **/.git\n" in done.stderr
    assert "set in projects/guest.yaml:\n  build:\n    type: dockerfile\n" in done.stderr


def test_it_is_written_with_a_dockerignore_and_never_over_a_file(eject: Eject, tmp_path: Path) -> None:
    target = tmp_path / "web.Dockerfile"
    done = eject("guest", "--output", str(target))
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "    dockerfile: web.Dockerfile\n" in done.stderr
    assert target.read_text().startswith("ARG BASE=")
    assert "**/.env\n" in (tmp_path / ".dockerignore").read_text()
    again = eject("guest", "--output", str(target))
    assert again.exit_code == 1
    assert f"{target} is there already" in again.stderr
    elsewhere = eject("guest", "--output", str(tmp_path / "no" / "Dockerfile"))
    assert "cannot be written: No such file" in elsewhere.stderr


def test_public_bases_are_named_where_the_host_says_so(eject: Eject) -> None:
    assert eject("guest", GITSTEAD_BASES="registry").stdout.startswith("ARG BASE=python:3.13-slim\n")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("own", "own is built with Dockerfile of its own repository: it is yours already"),
        ("empty", "has nothing that build.type go could be made of"),
        ("broken", "projects/broken.yaml:1"),
        ("nobody", "has no projects/nobody.yaml; expected one of: broken, empty, guest, own"),
    ],
)
def test_a_project_without_a_generated_dockerfile_is_told_why(eject: Eject, name: str, told: str) -> None:
    done = eject(name)
    assert done.exit_code == 1
    assert told in done.stderr
