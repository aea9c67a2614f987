"""Reads package.json and what lies beside it: manager, version, scripts, dependencies.

Called by `node`. Pure; a value of a wrong type counts as missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.desired.detection import versions
from reconciler.desired.detection.manifests import dig, dig_list, dig_table, dig_text, is_plain
from reconciler.desired.detection.procfile import parse_command
from reconciler.desired.detection.tree import Tree

_LOCKS = (
    ("pnpm-lock.yaml", "pnpm"),
    ("yarn.lock", "yarn"),
    ("package-lock.json", "npm"),
    ("npm-shrinkwrap.json", "npm"),
)
_BUN_LOCKS = ("bun.lock", "bun.lockb")
_MANAGER = re.compile(r"(npm|pnpm|yarn|bun)@[^\s]{1,100}")
# What serves while one develops, or serves files that a build made: nothing that a host should run.
_DEVELOPMENT = frozenset(
    {
        *("vite", "react-scripts", "live-server", "serve", "http-server", "lite-server", "browser-sync", "parcel"),
        *("webpack", "webpack-dev-server", "gulp", "grunt", "eleventy", "@11ty/eleventy", "gatsby", "docusaurus"),
        *("ng", "vue-cli-service", "astro", "vitepress", "craco", "rsbuild", "nodemon", "snowpack", "hexo"),
    }
)


@dataclass(frozen=True)
class Package:
    """One package.json. `needs` are its dependencies, `also` those and the ones for development."""

    needs: frozenset[str]
    also: frozenset[str]
    scripts: Mapping[str, str]
    main: str
    is_workspace: bool
    manager: str
    version: versions.Version
    evidence: tuple[str, ...]
    notes: tuple[str, ...]

    def builds(self) -> str:
        """The script that builds, "" where there is none."""
        return "build" if "build" in self.scripts else ""

    def start(self) -> tuple[tuple[str, ...], str]:
        """(argv, the script that says so) of what starts it, ((), "") where no script does.

        A plain command of `node` or of a dependency is run itself, so that signals reach it; everything else by npm,
        which every image with Node has.
        """
        for name in ("start:prod", "start:production", "start"):
            text = self.scripts.get(name, "")
            words, refusal = parse_command(text)
            if not text or _is_development(words):
                continue
            if refusal or f"pre{name}" in self.scripts:
                return ("npm", "run", name), name
            if words[0] == "node":
                return words, name
            if words[0] in self.also and "/" not in words[0] and is_plain(words[0]):
                return (f"node_modules/.bin/{words[0]}", *words[1:]), name
            return ("npm", "run", name), name
        return (), ""


def _is_development(words: tuple[str, ...]) -> bool:
    rest = words[1:] if words[:1] == ("npx",) else words
    return bool(rest) and (rest[0] in _DEVELOPMENT or rest[1:2] == ("dev",))


def read_package(tree: Tree) -> Package:
    """The package at the top of the tree; every fact of it is empty where there is none."""
    package = tree.parsed("package.json")
    needs = frozenset(dig_table(package, "dependencies"))
    scripts = {name: text for name, text in dig_table(package, "scripts").items() if isinstance(text, str) and text}
    main = dig_text(package, "main").removeprefix("./")
    manager, evidence, notes = _manager(tree, dig_text(package, "packageManager"))
    version = versions.node_version(tree)
    return Package(
        needs=needs,
        also=needs | frozenset(dig_table(package, "devDependencies")),
        scripts=scripts,
        main=main if is_plain(main) else "",
        is_workspace=bool(dig_list(package, "workspaces") or dig(package, "workspaces", "packages"))
        or "pnpm-workspace.yaml" in tree.top,
        manager=manager,
        version=version,
        evidence=evidence,
        notes=(*notes, *version.notes),
    )


def _manager(tree: Tree, asked: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(manager, evidence, notes): `packageManager` decides, then the lock file."""
    locks = [(lock, manager) for lock, manager in _LOCKS if lock in tree.top]
    notes = [f"{lock} is not used: Bun is not known here, npm installs." for lock in _BUN_LOCKS if lock in tree.top]
    match = _MANAGER.fullmatch(asked)
    named = match[1] if match else ""
    if named == "bun":
        notes, named = ["packageManager asks for Bun, which is not known here: npm installs."], "npm"
    if named:
        notes += [f"{lock} is not used: packageManager asks for {named}." for lock, each in locks if each != named]
        if not any(each == named for _, each in locks):
            notes.append(f"There is no lock file of {named}: each build may install other versions.")
        told = (f"package.json names {named} as packageManager",) if match and match[1] == named else ()
        return named, told, tuple(notes)
    if not locks:
        notes.append("There is no lock file: each build may install other versions.")
        return "npm", (), tuple(notes)
    lock, manager = locks[0]
    notes += [f"{other} is not used beside {lock}: remove one." for other, each in locks[1:] if each != manager]
    return manager, (f"{manager} installs by {lock}",), tuple(notes)
