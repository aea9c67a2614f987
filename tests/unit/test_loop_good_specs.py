"""The last good text of a spec is kept while the project is in Git, and no longer (invariant 3)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.history.store import Store, open_store
from reconciler.loop.good_specs import GoodSpecs

BLOG = {"projects/blog.yaml": ("b1", b"blog")}
PLATFORM = {"platform.yaml": ("p1", b"platform")}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    state = tmp_path / "state"
    store = open_store(
        state_db=state / "state.db", logs_db=state / "logs.db", inbox_db=tmp_path / "inbox" / "inbox.db", create=True
    )
    yield store
    store.close()


def test_what_was_kept_is_given_back_by_its_path(store: Store) -> None:
    good = GoodSpecs(store.recorder, store.queries)
    good.save_good_texts({**BLOG, **PLATFORM}, "main@1")
    assert good.good_texts() == {**BLOG, **PLATFORM}


def test_keeping_the_same_again_writes_nothing(store: Store) -> None:
    good = GoodSpecs(store.recorder, store.queries)
    good.save_good_texts({**BLOG, **PLATFORM}, "main@1")
    before = store.writes
    good.save_good_texts({**BLOG, **PLATFORM}, "main@2")
    assert store.writes == before


def test_the_text_of_a_project_that_left_git_does_not_come_back(store: Store) -> None:
    good = GoodSpecs(store.recorder, store.queries)
    good.save_good_texts({**BLOG, **PLATFORM}, "main@1")
    good.forget_good_texts(frozenset({"blog"}))
    assert good.good_texts() == PLATFORM
