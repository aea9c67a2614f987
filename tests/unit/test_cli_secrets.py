"""`key`, `seal` and `reseal`: what people do with sealed values, with real files and a real prompt."""

from __future__ import annotations

import os
import pty
import select
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reconciler.adapters.secret_box import SecretBox, recipients_of
from reconciler.cli import main
from reconciler.desired.validation import SpecFile, validate
from reconciler.masking import Masker

Run = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def run(state: Path) -> Run:
    def call(*words: str, stdin: str | bytes = "") -> Result:
        return CliRunner().invoke(main, ["--state", str(state), *words], input=stdin, env={"GITSTEAD_HOST_FILE": ""})

    return call


def opened(state: Path, sealed: str, kind: str, project: str, key: str) -> str:
    return SecretBox(state / "keys", Masker()).open(sealed, kind=kind, project=project, key=key)


def test_key_makes_the_first_key_and_prints_the_newest_alone(run: Run, state: Path) -> None:
    first = run("key")
    assert (first.exit_code, first.stderr) == (0, "")
    assert run("key").stdout == first.stdout
    rotated = run("key", "--rotate")
    assert rotated.stdout.strip() == recipients_of(state / "keys")[0] != first.stdout.strip()
    assert "sealed to 1 older key still opens" in rotated.stderr
    assert "AGE-SECRET-KEY" not in first.output + rotated.output


@pytest.mark.parametrize(("kind", "project"), [("run-secret", "blog"), ("build-secret", "*"), ("credential", "*")])
def test_what_is_sealed_can_be_opened_in_its_place(run: Run, state: Path, kind: str, project: str) -> None:
    run("key")
    done = run("seal", project, "DATABASE_URL", "--kind", kind, stdin="postgres://hunter22\n")
    assert done.exit_code == 0
    assert opened(state, done.stdout.strip(), kind, project, "DATABASE_URL") == "postgres://hunter22"
    assert "DATABASE_URL" in done.stderr
    assert "hunter22" not in done.output


def test_seal_says_where_the_value_goes_and_that_is_a_good_spec(run: Run) -> None:
    run("key")
    done = run("seal", "blog", "DB", stdin="hunter22")
    place, _, where = done.stderr.removeprefix("It goes into ").strip().partition(": ")
    text = "apiVersion: gitstead/v1\nkind: Project\nsource: {repo: https://example.com/a.git}\nbuild: {type: static}\n"
    spec = text + where.replace("age:…", done.stdout.strip()) + "\n"
    platform = b"apiVersion: gitstead/v1\nkind: Platform\ndomain: example.com\n"
    checked = validate({"platform.yaml": SpecFile("", platform), place: SpecFile("", spec.encode())})
    assert (place, checked.diagnostics) == ("projects/blog.yaml", ())
    assert checked.projects[0].run.secrets == {"DB": done.stdout.strip()}


def test_a_laptop_without_the_key_seals_to_the_recipient_that_it_is_given(
    run: Run, state: Path, tmp_path: Path
) -> None:
    refused = run("seal", "blog", "DB", stdin="hunter22")
    assert refused.exit_code == 1
    assert "--recipient" in refused.stderr
    assert not state.exists()
    server = tmp_path / "server"
    recipient = CliRunner().invoke(main, ["--state", str(server), "key"]).stdout.strip()
    done = run("seal", "blog", "DB", "--recipient", recipient, stdin="hunter22")
    assert opened(server, done.stdout.strip(), "run-secret", "blog", "DB") == "hunter22"
    assert not state.exists()


def test_several_recipients_open_what_is_sealed_to_all(run: Run, state: Path, tmp_path: Path) -> None:
    servers = [tmp_path / "one", tmp_path / "two"]
    options = []
    for server in servers:
        options += ["--recipient", CliRunner().invoke(main, ["--state", str(server), "key"]).stdout.strip()]
    sealed = run("seal", "*", "forge", "--kind", "credential", *options, stdin="hunter22").stdout.strip()
    assert [opened(server, sealed, "credential", "shop", "forge") for server in servers] == ["hunter22"] * 2


@pytest.mark.parametrize(
    ("stdin", "expected"),
    [("two\nlines\n", "two\nlines"), ("windows\r\n", "windows"), ("kept\n\n", "kept\n"), ("  spaces  ", "  spaces  ")],
)
def test_one_newline_at_the_end_is_taken_off_and_nothing_else(run: Run, state: Path, stdin: str, expected: str) -> None:
    run("key")
    done = run("seal", "blog", "DB", stdin=stdin.encode())
    assert opened(state, done.stdout.strip(), "run-secret", "blog", "DB") == expected


