"""The floor of a pass with nothing to do: list the containers once, read every ref, compare hashes.

Used by `passing` as the baseline; plain Python on the same engine client. It would notice a push, a dead
container and an edited spec, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import docker

_PROJECT = "gitstead.project"


@dataclass
class BarePass:
    """`repos` is project to bare repository; `specs` is project to the text of its spec."""

    instance: str
    platform_repo: Path
    repos: Mapping[str, Path]
    specs: Mapping[str, bytes]
    api: docker.APIClient = field(default_factory=lambda: docker.APIClient(version="auto"))
    applied: dict[str, str] = field(default_factory=dict)

    def run(self) -> list[str]:
        """The projects that would have to be deployed or repaired."""
        platform_sha = _ref(self.platform_repo)
        listed = self.api.containers(all=True)
        running = {
            each["Labels"].get(_PROJECT)
            for each in listed
            if each["State"] == "running" and (each["Labels"] or {}).get("gitstead.instance") == self.instance
        }
        wanted = {name: self._hash(platform_sha, name) for name in self.specs}
        todo = [name for name, digest in wanted.items() if self.applied.get(name) != digest or name not in running]
        self.applied = wanted
        return todo

    def _hash(self, platform_sha: str, name: str) -> str:
        parts = (platform_sha.encode(), _ref(self.repos[name]).encode(), self.specs[name])
        return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _ref(repo: Path) -> str:
    return (repo / "refs" / "heads" / "main").read_text().strip()
