"""All that should run at one revision of the platform repository.

Made by `desired.resolution` out of texts and source states; compared with `Observed` by `plan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from reconciler.model.condition import Reason
from reconciler.model.detection import Detection
from reconciler.model.release import Commit
from reconciler.model.spec import Diagnostic, PlatformSpec, ProjectSpec


@dataclass(frozen=True)
class AskedVersion:
    """`version` as `file` has it (">=3.12", "lts/iron"); `image` is the base that should have it."""

    language: str
    version: str
    file: str
    image: str


@dataclass(frozen=True)
class Dockerfile:
    """`text` is written into the build context as `path`; None means the repository's own is used.

    `bases` are the images that its FROM lines name; None where they cannot be told from the text
    (then no build is ever skipped). `scratch` is not among them. `ignore` is written into the context as
    `.dockerignore`; "" means that the source has one, or needs none. `asked` is the version of its language
    that the source wants. `notes` are sentences for a person, told in the build's log.
    """

    path: str
    text: str | None
    bases: tuple[str, ...] | None
    ignore: str = ""
    asked: AskedVersion | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceProblem:
    """Why an app repository could not be used this time; what runs goes on."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class DesiredProject:
    """One project that should run.

    `commit` is the newest usable commit of the branch; None while the source was never read.
    `source_key` covers the tree of `source.path` and the build settings, `config_digest` the run
    settings, `config` the same in printable form; both keys are "" while `commit` is None.
    `stale`: the spec at this revision is invalid and this is the last good one. `detection` is None where the
    source was not looked into.
    """

    spec: ProjectSpec
    commit: Commit | None = None
    dockerfile: Dockerfile | None = None
    source_key: str = ""
    config_digest: str = ""
    config: tuple[tuple[str, str], ...] = ()
    source_problem: SourceProblem | None = None
    stale: bool = False
    detection: Detection | None = None

    @property
    def name(self) -> str:
        return self.spec.name


@dataclass(frozen=True)
class Desired:
    """`revision` is `branch@sha`, "" while none was read.

    `names` are all projects that have a file at the revision, valid or not: what is not among
    them may be pruned, and only if `complete`: fetched without error and wholly parsed.
    """

    revision: str
    platform: PlatformSpec
    projects: tuple[DesiredProject, ...] = ()
    names: frozenset[str] = frozenset()
    diagnostics: tuple[Diagnostic, ...] = ()
    complete: bool = False
    problem: str = ""

    def find(self, project_name: str) -> DesiredProject | None:
        return self._by_name.get(project_name)

    @cached_property
    def _by_name(self) -> Mapping[str, DesiredProject]:
        return {project.name: project for project in reversed(self.projects)}
