"""What a source tree was recognised as, and the evidence for it.

Made by `desired.detection` from `SourceFiles`, shown by CLI and page, read by `desired.dockerfiles`.
Frozen values; no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from reconciler.model.spec import BuildType

Sureness = Literal["certain", "likely", "guess"]


@dataclass(frozen=True)
class SourceFiles:
    """A source tree as detection sees it: every file's path below `source.path`, and the texts of the few
    files that say what it is (see `desired.manifests`); a manifest that is a link or no text is not in `texts`.
    """

    listing: frozenset[str]
    texts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Detected:
    """One thing that the tree may be. `type` is never "auto".

    `framework` ("Next.js", "Vite", …) and `manager` ("npm", "pnpm", "uv", "maven", …) are "" where there is none.
    `version` is the language's version that the tree asks for, as written, and `version_from` the file that does.
    `command` is what starts it, "" elements never; empty where the Dockerfile's own decides. `output` is the folder of
    a static build's result. `evidence` are clauses such as `package.json depends on "next"`; `notes` are
    sentences for a person.
    """

    type: BuildType
    sure: Sureness
    evidence: tuple[str, ...]
    framework: str = ""
    manager: str = ""
    version: str = ""
    version_from: str = ""
    command: tuple[str, ...] = ()
    output: str = ""
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """`node (Next.js)` for people."""
        return f"{self.type} ({self.framework})" if self.framework else self.type


@dataclass(frozen=True)
class Detection:
    """`chosen` is what is built, None where nothing was recognised; `others` could be meant as well, best first."""

    chosen: Detected | None = None
    others: tuple[Detected, ...] = ()
