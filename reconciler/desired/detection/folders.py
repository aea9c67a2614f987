"""Hints about a tree as a whole: folders that could be `source.path`, and what Gitstead does not know to build.

Called by `detection`. Pure.
"""

from __future__ import annotations

import re

from reconciler.desired.detection.manifests import MARKS, shown
from reconciler.desired.detection.tree import Tree

MOST_SHOWN = 8
# Several packages of one kind below a manifest of that kind are one project.
_ONE_PROJECT = {
    "package.json": ("package.json",),
    "Cargo.toml": ("Cargo.toml",),
    "pom.xml": ("pom.xml",),
    "build.gradle": ("build.gradle",),
    "build.gradle.kts": ("build.gradle.kts",),
    "settings.gradle": ("build.gradle", "build.gradle.kts"),
    "settings.gradle.kts": ("build.gradle", "build.gradle.kts"),
    "pyproject.toml": ("pyproject.toml", "setup.py"),
    "go.mod": ("main.go",),
    "manage.py": ("requirements.txt",),
}
_PARTS = frozenset({"index.html", "index.php", "Dockerfile", "manage.py"})
_MARK = re.compile(rf"((?:[^/]+/){{0,2}}[^/]+)/({'|'.join(re.escape(name) for name in MARKS)})")
_UNKNOWN: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"mix\.exs"), "an Elixir project"),
    (re.compile(r"[^/]+\.(?:cs|fs|vb)proj|[^/]+\.sln"), "a .NET project"),
    (re.compile(r"deno\.jsonc?"), "a Deno project"),
    (re.compile(r"bunfig\.toml"), "a Bun project"),
    (re.compile(r"Package\.swift"), "a Swift package"),
    (re.compile(r"hugo\.(?:toml|yaml|json)"), "a Hugo site"),
    (re.compile(r"_config\.yml"), "a Jekyll site"),
    (re.compile(r"mkdocs\.yml"), "an MkDocs site"),
    (re.compile(r"(?:docker-)?compose\.ya?ml"), "a Compose file, of which nothing is read"),
)
_OTHER_DOCKERFILE = re.compile(r"(?:[^/]+/)?(?:Containerfile|[^/]*[Dd]ockerfile[^/]*)")


def marked_folders(tree: Tree) -> tuple[tuple[str, str], ...]:
    """(folder, manifest) of folders that look like projects of their own; folders inside of such are left out."""
    found: dict[str, str] = {}
    for path in tree.near:
        match = _MARK.fullmatch(path)
        above = match[1].split("/")[:-1] if match else []
        if match and not any("/".join(above[: depth + 1]) in found for depth in range(len(above))):
            known = found.get(match[1], match[2])
            found[match[1]] = min(known, match[2], key=MARKS.index)
    return tuple(found.items())


def project_folders(tree: Tree, *, beside: bool, within: str = ".") -> str:
    """A sentence that names folders that `source.path` could choose; "" where there are none.

    `beside` a project at the top, its own packages and folders of pages are left out. `within` is what
    `source.path` says now.
    """
    parts = {each for name, inner in _ONE_PROJECT.items() if name in tree.top for each in inner} | _PARTS
    folders = [(folder, name) for folder, name in marked_folders(tree) if not (beside and name in parts)]
    if not folders:
        return ""
    above = "" if within == "." else f"{shown(within)}/"
    named = ", ".join(f"{above}{folder} ({name})" for folder, name in folders[:MOST_SHOWN])
    rest = f" and {len(folders) - MOST_SHOWN} more" if len(folders) > MOST_SHOWN else ""
    return f"Folders that look like projects: {named}{rest}; to build one, set source.path: {above}{folders[0][0]}"


def unknown_kinds(tree: Tree) -> tuple[str, ...]:
    """Sentences about what would need a Dockerfile of the repository's own."""
    plain = [path for path in tree.near if "/" not in path]
    return tuple(
        f"{path} looks like {what}: Gitstead does not build that by itself; add a Dockerfile."
        for pattern, what in _UNKNOWN
        for path in [path for path in plain if pattern.fullmatch(path)][:1]
    )


def other_dockerfiles(tree: Tree, dockerfile: str) -> tuple[str, ...]:
    """A sentence about Dockerfiles that lie elsewhere or are named otherwise."""
    found = [path for path in tree.matching(_OTHER_DOCKERFILE) if path != dockerfile and not path.endswith("ignore")]
    if not found or dockerfile in tree.listing:
        return ()
    names = " or ".join(found[:3])
    return (f"There is {names}: to build with it, set build.type: dockerfile and build.dockerfile: {found[0]}",)
