"""Fixtures of the end-to-end tests: a platform of the test's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform_support import Platform
from tests.platform_support import platform as make_platform


@pytest.fixture
def platform() -> Iterator[Platform]:
    """Not started yet. The folder's path is short, since sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="gs-"))
    folder.chmod(0o755)
    with make_platform(folder) as made:
        yield made
