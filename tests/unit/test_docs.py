"""Missing or stale documentation is a red test: commands, keys, reasons, targets, and every line to copy."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from docs.reference import HEALTH, INTERNAL_SETTINGS, PAGE, STATES, keys, reference
from reconciler.cli import main
from reconciler.demo.tricks import main as tricks
from reconciler.desired.validation import SpecFile, validate
from reconciler.model.condition import REASONS, Health, Reason
from reconciler.model.release import State
from reconciler.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
REFERENCE = PAGE.read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", PAGE, ROOT / "caddy" / "README.md"]
TARGETS = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
UNITS = sorted((ROOT / "systemd").glob("*.service"))
SCHEMAS = {
    name: json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text()) for name in ("project", "platform", "host")
}
SCRIPTS = {"change-hello": tricks, "break-guest": tricks}


def blocks(kind: str) -> list[tuple[str, str]]:
    """(page, text) of each fenced block of that kind."""
    fence = re.compile(rf"^```{kind}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [(page.name, text) for page in PAGES for text in fence.findall(page.read_text())]


def lines_to_copy() -> Iterator[tuple[str, list[str]]]:
    for page, text in blocks("bash"):
        for line in text.splitlines():
            if words := shlex.split(line, comments=True):
                yield page, words


COPIED = [pytest.param(words, id=f"{page}: {shlex.join(words)}") for page, words in lines_to_copy()]


def test_the_reference_is_what_the_program_says_of_itself() -> None:
    assert reference() == REFERENCE, "stale: run .venv/bin/python docs/reference.py"


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_is_explained_in_the_readme_and_the_reference(name: str) -> None:
    assert re.search(rf"^gitstead {name}\b.*#", README, re.MULTILINE)
    assert f"### gitstead {name}\n" in REFERENCE
    assert main.commands[name].help


@pytest.mark.parametrize("schema", sorted(SCHEMAS))
def test_every_key_is_in_the_reference(schema: str) -> None:
    for name, _, _ in keys(SCHEMAS[schema]):
        assert f"| `{name}` |" in REFERENCE


def test_every_key_of_a_project_is_in_the_readme() -> None:
    table = README.partition("| key of a project |")[2].partition("\n\n")[0]
    told = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)*)`", table))
    leaves = {
        name
        for name, node, _ in keys(SCHEMAS["project"])
        if "properties" not in node and name not in ("apiVersion", "kind")
    }
    assert leaves - told == set()


def test_every_reason_health_state_and_setting_is_in_the_reference() -> None:
    assert set(REASONS) == set(Reason)
    assert set(HEALTH) == set(Health)
    assert set(STATES) == set(State)
    for word in (*REASONS, *HEALTH):
        assert f"| `{word}` |" in REFERENCE
    for name in Settings.__dataclass_fields__:
        assert (f"`GITSTEAD_{name.upper()}`" in REFERENCE) is (name not in INTERNAL_SETTINGS)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_of_make_is_told_somewhere(target: str) -> None:
    assert (
        target in {"help", "clean", "unit", "wheel"}
        or any(f"make {target}" in page.read_text() for page in PAGES[:2])
        or (f"-C /opt/gitstead {target}" in README)
    )


@pytest.mark.parametrize("words", COPIED)
def test_a_line_to_copy_names_what_there_is(words: list[str]) -> None:
    """Commands with their options and arguments, targets of make, units, files of the checkout."""
    words = [word for word in words if not re.match(r"[A-Z_]+=", word)] or words
    program, rest = Path(words[0]).name, words[1:]
    if program == "gitstead":
        parse(rest)
    elif program in SCRIPTS:
        command = SCRIPTS[program].commands[program]
        command.make_context(program, list(rest))
    elif program == "make":
        named = [word for word in rest if word not in ("-C", "/opt/gitstead") and "=" not in word]
        assert set(named) <= set(TARGETS)
    elif program == "systemctl":
        named = [word for word in rest if word not in ("daemon-reload", "enable", "--now")]
        assert set(named) <= {unit.stem for unit in UNITS}
    else:
        assert program in {"addgroup", "adduser", "mkdir", "cp", "python", "pytest", "pre-commit"}
        for word in rest:
            if re.match(r"(tests|docs)/|/opt/gitstead/", word):
                assert (ROOT / word.removeprefix("/opt/gitstead/")).exists()


def parse(words: list[str]) -> None:
    """As the program does it, without running anything; raises UsageError for what it does not know."""
    context = click.Context(main, info_name="gitstead")
    rest = main.make_parser(context).parse_args(list(words))[1]
    name, command, rest = main.resolve_command(context, rest)
    assert command is not None
    command.make_context(name, list(rest), parent=context)


def test_an_unknown_option_in_a_line_to_copy_would_be_found() -> None:
    for line in ("status --jsn", "stats", "base-image", "logs", "--hots x status"):
        with pytest.raises(click.UsageError):
            parse(line.split())


def test_the_yaml_in_the_readme_is_what_the_program_takes(tmp_path: Path) -> None:
    files: dict[str, SpecFile] = {}
    hosts = 0
    for _, text in blocks("yaml"):
        place = text.partition("\n")[0].removeprefix("# ")
        if place.endswith("host.yaml"):
            hosts += 1
            path = tmp_path / "host.yaml"
            path.write_text(text)
            assert load_settings({}, host_file=path).platform_repo
        else:
            files[place] = SpecFile("0" * 40, text.encode())
    checked = validate(files)
    assert hosts == 1
    assert sorted(files) == ["platform.yaml", "projects/blog.yaml"]
    assert [str(each) for each in checked.diagnostics] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads}, target


def test_the_drawing_of_the_pipeline_is_the_same_in_readme_and_contributing() -> None:
    first = "    git ──▶ desired ─┐"
    assert first in README
    assert first in (ROOT / "CONTRIBUTING.md").read_text()


def test_the_units_fit_the_settings_and_caddys_first_configuration(tmp_path: Path) -> None:
    text = {unit.stem: unit.read_text() for unit in UNITS}
    socket = json.loads((ROOT / "caddy" / "base.json").read_text())["admin"]["listen"]
    readme = next(block for _, block in blocks("yaml") if "host.yaml" in block)
    path = tmp_path / "host.yaml"
    path.write_text(readme)
    settings = load_settings({}, host_file=path)
    assert socket == f"unix/{settings.admin_socket}|0660"
    assert f"--config {settings.last_good_caddy}" in text["caddy"]
    assert "--resume" not in text["caddy"].partition("[Service]")[2]
    assert f"ReadWritePaths=-{settings.inbox}" in text["gitstead-web"]
    for folder in (settings.state_db.parent, settings.inbox):
        assert re.search(rf"^ExecStartPre=.* {folder}$", text["gitstead-reconciler"], re.MULTILINE)
    assert str(settings.state) == f"/var/lib/{re.findall('StateDirectory=(.*)', text['gitstead-reconciler'])[0]}"
    assert str(settings.runtime) == f"/run/{re.findall('RuntimeDirectory=(.*)', text['gitstead-reconciler'])[0]}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = re.sub(r"/opt/gitstead/\.venv/bin/[a-z]+", sys.executable, unit.read_text())
        (tmp_path / unit.name).write_text(text)
    made = [str(path) for path in tmp_path.iterdir()]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *made], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
