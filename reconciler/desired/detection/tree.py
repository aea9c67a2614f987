"""A source tree as the finders of `detection` ask it: what is there, what its manifests say.

Made by `detection` for one look; every manifest is parsed once. Pure; what cannot be parsed is told in `complaints`
and then says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

from reconciler.desired.detection.manifests import LONGEST_TEXT, near_paths, parse_json, parse_toml
from reconciler.model.detection import SourceFiles

_JSON = ("package.json", "composer.json", "angular.json")
_TOML = ("pyproject.toml", "Pipfile", "Cargo.toml", "rust-toolchain.toml")
_TOLD = (*_JSON, *_TOML, "requirements.txt", "go.mod", "pom.xml", "Gemfile", "Procfile")


class Tree:
    """One look at `files`. Paths are relative to the top, with `/` between folders."""

    def __init__(self, files: SourceFiles) -> None:
        self._files = files
        self.listing = files.listing
        self.top = frozenset(path for path in files.listing if "/" not in path)
        self.complaints: list[str] = [
            f"{name} was not read: it is no text, or longer than {LONGEST_TEXT // 1024} KiB."
            for name in _TOLD
            if name in self.top and name not in files.texts
        ]
        self._parsed: dict[str, Mapping[str, object]] = {}
        for name in sorted(files.texts):
            self._parse(name, files.texts[name])

    def _parse(self, name: str, text: str) -> None:
        base = name.rpartition("/")[2]
        if base not in (*_JSON, *_TOML):
            return
        parsed = parse_json(text) if base in _JSON else parse_toml(text)
        if isinstance(parsed, str):
            self.complaints.append(f"{name} {parsed}: what it says was not counted.")
        else:
            self._parsed[name] = parsed

    @cached_property
    def near(self) -> tuple[str, ...]:
        """See `manifests.near_paths`."""
        return near_paths(self.listing)

    def first(self, *names: str) -> str:
        """The first of these files that is there, else ""."""
        return next((name for name in names if name in self.listing), "")

    def matching(self, pattern: re.Pattern[str]) -> tuple[str, ...]:
        """The near paths that the pattern matches whole."""
        return tuple(path for path in self.near if pattern.fullmatch(path))

    def text(self, *names: str) -> str:
        """The text of the first of these files that was read, else ""."""
        return next((self._files.texts[name] for name in names if name in self._files.texts), "")

    def parsed(self, name: str) -> Mapping[str, object]:
        """What a JSON or TOML manifest holds; empty where it is missing or invalid."""
        return self._parsed.get(name, {})

    def words(self, name: str) -> tuple[str, ...]:
        """The first word of each line that is no comment: for files that hold one version."""
        lines = (line.partition("#")[0].split() for line in self.text(name).splitlines()[:50])
        return tuple(words[0] for words in lines if words)
