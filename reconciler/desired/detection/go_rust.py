"""Recognises Go modules and Cargo packages, and which of their programs is meant.

Called by `detection`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.desired.detection import versions
from reconciler.desired.detection.manifests import dig, dig_list, dig_table, dig_text
from reconciler.desired.detection.tree import Tree
from reconciler.model.detection import Detected, Sureness
from reconciler.model.spec import BuildType

TYPES: tuple[BuildType, ...] = ("go", "rust")
_USUAL = ("server", "web", "api", "app", "main")
_GO_FRAMEWORKS = {
    "github.com/gin-gonic/gin": "Gin",
    "github.com/labstack/echo": "Echo",
    "github.com/gofiber/fiber": "Fiber",
    "github.com/go-chi/chi": "chi",
    "github.com/gorilla/mux": "gorilla/mux",
}
_RUST_FRAMEWORKS = {"axum": "Axum", "actix-web": "Actix Web", "rocket": "Rocket", "warp": "warp", "poem": "Poem"}

_GO_MODULE = re.compile(r"^module[ \t]+\"?([^\s\"]{1,200})", re.MULTILINE)
_GO_FILE = re.compile(r"[^/]+(?<!_test)\.go")
_GO_COMMAND = re.compile(r"(cmd/[^/]+)/[^/]+(?<!_test)\.go")
_PACKAGE_MAIN = re.compile(r"^package[ \t]+main\b", re.MULTILINE)
_RUST_BINARY = re.compile(r"(?:((?:[^/]+/){0,2}))src/bin/([A-Za-z0-9_-]+)(?:\.rs|/main\.rs)")
_CARGO = re.compile(r"((?:[^/]+/){0,2})Cargo\.toml")
_CRATE = re.compile(r"[A-Za-z0-9_-]{1,64}")


def find(tree: Tree, wanted: BuildType) -> list[Detected]:
    """The Go and the Rust candidate; one without a program in it is none, unless it is wanted."""
    found = (_go(tree, asked=wanted == "go"), _rust(tree, asked=wanted == "rust"))
    return [each for each in found if each is not None]


def _choose(names: Sequence[str], preferred: str) -> tuple[str, bool]:
    """(the program that is meant, whether that is more than a guess); `names` is not empty."""
    for name in (preferred, *_USUAL):
        if name in names:
            return name, name == preferred or len(names) == 1
    return names[0], len(names) == 1


def _several(names: Sequence[str], chosen: str) -> tuple[str, ...]:
    others = [name for name in names if name != chosen]
    if not others:
        return ()
    shown = ", ".join(others[:5]) + (" …" if len(others) > 5 else "")
    return (f"It holds other programs as well ({shown}): to run one of them, add a Dockerfile.",)


# ---- Go ------------------------------------------------------------------------------------


def _go(tree: Tree, *, asked: bool) -> Detected | None:
    has_module = "go.mod" in tree.top
    files = tree.matching(_GO_FILE)
    if not (has_module or "main.go" in files or (asked and files)):
        return None
    at_top = "main.go" in files or any(_PACKAGE_MAIN.search(tree.text(path)) for path in files)
    commands = list(dict.fromkeys(match[1] for path in tree.near if (match := _GO_COMMAND.fullmatch(path))))
    if not (at_top or commands or asked):
        return None
    module = _GO_MODULE.search(tree.text("go.mod"))
    name = module[1].rpartition("/")[2] if module else ""
    programs = {each.removeprefix("cmd/"): f"./{each}" for each in commands}
    if at_top or not commands:
        target, is_plain_choice = ".", at_top
        where = "main.go is there" if "main.go" in files else "a file at the top is of package main" if at_top else ""
        notes = _several(list(programs), "") if at_top else ("No program was found in it: add main.go.",)
    else:
        chosen, is_plain_choice = _choose(list(programs), name)
        target, where = programs[chosen], f"{programs[chosen].removeprefix('./')} is a program"
        notes = _several(list(programs), chosen)
    required = tree.text("go.mod")
    framework = next((title for path, title in _GO_FRAMEWORKS.items() if path in required), "")
    version = versions.go_version(tree)
    missing = () if has_module else ("go.mod is missing: run go mod init.",)
    sure: Sureness = "certain" if has_module and is_plain_choice else "likely" if has_module and where else "guess"
    return Detected(
        "go",
        sure,
        (*(("go.mod is there",) if has_module else ()), *((where,) if where else ())),
        framework=framework,
        version=version.text,
        version_from=version.origin,
        target=target,
        notes=(*missing, *notes, *version.notes),
    )


# ---- Rust ----------------------------------------------------------------------------------


def _rust(tree: Tree, *, asked: bool) -> Detected | None:
    if "Cargo.toml" not in tree.top:
        return None
    top = tree.parsed("Cargo.toml")
    programs = _binaries(tree)
    if not (programs or asked):
        return None
    preferred = dig_text(top, "package", "default-run") or dig_text(top, "package", "name")
    chosen, is_plain_choice = _choose(programs, preferred) if programs else ("", False)
    needs = {name for path in _cargo_files(tree) for name in dig_table(tree.parsed(path), "dependencies")}
    needs |= set(dig_table(top, "workspace", "dependencies"))
    version = versions.rust_version(tree)
    evidence = ["Cargo.toml is there", *([f"it makes the program {chosen}"] if chosen else [])]
    missing = () if programs else ("No program was found in it: add src/main.rs.",)
    lock = () if "Cargo.lock" in tree.top else ("Cargo.lock is missing: each build may take other versions.",)
    return Detected(
        "rust",
        "certain" if is_plain_choice else "likely" if programs else "guess",
        tuple(evidence),
        framework=next((title for name, title in _RUST_FRAMEWORKS.items() if name in needs), ""),
        manager="cargo",
        version=version.text,
        version_from=version.origin,
        target=chosen,
        notes=(*missing, *lock, *_several(programs, chosen), *version.notes),
    )


def _cargo_files(tree: Tree) -> tuple[str, ...]:
    return tuple(path for path in tree.matching(_CARGO) if tree.parsed(path))


def _binaries(tree: Tree) -> list[str]:
    """Names of all programs, those of the package at the top first; one of no parsed Cargo.toml is not counted."""
    found: dict[str, None] = {}
    for path in _cargo_files(tree):
        folder, cargo = path.removesuffix("Cargo.toml"), tree.parsed(path)
        name = dig_text(cargo, "package", "name")
        named = [(dig_text(each, "name"), dig(each, "path")) for each in dig_list(cargo, "bin")]
        if f"{folder}src/main.rs" in tree.listing and "src/main.rs" not in [path for _, path in named]:
            found[name] = None
        found |= dict.fromkeys(each for each, _ in named)
        inner = (_RUST_BINARY.fullmatch(each) for each in tree.near)
        found |= dict.fromkeys(match[2] for match in inner if match and match[1] == folder)
    return [name for name in found if _CRATE.fullmatch(name)]
