"""The templates of Go and Rust: one program, built in a stage with the compiler, run on plain Debian.

Called by `dockerfiles`. Pure.
"""

from __future__ import annotations

import re

from reconciler.desired.dockerfiles.parts import COPY_ALL, Source, Text, Unbuildable, copy, copy_from, lines

# Folders that programs read while they run.
_READ_AT_RUN = ("templates", "static", "public", "assets", "views", "web", "migrations", "config", "locales", "data")
_GO_MODULE = re.compile(r"^module\s+\"?(\S+?)\"?\s*$", re.MULTILINE)


def go(source: Source) -> Text:
    """A static binary. Raises `Unbuildable` where there is no program."""
    package = source.detected.target or "."
    is_package = package == "." and any(re.fullmatch(r"[^/]+(?<!_test)\.go", each) for each in source.files.listing)
    if not is_package and not source.folders(package.removeprefix("./").partition("/")[0]):
        raise Unbuildable("has no program of package main", "add main.go, or set source.path")
    module = _GO_MODULE.search(source.text("go.mod"))
    name = _program(source, package.rpartition("/")[2].strip("."), _module_name(module[1]) if module else "")
    caches = (source.cache("go-modules", "/root/go/pkg/mod"), source.cache("go-build", "/root/.cache/go-build"))
    manifests = [each for each in ("go.mod", "go.sum") if source.has(each)]
    download = source.has("go.sum") and not source.folders("vendor")
    text = lines(
        source.head(source.base("debian"), builder=source.base("go")),
        "ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-buildvcs=false GOPATH=/root/go",
        "WORKDIR /src",
        copy(manifests) if manifests else [],
        source.run(["go", "mod", "download"], caches[0]) if download else [],
        COPY_ALL,
        source.run(["go", "build", "-trimpath", "-ldflags=-s -w", "-o", f"/out/{name}", package], *caches),
        "",
        _final(source, name),
    )
    return Text(text, language="go", base="go")


def _module_name(path: str) -> str:
    return re.sub(r"/v\d+\Z", "", path).rpartition("/")[2]


def rust(source: Source) -> Text:
    """A release build. Raises `Unbuildable` where there is no program."""
    name = source.detected.target
    if not name:
        raise Unbuildable("has no program in Cargo.toml or src/main.rs", "add one, or set source.path")
    locked = " --locked" if source.has("Cargo.lock") else ""
    build = f'cargo build --release{locked} --bin "$1" && install -D "/target/release/$1" "/out/$1"'
    text = lines(
        source.head(source.base("debian"), builder=source.base("rust")),
        source.packages(),
        "WORKDIR /src",
        COPY_ALL,
        "# What was compiled before stays in the caches; the program is taken out of them in the same step.",
        "ENV CARGO_HOME=/cargo CARGO_TARGET_DIR=/target",
        source.run(
            ["sh", "-c", build, "build", name], source.cache("cargo", "/cargo"), source.cache("cargo-target", "/target")
        ),
        "",
        _final(source, name),
    )
    return Text(text, language="rust", base="rust")


def _program(source: Source, *names: str) -> str:
    """The program's name: what a Procfile calls it, else the first of `names` that can be one."""
    asked = source.command[0].rpartition("/")[2] if source.command else ""
    for each in (asked, *names):
        if each and each != "go" and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", each):
            return each
    return "app"


def _final(source: Source, name: str) -> list[str]:
    """Plain Debian with the program, and the folders that it may read while it runs."""
    is_named = bool(source.command) and source.command[0].rpartition("/")[2] == name
    folders = source.folders(*_READ_AT_RUN)
    return [
        "FROM ${BASE}",
        *source.packages(),
        source.environment(),
        "WORKDIR /app",
        copy_from("build", f"/out/{name}", f"/usr/local/bin/{name}"),
        *(["# What the program may read while it runs."] if folders else []),
        *(copy([f"{each}/"], f"./{each}/") for each in folders),
        *source.foot([name, *(source.command[1:] if is_named else [])]),
    ]
