"""A whole platform on a second engine, in that engine's network: the engine may be filled, stopped and restarted.

Used by e2e tests. Ends only what it started.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine_support import SecondEngine
from tests.platform_support import Platform, platform


@dataclass
class Inside(Platform):
    """A platform in the network of a second engine, whose containers publish their ports there."""

    def enter(self, engine: SecondEngine) -> None:
        self.prefix = ("nsenter", "--target", str(engine.pid), "--net")

    def get(self, host: str, path: str = "/", *, timeout_s: float = 5.0) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.http_port}{path}"
        words = ["curl", "-s", "-m", str(timeout_s), "-w", "\n%{http_code}", "-H", f"Host: {host}", url]
        body, _, status = subprocess.run(
            [*self.prefix, *words], capture_output=True, text=True, check=False
        ).stdout.rpartition("\n")
        return int(status or 0), body


@contextlib.contextmanager
def inside(engine: SecondEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    """Not started yet; `docker` of the test speaks to that engine as well."""
    folder = Path(tempfile.mkdtemp(prefix="gs-"))
    folder.chmod(0o755)
    with monkeypatch.context() as patched, platform(folder) as plain:
        patched.setenv("DOCKER_HOST", engine.url)
        made = Inside(folder, plain.http_port, plain.status_port, plain.ports, repos=plain.repos)
        made.enter(engine)
        try:
            yield made
        finally:
            made.remove()
