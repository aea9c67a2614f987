"""Many small projects on one platform, for figures that depend on how many there are.

Used by `passing` and `idle`. Each project has an app repository and an image of its own, and a container
with little memory; all are deployed by Gitstead itself.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field

from bench.image import app_files
from bench.place import Place
from tests.platform_support import Platform, Repo, wait_for

_DEADLINE_S = 900.0


@dataclass
class Fleet:
    """`names` are the projects so far."""

    place: Place
    platform: Platform
    names: list[str] = field(default_factory=list)

    def grow(self, size: int) -> float:
        """Have `size` projects live; the seconds that it took."""
        template = self._template()
        began = time.monotonic()
        fresh = [f"app-{number:03}" for number in range(len(self.names), size)]
        for name in fresh:
            shutil.copytree(template, self.platform.folder / f"{name}.git")
        self.names += fresh
        specs: dict[str, str | bytes | None] = {f"projects/{name}.yaml": self._spec(name) for name in fresh}
        self.platform.platform_repo.push(specs, f"{size} projects")
        wait_for(self._is_live, f"{size} projects are live", timeout_s=_DEADLINE_S)
        return time.monotonic() - began

    def _template(self) -> str:
        if "template" not in self.platform.repos:
            repo = Repo.make(self.platform.folder, "template")
            repo.push(app_files(self.place.base, "v1"), "The app")
            self.platform.repos["template"] = repo
        return str(self.platform.repos["template"].bare)

    def _spec(self, name: str) -> str:
        repo = self.platform.folder / f"{name}.git"
        return self.platform.spec(name, source={"repo": str(repo)}, run={"memory": "16m"})

    def _is_live(self) -> bool:
        time.sleep(0.5)
        with self.platform.queries() as queries:
            rows = {row.project: row for row in queries.statuses()}
        live = [name for name in self.names if name in rows and rows[name].health == "Healthy"]
        return len(live) == len(self.names) and not any(rows[name].under_way for name in live)
