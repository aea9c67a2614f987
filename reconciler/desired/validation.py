"""Checks all files of one revision of the platform repository and tells every problem at once.

Called by the loop and by `gitstead validate` with the texts; reads nothing itself. A bad project is kept
back alone: the others are valid (invariant 3). What is absent from a revision may be pruned only where
`Validation.complete` holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from reconciler.desired import conflicts, credentials
from reconciler.desired.documents import Document, parse
from reconciler.desired.resolution import resolve_platform, resolve_project
from reconciler.desired.run_view import looks_secret
from reconciler.desired.scalars import shorten
from reconciler.desired.schema_check import check
from reconciler.model.naming import PROJECT_NAME
from reconciler.model.spec import Diagnostic, Location, PlatformSpec, ProjectSpec

PLATFORM_FILE = "platform.yaml"
PROJECTS_FOLDER = "projects/"
MAX_PROJECTS = 2000
RESERVED_NAMES = frozenset({"gitstead", "platform", "routes"})

FileKind = Literal["file", "symlink", "folder", "submodule"]
_NOT_A_FILE: Mapping[str, str] = {
    "symlink": "is a symbolic link, which is refused: put the text itself here",
    "folder": "is a folder: specs lie in projects/ itself, one <name>.yaml for each project",
    "submodule": "is a submodule, which is refused: put the text itself here",
}
_IGNORED = (".md", ".txt")


class SpecFile(NamedTuple):
    """One entry of the tree: its Git object id ("" where it has none) and its bytes.

    Entries that are no files are handed in too, with empty `data`, so that they can be refused by name.
    """

    blob: str
    data: bytes
    kind: FileKind = "file"


@dataclass(frozen=True)
class Validation:
    """What one revision says.

    `projects` are the valid ones, by name. `names` are all projects that have a file, valid or not.
    `platform` is None where platform.yaml cannot be used and no earlier one was handed in; no project is
    valid then. `complete`: each file could be read as YAML and has a usable name, so that a project that
    is not in `names` has left on purpose. `notes` tell people something and keep nothing back.
    """

    platform: PlatformSpec | None
    projects: tuple[ProjectSpec, ...]
    names: frozenset[str]
    diagnostics: tuple[Diagnostic, ...]
    notes: tuple[Diagnostic, ...] = ()
    complete: bool = False


@dataclass(frozen=True)
class Checked:
    """One project file: `spec` is None where it has problems, `is_yaml` whether it could be read at all."""

    spec: ProjectSpec | None
    problems: tuple[Diagnostic, ...]
    is_yaml: bool


@dataclass
class SpecCache:
    """Remembers checked files by (path, blob, platform), the least used forgotten first.

    Owned by whoever validates again and again; one thread at a time.
    """

    limit: int = 4 * MAX_PROJECTS
    _entries: OrderedDict[tuple[str, str, str], Checked] = field(default_factory=OrderedDict)

    def get(self, key: tuple[str, str, str]) -> Checked | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: tuple[str, str, str], checked: Checked) -> None:
        self._entries[key] = checked
        while len(self._entries) > self.limit:
            self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)


def validate(
    files: Mapping[str, SpecFile],
    *,
    holders: Mapping[str, str] | None = None,
    last_platform: PlatformSpec | None = None,
    cache: SpecCache | None = None,
) -> Validation:
    """Check `platform.yaml` and everything below `projects/`; other paths are ignored. Raises nothing.

    `holders` names the project that has a domain now: it keeps it when two ask for it. `last_platform` is
    used while `platform.yaml` is missing or invalid.
    """
    platform, problems = _platform(files.get(PLATFORM_FILE))
    complete = not problems
    platform = platform or last_platform
    names, usable, misplaced = _sort_out(files)
    problems += misplaced
    if len(usable) > MAX_PROJECTS:
        problems.append(_too_many(len(usable)))
        usable = {}
    checked = _check_all(usable, platform, cache if cache is not None else SpecCache())
    problems += [problem for each in checked.values() for problem in each.problems]
    specs = {name: each.spec for name, each in checked.items() if each.spec is not None}
    refused = credentials.find(specs, platform or PlatformSpec(), lines_of=lambda file: _lines(files[file]))
    problems += refused
    for each in refused:
        del specs[each.project]
    clashes = conflicts.find(specs, names, holders or {}, lines_of=lambda file: _lines(files[file]))
    valid = tuple(spec for name, spec in sorted(specs.items()) if name not in clashes.losers)
    return Validation(
        platform=platform,
        projects=valid,
        names=frozenset(names),
        diagnostics=_in_order([*problems, *clashes.problems]),
        notes=_in_order([*clashes.notes, *_secrets_in_the_open(valid)]),
        complete=complete
        and not misplaced
        and all(each.is_yaml for each in checked.values())
        and bool(usable or not names),
    )


def _in_order(diagnostics: list[Diagnostic]) -> tuple[Diagnostic, ...]:
    """platform.yaml first, then by file, line and column."""
    return tuple(
        sorted(
            diagnostics,
            key=lambda each: (
                each.location.file != PLATFORM_FILE, each.location.file, each.location.line, each.location.column
            ),
        )
    )  # fmt: skip


def _platform(file: SpecFile | None) -> tuple[PlatformSpec | None, list[Diagnostic]]:
    if file is None:
        message = (
            "platform.yaml is missing: write one with apiVersion: gitstead/v1, kind: Platform, domain: apps.example.com"
        )
        return None, [Diagnostic(Location(PLATFORM_FILE), message)]
    file = SpecFile(*file)
    if file.kind != "file":
        return None, [Diagnostic(Location(PLATFORM_FILE), f"platform.yaml {_NOT_A_FILE[file.kind]}")]
    parsed = parse(PLATFORM_FILE, file.data)
    problems = list(parsed.diagnostics)
    if parsed.document is None:
        return None, problems
    problems += check(parsed.document, "platform")
    return (None, problems) if problems else (resolve_platform(parsed.document), [])


def _sort_out(files: Mapping[str, SpecFile]) -> tuple[set[str], dict[str, SpecFile], list[Diagnostic]]:
    """(names of all projects that have a file, the usable files by path, what is misplaced or misnamed)."""
    names: set[str] = set()
    usable: dict[str, SpecFile] = {}
    problems: list[Diagnostic] = []
    for path in sorted(files):
        inner = path.removeprefix(PROJECTS_FOLDER)
        if inner == path or not inner or inner.startswith(".") or inner.lower().endswith(_IGNORED):
            continue
        file = SpecFile(*files[path])
        stem, _, extension = inner.rpartition(".")
        complaint = _misplaced(inner, stem, extension, file.kind)
        if extension in ("yaml", "yml") and "/" not in inner:
            names |= {stem, stem.lower()} & {name for name in (stem, stem.lower()) if PROJECT_NAME.match(name)}
        if complaint:
            problems.append(Diagnostic(Location(path), complaint, project=stem if stem in names else ""))
        else:
            usable[path] = file
    return names, usable, problems


def _misplaced(inner: str, stem: str, extension: str, kind: FileKind) -> str:
    shown = shorten(inner)
    if kind != "file":
        return f"{shown} {_NOT_A_FILE[kind]}"
    if "/" in inner:
        return "specs lie in projects/ itself, not in folders below it: move the file up"
    if extension == "yml":
        return f"a spec's name ends in .yaml: rename it to {shorten(stem)}.yaml"
    if extension != "yaml":
        return f"{shown} is not a spec: projects/ holds <name>.yaml files; move it elsewhere"
    if not PROJECT_NAME.match(stem) or stem.startswith("xn--"):
        plain = stem.lower()
        advice = f": rename it to {plain}.yaml" if plain != stem and PROJECT_NAME.match(plain) else ""
        return (
            f"{shorten(stem)!r} cannot be a project's name: 2 to 40 lower-case letters, digits and hyphens, "
            f"beginning with a letter{advice}"
        )
    if stem in RESERVED_NAMES:
        return f"{stem} is a reserved name: choose another one"
    return ""


def _too_many(count: int) -> Diagnostic:
    message = (
        f"projects/ holds {count} projects: at most {MAX_PROJECTS} are read; nothing is changed until there are fewer"
    )
    return Diagnostic(Location(PLATFORM_FILE), message)


def _check_all(files: Mapping[str, SpecFile], platform: PlatformSpec | None, cache: SpecCache) -> dict[str, Checked]:
    platform_key = repr(platform)
    results: dict[str, Checked] = {}
    for path, file in files.items():
        project_name = path.removeprefix(PROJECTS_FOLDER).removesuffix(".yaml")
        key = (path, file.blob, platform_key)
        checked = cache.get(key) if file.blob else None
        if checked is None:
            checked = _check_project(project_name, path, file, platform)
            if file.blob:
                cache.put(key, checked)
        results[project_name] = checked
    return results


def _check_project(project_name: str, path: str, file: SpecFile, platform: PlatformSpec | None) -> Checked:
    parsed = parse(path, file.data)
    problems = list(parsed.diagnostics)
    if parsed.document is not None:
        problems += check(parsed.document, "project")
        problems = problems or _set_twice(parsed.document)
    told = tuple(replace(problem, project=project_name) for problem in problems)
    if parsed.document is None or problems or platform is None:
        return Checked(None, told, is_yaml=parsed.document is not None)
    return Checked(resolve_project(project_name, parsed.document, platform, blob=file.blob), (), is_yaml=True)


def _set_twice(document: Document) -> list[Diagnostic]:
    """Variables that are both in plain text and sealed, of a document that the schema accepts."""
    run = document.value.get("run", {})
    both = sorted(set(run.get("env", {})) & set(run.get("secrets", {})))
    places = [document.keys[("run", "secrets", name)] for name in both]
    return [
        document.diagnostic(place, f"{name} is in run.env too: keep one of the two")
        for name, place in zip(both, places, strict=True)
    ]


def _secrets_in_the_open(specs: tuple[ProjectSpec, ...]) -> list[Diagnostic]:
    return [
        Diagnostic(
            spec.locations[f"run.env.{key}"],
            f"run.env.{key} sounds like a secret, and everyone who reads the repository reads it: "
            f"gitstead seal {spec.name} {key} makes a sealed value for run.secrets",
            project=spec.name,
        )
        for spec in specs
        for key, value in spec.run.env.items()
        if value and looks_secret(key)
    ]


def _lines(file: SpecFile) -> list[str]:
    return [line.removesuffix("\r") for line in SpecFile(*file).data.decode("utf-8-sig", "replace").split("\n")]
