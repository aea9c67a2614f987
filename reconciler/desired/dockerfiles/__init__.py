"""Chooses or writes the Dockerfile of a project, from its spec, its files and what they were recognised as.

Called by the loop for each new tree, and by `gitstead eject` and `detect`; pure. One template per kind of source;
every image runs as a numeric user without capabilities, on the port in PORT.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from reconciler.desired.base_images import bases_of, copied_by
from reconciler.desired.base_names import BaseName
from reconciler.desired.dockerfiles.compiled import go, rust
from reconciler.desired.dockerfiles.ignore import ignore_for
from reconciler.desired.dockerfiles.jvm import java
from reconciler.desired.dockerfiles.node import node
from reconciler.desired.dockerfiles.parts import Source, Text, Unbuildable
from reconciler.desired.dockerfiles.php import php
from reconciler.desired.dockerfiles.python import python
from reconciler.desired.dockerfiles.ruby import ruby
from reconciler.desired.dockerfiles.static import static
from reconciler.model.condition import Reason
from reconciler.model.desired import AskedVersion, Dockerfile, SourceProblem
from reconciler.model.detection import Detected, SourceFiles
from reconciler.model.spec import BuildType, ProjectSpec

GENERATED_PATH = ".gitstead/Dockerfile"
_CACHE_ID = re.compile(r"[a-z0-9-]{1,80}\Z")
_TEMPLATES: dict[BuildType, Callable[[Source], Text]] = {
    "static": static,
    "node": node,
    "flask": python,
    "django": python,
    "fastapi": python,
    "python": python,
    "go": go,
    "rust": rust,
    "java": java,
    "php": php,
    "ruby": ruby,
}


def dockerfile_for(
    spec: ProjectSpec,
    files: SourceFiles,
    detected: Detected,
    *,
    repo_dockerfile: str | None,
    base_name: BaseName,
    cache_id: str,
) -> Dockerfile | SourceProblem:
    """The Dockerfile of this source, or why it has none.

    `detected.type` decides, `repo_dockerfile` is the text of `build.dockerfile` where it is a file. `base_name` gives
    the image of a kind and a version (see `base_names`). `cache_id` (instance and project: lower-case letters,
    digits, hyphens) keeps caches apart.
    """
    if not _CACHE_ID.match(cache_id):
        raise ValueError(f"cache id {cache_id!r} is not lower-case letters, digits and hyphens")
    try:
        if not files.listing:
            raise Unbuildable("has no files", "push some, or correct source.path")
        if detected.type == "dockerfile":
            return _own(spec, files.listing, repo_dockerfile)
        source = Source(spec, files, detected, base_name, cache_id)
        return _generated(source, _TEMPLATES[detected.type](source))
    except Unbuildable as problem:
        return _problem(spec, detected.type, problem)


def _own(spec: ProjectSpec, listing: frozenset[str], text: str | None) -> Dockerfile:
    path = spec.build.dockerfile
    if text is None and path in listing:
        raise Unbuildable(f"has {path}, but it is a link or no text", "make it an ordinary file")
    if text is None:
        others = sorted(each for each in listing if "dockerfile" in each.rpartition("/")[2].lower())[:5]
        remedy = f"set build.dockerfile to {' or '.join(others)}" if others else "add one, or choose another build.type"
        raise Unbuildable(f"has no {path}", remedy)
    ignore, notes = "", ""
    if not listing & {".dockerignore", f"{path}.dockerignore"}:
        ignore, notes = ignore_for(listing, copied_by(text), reads_env=False, keeps_modules=False)
    bases = bases_of(text, spec.build.args)
    return Dockerfile(path, None, bases, ignore=ignore, notes=(notes,) if notes else ())


def _generated(source: Source, made: Text) -> Dockerfile:
    bases = bases_of(made.text, source.spec.build.args)
    detected, notes, ignore = source.detected, [*source.detected.notes], ""
    if not source.has(".dockerignore"):
        is_plain = detected.type == "static" and not detected.output
        ignore, sentence = ignore_for(
            source.files.listing, copied_by(made.text), reads_env=made.reads_env, keeps_modules=is_plain
        )
        notes.append(sentence)
    asked = None
    if detected.version and made.language:
        image = source.base(made.base)
        asked = AskedVersion(made.language, detected.version, detected.version_from, image)
    return Dockerfile(GENERATED_PATH, made.text, bases, ignore=ignore, asked=asked, notes=tuple(notes))


def _problem(spec: ProjectSpec, build_type: str, problem: Unbuildable) -> SourceProblem:
    where = f"{spec.source.repo}, branch {spec.source.branch}"
    folder = f", folder {spec.source.path}" if spec.source.path != "." else ""
    return SourceProblem(
        Reason.SOURCE_UNUSABLE,
        f"The source ({where}{folder}) {problem.what} (build.type {build_type}): {problem.remedy}.",
    )
