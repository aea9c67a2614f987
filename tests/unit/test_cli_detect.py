"""`gitstead detect` on folders: what it says, how it ends, and what of a folder it looks at."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reconciler.adapters.source_folder import LONGEST_TEXT, MOST_FILES, list_folder, read_text
from reconciler.cli import main

ROOT = Path(__file__).resolve().parents[2]
Detect = Callable[..., Result]


@pytest.fixture
def detect(tmp_path: Path) -> Detect:
    """`gitstead detect` with a state folder that is never made."""

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ["--state", str(tmp_path / "state"), "detect", *words])

    return run


def put(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_the_examples_are_what_they_are(detect: Detect) -> None:
    expected = {"hello": "static, certain", "guest": "flask (Flask), certain", "clock": "dockerfile, certain"}
    for name, first in expected.items():
        done = detect(str(ROOT / "examples" / "apps" / name))
        assert done.exit_code == 0
        assert done.stdout.splitlines()[0] == first


def test_evidence_other_choices_and_the_dockerfile_are_shown(detect: Detect, tmp_path: Path) -> None:
    app = put(tmp_path / "app", main_go="package main\n", go_mod="module x\ngo 1.22\n", index_html="x")
    done = detect(str(app))
    assert done.exit_code == 0
    told, _, dockerfile = done.stdout.partition("\nDockerfile\n\n")
    assert told.startswith(
        "go, certain\n  because  go.mod is there\n           main.go is there\n  version  1.22 (go.mod)"
    )
    assert "could also be\n  static, guess\n    because  index.html is there\n    choose   build.type: static" in told
    assert dockerfile.startswith("# Made by Gitstead for build.type go.")
    assert "gitstead/base-" in dockerfile


def test_a_dockerfile_of_the_folder_s_own_is_left_as_it_is(detect: Detect, tmp_path: Path) -> None:
    done = detect(str(put(tmp_path / "app", Dockerfile="FROM scratch\n")))
    assert done.exit_code == 0
    assert "Dockerfile of the repository is used as it is." in done.stdout


def test_another_type_can_be_tried(detect: Detect, tmp_path: Path) -> None:
    app = put(tmp_path / "app", Dockerfile="FROM scratch\n", index_html="x")
    done = detect(str(app), "--type", "static")
    assert done.exit_code == 0
    assert done.stdout.startswith("static, certain\n")


def test_a_type_without_ground_ends_with_status_one(detect: Detect, tmp_path: Path) -> None:
    done = detect(str(put(tmp_path / "app", index_html="x")), "--type", "rust")
    assert done.exit_code == 1
    assert "Nothing here can be built as rust" in done.stdout


def test_a_monorepo_is_shown_its_folders(detect: Detect, tmp_path: Path) -> None:
    done = detect(str(put(tmp_path / "app", a__go_mod="module a\n", b__package_json="{}")))
    assert done.exit_code == 1
    assert "hint: Folders that look like projects: a (go.mod), b (package.json); to build one, set" in done.stdout


def test_what_is_missing_for_a_build_is_said_without_the_words_of_a_repository(detect: Detect, tmp_path: Path) -> None:
    done = detect(str(put(tmp_path / "app", requirements_txt="django\n")), "--type", "django")
    assert done.exit_code == 1
    assert "\nNo Dockerfile can be made: The source has no" in done.stdout
    assert "branch" not in done.stdout


def test_json_holds_the_same_facts(detect: Detect, tmp_path: Path) -> None:
    app = put(tmp_path / "app", index_html="x")
    told = json.loads(detect(str(app), "--json").stdout)
    assert told["chosen"]["type"] == "static"
    assert told["dockerfile"]["text"].startswith("# Made by Gitstead for build.type static")
    assert (told["others"], told["hints"], told["problem"], told["cut"]) == ([], [], "", False)
    empty = put(tmp_path / "empty", README_md="x")
    told = json.loads(detect(str(empty), "--json").stdout)
    assert (told["chosen"], told["dockerfile"]) == (None, None)


def test_no_folder_is_an_error_and_no_traceback(detect: Detect, tmp_path: Path) -> None:
    done = detect(str(tmp_path / "nothing"))
    assert done.exit_code == 1
    assert "is no folder; expected a folder that holds an app's source" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_written_where_nothing_was_asked_for(detect: Detect, tmp_path: Path) -> None:
    app = put(tmp_path / "app", index_html="x")
    detect(str(app))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["app", "index.html"]


def test_of_a_folder_with_too_many_files_the_nearest_are_looked_at_and_that_is_said(
    detect: Detect, tmp_path: Path
) -> None:
    app = put(tmp_path / "app", index_html="x", a__b_txt="")
    for number in range(MOST_FILES):
        (app / "a" / f"{number}").touch()
    listing, is_cut = list_folder(app)
    assert (len(listing), is_cut) == (MOST_FILES, True)
    assert "index.html" in listing
    assert f"hint: only the nearest {MOST_FILES} files were looked at" in detect(str(app)).stdout


def test_links_packages_and_what_is_no_file_are_left_out(tmp_path: Path) -> None:
    app = put(tmp_path / "app", index_html="x", node_modules="", _git__config="secret")
    (app / "node.modules").unlink()
    put(app, venv__app_py="x", src__app_py="y")
    (app / "node_modules").mkdir()
    (app / "node_modules" / "x.js").write_text("x")
    (app / "package.json").symlink_to(app / "index.html")
    (app / "loop").symlink_to(app)
    os.mkfifo(app / "requirements.txt")
    (app / "odd\nname").write_text("x")
    assert list_folder(app) == (frozenset({"index.html", "src/app.py"}), False)
    assert read_text(app, "package.json") is None
    assert read_text(app, "requirements.txt") is None


def test_only_ordinary_texts_are_read(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("ü")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_bytes(b"x" * (LONGEST_TEXT + 1))
    assert read_text(tmp_path, "text") == "ü"
    for name in ("bytes", "long", "missing"):
        assert read_text(tmp_path, name) is None


def test_a_folder_that_cannot_be_looked_into_counts_as_empty(tmp_path: Path) -> None:
    assert list_folder(tmp_path / "missing") == (frozenset(), False)
