"""Asking repositories for news: at once where a person or a push wants it, whatever is under way just then."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.secret_box import SecretBox
from reconciler.loop.polling import Poller
from reconciler.loop.sources import Sources
from reconciler.masking import Masker
from tests.git_servers import HttpServer, Source, git, until

Files = Mapping[str, tuple[str, bytes]]
SPEC = "apiVersion: gitstead/v1\nkind: Project\nsource: {{repo: {}}}\nbuild: {{type: static}}\n"


class Kept:
    """The last good texts, in memory."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[str, bytes]] = {}

    def good_texts(self) -> Files:
        return dict(self._files)

    def save_good_texts(self, files: Files, revision: str) -> None:
        self._files |= files

    def forget_good_texts(self, names: frozenset[str]) -> None:
        self._files = {path: text for path, text in self._files.items() if Path(path).stem not in names}


class Asked:
    """A poller that never asks of its own accord after the first time, and what it told."""

    def __init__(self, folder: Path, platform: str, *, interval_s: float = 3600.0) -> None:
        self.news: list[str] = []
        self.mirrors = Mirrors(
            folder / "mirrors", local_paths=(str(folder),), known_hosts=folder / "none", timeout_s=5.0
        )
        self.sources = Sources(
            self.mirrors,
            Kept(),
            platform=(platform, "main"),
            instance="abc123",
            ask=lambda _: None,
            secrets=SecretBox(folder / "keys", Masker()),
        )
        self.poller = Poller(
            self.sources, interval_s=interval_s, on_news=self.news.append, on_asked=lambda _: None, clock=time.time
        )
        self.poller.start()

    def close(self) -> None:
        self.poller.stop()
        self.mirrors.close()


@pytest.fixture
def app(tmp_path: Path) -> Source:
    made = Source(tmp_path)
    made.push({"index.html": "1"})
    return made


@pytest.fixture
def asked(tmp_path: Path, app: Source) -> Iterator[Asked]:
    platform = Source(tmp_path, "platform")
    spec = SPEC.format(app.bare)
    platform.push(
        {"platform.yaml": "apiVersion: gitstead/v1\nkind: Platform\ndomain: localhost\n", "projects/app.yaml": spec}
    )
    asked = Asked(tmp_path, str(platform.bare))
    until(lambda: asked.news == [str(platform.bare)], what="the platform repository is asked first")
    asked.sources.desired({})
    yield asked
    asked.close()


def test_a_repository_that_was_just_heard_of_is_among_all_that_are_asked(asked: Asked, app: Source) -> None:
    asked.poller.poll_now()
    until(lambda: str(app.bare) in asked.news, what="it is asked, long before its interval")


def test_mirrors_are_tidied_once_the_specs_were_read(asked: Asked, app: Source, tmp_path: Path) -> None:
    asked.poller.poll_now()
    until(lambda: str(app.bare) in asked.news, what="the app's mirror is there")
    left = Source(tmp_path, "left")
    left.push({"a": "1"})
    asked.mirrors.refresh(str(left.bare), frozenset({"main"}))
    mirrors = sorted((tmp_path / "mirrors").glob("*.git"))
    for mirror in mirrors:
        os.utime(mirror, (1.0, 1.0))
    assert asked.sources.tidy(time.time())
    assert len(mirrors) == 3
    assert len([*(tmp_path / "mirrors").glob("*.git")]) == 2


def test_mirrors_are_tidied_at_start(tmp_path: Path, app: Source) -> None:
    platform = Source(tmp_path, "platform")
    platform.push(
        {
            "platform.yaml": "apiVersion: gitstead/v1\nkind: Platform\ndomain: localhost\n",
            "projects/app.yaml": SPEC.format(app.bare),
        }
    )
    left = tmp_path / "mirrors" / "left.git"
    git("init", "-q", "--bare", str(left), cwd=tmp_path)
    os.utime(left, (1.0, 1.0))
    asked = Asked(tmp_path, str(platform.bare), interval_s=0.2)
    until(lambda: asked.news == [str(platform.bare)], what="the platform repository is asked first")
    assert left.exists(), "nothing goes before it is known what is named"
    asked.sources.desired({})
    until(lambda: not left.exists(), what="it was tidied")
    asked.close()


def test_one_that_is_asked_for_while_it_is_being_asked_is_asked_once_more(tmp_path: Path, app: Source) -> None:
    """The answer under way may be older than the push that somebody tells of."""
    with HttpServer(tmp_path) as server:
        server.mode = "hang"
        repo = f"{server.url}/app.git"
        asked = Asked(tmp_path, repo)
        until(lambda: len(server.requests) == 1, what="the first question hangs")
        asker = threading.Thread(target=asked.poller.ask, args=(repo,), kwargs={"wait_s": 0.0})
        asker.start()
        asker.join(5.0)
        assert not asker.is_alive(), "nobody waits longer than he wants"
        server.mode = ""
        until(lambda: asked.news != [], timeout_s=30.0, what="the first answer: it did not come in time")
        until(lambda: len(server.requests) > 1, what="the second question")
        asked.close()
