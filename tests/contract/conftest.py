"""Fixtures of the contract tests: a tiny app that answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.caddy_support import Backend


@pytest.fixture
def app() -> Iterator[Backend]:
    with Backend("app") as backend:
        yield backend
