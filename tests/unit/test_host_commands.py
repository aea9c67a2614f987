"""The commands print the result to standard output and what they do to standard error."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from reconciler.errors import HostUnfit
from reconciler.host import commands, doctor
from reconciler.host.base_image import BaseImage
from reconciler.host.check import Check
from reconciler.host.machine import Say

FINE = [Check("git", "ok", "2.39")]
BAD = [*FINE, Check("buildx", "problem", "not installed", "install it")]


def test_doctor_exits_with_1_where_there_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "diagnose", lambda _: BAD)
    result = CliRunner().invoke(commands.doctor)
    assert result.exit_code == 1
    assert result.stdout.endswith("1 problem\n")


def test_doctor_as_json_is_for_programs_even_while_it_mends(monkeypatch: pytest.MonkeyPatch) -> None:
    def fix(say: Say) -> None:
        say("installing git with apt")

    monkeypatch.setattr(doctor, "fix", fix)
    monkeypatch.setattr(doctor, "diagnose", lambda _: FINE)
    result = CliRunner().invoke(commands.doctor, ["--fix", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["problems"] == 0
    assert result.stderr == "installing git with apt\n"


def test_a_step_that_fails_is_said_and_the_next_one_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Say) -> None:
        raise HostUnfit("no apt", expected="Debian")

    monkeypatch.setattr(doctor, "_fix_git", fail)
    monkeypatch.setattr(doctor, "_fix_engine", fail)
    monkeypatch.setattr(doctor, "_fix_buildx", lambda say: say("buildx answers"))
    said: list[str] = []
    doctor.fix(said.append)
    assert said == ["✗ no apt; expected Debian."] * 2 + ["buildx answers"]


def test_an_unknown_base_image_is_refused_with_the_choices() -> None:
    result = CliRunner().invoke(commands.base_image, ["cobol"])
    assert result.exit_code == 1
    assert "there is no base image cobol; expected one of debian, python, static, node, go," in result.stderr


def test_base_image_hands_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def ensure(name: str, _: Say, **options: object) -> BaseImage:
        asked.extend([name, options])
        return BaseImage("gitstead/base-python:latest", "sha256:0", {})

    monkeypatch.setattr(commands, "ensure_base_image", ensure)
    words = ["python", "--as", "python:3", "--suite", "trixie", "--rebuild"]
    assert CliRunner().invoke(commands.base_image, words).exit_code == 0
    assert asked == ["python", {"public_name": "python:3", "suite": "trixie", "rebuild": True}]


def test_an_error_is_one_sentence_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> BaseImage:
        raise HostUnfit("no mirror", expected="one", remedy="Add it")

    monkeypatch.setattr(commands, "ensure_base_image", refuse)
    result = CliRunner().invoke(commands.base_image, ["python"])
    assert (result.exit_code, result.stderr) == (1, "Error: no mirror; expected one. Add it.\n")