@pytest.mark.parametrize(
    ("words", "stdin", "complaint"),
    [
        (("blog", "DB"), b"abc", "3 characters"),
        (("blog", "DB"), b"", "0 characters"),
        (("blog", "DB"), b"hunter\x0022", "a NUL"),
        (("blog", "DB"), b"hunter\xff22", "no UTF-8"),
        (("blog", "DB"), b"x" * 65537, "65537 bytes"),
        (("Blog", "DB"), b"hunter22", '"Blog" is no project'),
        (("blog", "forge", "--kind", "credential"), b"hunter22", "credentials.<name>.projects"),
        (("blog", "DB", "--recipient", "ssh-ed25519 AAAA"), b"hunter22", "is no recipient"),
    ],
)
def test_what_cannot_be_sealed_is_refused_and_not_repeated(
    run: Run, words: tuple[str, ...], stdin: bytes, complaint: str
) -> None:
    run("key")
    done = run("seal", *words, stdin=stdin)
    assert (done.exit_code, done.stdout) == (1, "")
    assert complaint in done.stderr
    assert "hunter" not in done.output


def test_a_value_on_the_command_line_is_no_way_to_seal(run: Run) -> None:
    assert run("seal", "blog", "DB", "hunter22").exit_code == 2


def test_on_a_terminal_the_value_is_asked_for_and_not_shown(state: Path, run: Run) -> None:
    run("key")
    parent, child = pty.openpty()
    argv = [sys.executable, "-m", "reconciler", "--state", str(state), "seal", "blog", "DB"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(argv, stdin=child, stdout=subprocess.PIPE, stderr=child, env=env, start_new_session=True)
    os.close(child)
    shown = b""
    for question in (b"Value: ", b"confirmation: "):
        deadline = time.monotonic() + 30
        while question not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([parent], [], [], 0.1)[0]:
                shown += os.read(parent, 4096)
        os.write(parent, b"hunter22\n")
    out, _ = process.communicate(timeout=30)
    os.close(parent)
    assert opened(state, out.decode().strip(), "run-secret", "blog", "DB") == "hunter22"
    assert b"hunter22" not in shown


# ---- reseal -------------------------------------------------------------------------------------

SPEC = """\
# yaml-language-server: $schema=x   and age:QUJDRA== in a comment stays
apiVersion: gitstead/v1
kind: Project
source:   {{repo: https://example.com/a.git}}
run:
  env: {{ÄÖ: "ünïcödé"}}   # a comment
  secrets: {{ONE: {one},  TWO: "{two}"}}  # kept
  # between
build:
  secrets:
    'THREE':   '{three}'
    FOUR: >-
      {four}
"""


@pytest.fixture
def folder(tmp_path: Path, run: Run) -> Path:
    """A working tree whose values are sealed to a key that is not the newest any more."""
    run("key")
    values = {
        name.lower(): run("seal", "blog", name, "--kind", kind, stdin=f"hunter-{name}").stdout.strip()
        for name, kind in (
            ("ONE", "run-secret"),
            ("TWO", "run-secret"),
            ("THREE", "build-secret"),
            ("FOUR", "build-secret"),
        )
    }
    made = tmp_path / "platform"
    (made / "projects").mkdir(parents=True)
    (made / "projects" / "blog.yaml").write_bytes(SPEC.format(**values).replace("\n", "\r\n").encode())
    (made / "projects" / "blog.yaml").chmod(0o640)
    (made / "projects" / "plain.yaml").write_text("apiVersion: gitstead/v1\nkind: Project\n")
    token = run("seal", "*", "forge", "--kind", "credential", stdin="hunter-forge").stdout.strip()
    (made / "platform.yaml").write_text(f"\ufeffcredentials: {{forge: {{value: {token}}}}}")
    run("key", "--rotate")
    return made


def tokens(text: str) -> list[str]:
    return [word for word in text.replace('"', " ").replace("'", " ").replace(",", " ").replace("}", " ").split() if
            word.startswith("age:") and len(word) > 100]  # fmt: skip


def test_reseal_puts_new_texts_in_the_place_of_the_old_and_touches_nothing_else(
    run: Run, folder: Path, state: Path
) -> None:
    paths = [folder / "projects" / "blog.yaml", folder / "platform.yaml", folder / "projects" / "plain.yaml"]
    before = [path.read_bytes().decode() for path in paths]
    untouched = paths[2].stat().st_mtime_ns
    done = run("reseal", str(folder))
    assert done.exit_code == 0, done.output
    after = [path.read_bytes().decode() for path in paths]
    for old, new in zip(before, after, strict=True):
        assert len(tokens(old)) == len(tokens(new))
        for one, other in zip(tokens(old), tokens(new), strict=True):
            assert one != other
            new = new.replace(other, one, 1)
        assert new == old
    assert paths[2].stat().st_mtime_ns == untouched
    assert stat.S_IMODE(paths[0].stat().st_mode) == 0o640
    assert sorted(each.name for each in (folder / "projects").iterdir()) == ["blog.yaml", "plain.yaml"]
    assert done.stdout.splitlines() == [
        "platform.yaml:1:30 credential forge of *",
        "projects/blog.yaml:7:18 run-secret ONE of blog",
        "projects/blog.yaml:7:{} run-secret TWO of blog".format(before[0].splitlines()[6].index('"') + 1),
        "projects/blog.yaml:11:16 build-secret THREE of blog",
        "projects/blog.yaml:12:11 build-secret FOUR of blog",
        "5 values sealed anew: commit the change.",
    ]
    identity = state / "keys" / "identity"
    identity.write_text("\n".join(identity.read_text().splitlines()[:2]) + "\n")
    assert opened(state, tokens(after[0])[3], "build-secret", "blog", "FOUR") == "hunter-FOUR"


def test_reseal_can_seal_to_another_key_beside_our_own(run: Run, folder: Path, state: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    recipient = CliRunner().invoke(main, ["--state", str(second), "key"]).stdout.strip()
    assert run("reseal", str(folder), "--recipient", recipient).exit_code == 0
    sealed = tokens((folder / "projects" / "blog.yaml").read_text())[0]
    assert [opened(each, sealed, "run-secret", "blog", "ONE") for each in (state, second)] == ["hunter-ONE"] * 2


def test_reseal_changes_nothing_where_one_value_cannot_be_opened(run: Run, folder: Path) -> None:
    path = folder / "projects" / "other.yaml"
    path.write_text('run:\n  secrets: {A: "age:aHVudGVyMjI="}\n')
    before = {each: each.read_bytes() for each in folder.rglob("*.yaml")}
    done = run("reseal", str(folder))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "nothing was changed: projects/other.yaml:2:16 cannot be opened" in done.stderr
    assert {each: each.read_bytes() for each in folder.rglob("*.yaml")} == before


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('a: "age:aHVudGVy\\\n  MjI="\n', "projects/bad.yaml:1:4 this sealed value is written over several lines"),
        ("a: [\n", "projects/bad.yaml:2:1 not YAML"),
    ],
)
def test_reseal_refuses_a_file_that_it_cannot_read_for_sure(run: Run, folder: Path, text: str, complaint: str) -> None:
    (folder / "projects" / "bad.yaml").write_text(text)
    done = run("reseal", str(folder))
    assert done.exit_code == 1
    assert complaint in done.stderr


