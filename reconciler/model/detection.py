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
    `command` is the whole argv that starts it, a server's options included, "" elements never; empty where the
    Dockerfile's own decides or nothing tells. In a word of it `$PORT` or `${PORT}` stands for `run.port`: the template
    puts the number in, since no shell does. `output` is the folder of a static build's result, or of the plain files
    themselves ("" is the top). `target` is which of several things is built or served: a Go package (`./cmd/web`, "."),
    a Rust binary, a Maven or Gradle module, PHP's document root (`public`). `evidence` are clauses such as
    `package.json depends on "next"`; `notes` are sentences for a person. Every text of it is printable, one line.
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
    target: str = ""
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """`node (Next.js)` for people."""
        return f"{self.type} ({self.framework})" if self.framework else self.type


@dataclass(frozen=True)
class Detection:
    """`chosen` is what is built, None where nothing was recognised; `others` could be meant as well, best first.

    `hints` are sentences about the tree as a whole: folders that could be `source.path`, files that cannot be read.
    """

    chosen: Detected | None = None
    others: tuple[Detected, ...] = ()
    hints: tuple[str, ...] = ()
