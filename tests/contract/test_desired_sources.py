"""What Git asks for is computed once and kept, and never kept longer than it is true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.secret_box import SecretBox
from reconciler.loop.sources import Files, Sources
from reconciler.masking import Masker
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