def test_reseal_follows_no_link_out_of_the_folder(run: Run, folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_bytes((folder / "projects" / "blog.yaml").read_bytes())
    (folder / "projects" / "link.yaml").symlink_to(outside)
    before = outside.read_bytes()
    assert run("reseal", str(folder)).exit_code == 1
    assert outside.read_bytes() == before


def test_reseal_writes_through_no_link_that_lies_in_the_tree(run: Run, folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "authorized_keys"
    outside.write_text("ours\n")
    for place in (folder, folder / "projects"):
        for name in ("platform", "blog"):
            (place / f".{name}.yaml.new").symlink_to(outside)
    (folder / "projects" / ".blog.yaml.new").unlink()
    (folder / "projects" / ".platform.yaml.new").unlink()
    assert run("reseal", str(folder)).exit_code == 0
    assert outside.read_text() == "ours\n"
    assert not (folder / "platform.yaml").is_symlink()


def test_reseal_says_that_there_is_nothing_to_do(run: Run, tmp_path: Path) -> None:
    run("key")
    (tmp_path / "empty").mkdir()
    done = run("reseal", str(tmp_path / "empty"))
    assert (done.exit_code, done.stdout) == (0, "There is no sealed value here.\n")
    missing = run("reseal", str(tmp_path / "nowhere"))
    assert (missing.exit_code, "nowhere is no folder" in missing.stderr) == (1, True)
