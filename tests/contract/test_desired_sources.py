"""What Git asks for is computed once and kept, and never kept longer than it is true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.secret_box import SecretBox, ensure_keys, recipients_of, seal
from reconciler.loop.sources import Files, Sources
from reconciler.masking import Masker
from reconciler.model.condition import Reason
from tests.git_servers import Source

PLATFORM = "apiVersion: gitstead/v1\nkind: Platform\ndomain: localhost\n"
SPEC = "apiVersion: gitstead/v1\nkind: Project\nsource: {{repo: {repo}}}\nbuild: {{type: static}}\n{more}"


class Kept:
    """The last good texts, in memory; `meanwhile` happens once, while they are asked for."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, bytes]] = {}
        self.meanwhile: Callable[[], object] | None = None

    def good_texts(self) -> Files:
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()
        return dict(self.files)

    def save_good_texts(self, files: Files, revision: str) -> None:
        self.files |= files

    def forget_good_texts(self, names: frozenset[str]) -> None:
        self.files = {path: text for path, text in self.files.items() if Path(path).stem not in names}


def sources_of(folder: Path, platform: Source, good: Kept) -> Sources:
    """`folder / "keys"` is where its keys are."""
    mirrors = Mirrors(folder / "mirrors", local_paths=(str(folder),), known_hosts=folder / "none", timeout_s=5.0)
    made = Sources(
        mirrors,
        good,
        platform=(str(platform.bare), "main"),
        instance="abc123",
        ask=lambda repo: made.refresh(repo),
        secrets=SecretBox(folder / "keys", Masker()),
    )
    return made


def test_a_push_that_lands_while_the_answer_is_computed_is_in_the_next_one(tmp_path: Path) -> None:
    """A lost trigger may cost time, never correctness: the older answer must not be kept over the news."""
    app, platform, good = Source(tmp_path), Source(tmp_path, "platform"), Kept()
    app.push({"index.html": "1"})
    spec = SPEC.format(repo=app.bare, more="")
    platform.push({"platform.yaml": PLATFORM, "projects/app.yaml": spec})
    sources = sources_of(tmp_path, platform, good)

    def push() -> None:
        platform.push({"projects/late.yaml": spec})
        assert sources.refresh(str(platform.bare))

    good.meanwhile = push
    assert sources.desired({}).names == {"app"}
    assert sources.desired({}).names == {"app", "late"}


def test_an_answer_is_the_very_same_while_nothing_is_new(tmp_path: Path) -> None:
    app, platform = Source(tmp_path), Source(tmp_path, "platform")
    app.push({"index.html": "1"})
    platform.push({"platform.yaml": PLATFORM, "projects/app.yaml": SPEC.format(repo=app.bare, more="")})
    sources = sources_of(tmp_path, platform, Kept())
    sources.desired({})
    sources.refresh(str(app.bare))
    assert sources.desired({}) is sources.desired({})


def test_who_has_a_domain_keeps_it_also_after_a_start_that_did_not_know(tmp_path: Path) -> None:
    app, platform = Source(tmp_path), Source(tmp_path, "platform")
    app.push({"index.html": "1"})
    spec = SPEC.format(repo=app.bare, more="domains: [shop.example.com]\n")
    platform.push({"platform.yaml": PLATFORM, "projects/alpha.yaml": spec, "projects/zeta.yaml": spec})
    sources = sources_of(tmp_path, platform, Kept())
    assert [each.name for each in sources.desired({}).projects] == ["alpha"]
    held = {"shop.example.com": "zeta"}
    assert "zeta" in [each.name for each in sources.desired(held).projects]


def sealed_in(keys: Path, value: str, kind: str = "run-secret") -> str:
    return seal(value, kind=kind, project="app", key="DB", recipients=recipients_of(keys)[:1])


def test_a_sealed_value_is_known_by_its_mark_and_the_same_sealed_anew_is_no_change(tmp_path: Path) -> None:
    app, platform, keys = Source(tmp_path), Source(tmp_path, "platform"), tmp_path / "keys"
    app.push({"index.html": "1"})
    ensure_keys(keys)
    sources = sources_of(tmp_path, platform, Kept())

    def found(value: str) -> tuple[str, str]:
        more = f"run: {{secrets: {{DB: {sealed_in(keys, value)}}}}}\n"
        platform.push({"platform.yaml": PLATFORM, "projects/app.yaml": SPEC.format(repo=app.bare, more=more)})
        sources.refresh(str(platform.bare))
        [project] = sources.desired({}).projects
        assert project.source_problem is None
        assert value not in repr(project)
        return project.config_digest, dict(project.config)["run.secrets.DB"]

    first, again, other = found("hunter22"), found("hunter22"), found("hunter23")
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


@pytest.mark.parametrize("place", ["run", "build"])
def test_a_value_that_cannot_be_opened_is_a_problem_with_its_line_until_the_key_is_back(
    tmp_path: Path, place: str
) -> None:
    app, platform, keys = Source(tmp_path), Source(tmp_path, "platform"), tmp_path / "keys"
    app.push({"index.html": "1"})
    ensure_keys(keys)
    text = sealed_in(keys, "hunter22", f"{place}-secret")
    spec = f"apiVersion: gitstead/v1\nkind: Project\nsource: {{repo: {app.bare}}}\n"
    spec += (
        f"run: {{secrets: {{DB: {text}}}}}\n"
        if place == "run"
        else f"build: {{type: static, secrets: {{DB: {text}}}}}\n"
    )
    platform.push({"platform.yaml": PLATFORM, "projects/app.yaml": spec})
    kept = (keys / "identity").read_bytes()
    (keys / "identity").unlink()
    sources = sources_of(tmp_path, platform, Kept())
    [project] = sources.desired({}).projects
    assert project.source_problem is not None
    assert project.source_problem.reason is Reason.SECRET_UNREADABLE
    assert (
        f"projects/app.yaml:4:{spec.splitlines()[3].index('age:') + 1} {place}-secret DB of app cannot be opened"
        in (project.source_problem.message)
    )
    assert (project.commit, project.config_digest, project.dockerfile) == (None, "", None), "nothing can be deployed"
    assert sources.desired({}) is sources.desired({})
    (keys / "identity").write_bytes(kept)
    [project] = sources.desired({}).projects
    assert (project.source_problem, bool(project.config_digest)) == (None, True)
