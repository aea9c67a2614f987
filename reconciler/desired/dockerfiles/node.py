"""The template of Node apps: Next.js, Nuxt and whatever `npm start` starts, with npm, pnpm or Yarn.

Called by `dockerfiles`, and by `static` for its build stage. Pure. Manifests are copied and installed before the
source, so that the packages are installed again only when one of them changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.desired.detection.manifests import dig, dig_text, parse_json
from reconciler.desired.dockerfiles.parts import COPY_ALL, Source, Text, copy, copy_from, is_harmless, lines

_LOCKS = {"npm": ("package-lock.json", "npm-shrinkwrap.json"), "pnpm": ("pnpm-lock.yaml",), "yarn": ("yarn.lock",)}
_MANIFESTS = ("package.json", ".npmrc", "pnpm-workspace.yaml", ".pnpmfile.cjs", ".yarnrc.yml", ".yarnrc", "lerna.json")
# Folders that install scripts of packages read, and the few files that Yarn's own configuration names.
_BEFORE_INSTALL = ("patches/", "prisma/", ".yarn/releases/", ".yarn/plugins/", ".yarn/patches/")
_MOST_WORKSPACES = 100
_READS_SOURCE = re.compile(r"\.[cm]?[jt]s\b|\./|\.sh\b|\b(npm|yarn|pnpm) run\b")
_OWN_NEXT = 'RUN ["chown", "-R", "10001:10001", ".next"]'


@dataclass(frozen=True)
class Manager:
    """How one package manager installs: once for the build, without what only development needs for the rest."""

    get: tuple[str, ...]
    everything: tuple[str, ...]
    without_dev: tuple[str, ...]
    prune: tuple[str, ...]
    cache: tuple[str, str]
    environment: str = "NPM_CONFIG_UPDATE_NOTIFIER=false"


def node(source: Source) -> Text:
    """Build stage with what the build needs, final stage with what runs."""
    source.require_command("start script, server.js or index.js")
    is_bundled = _is_standalone(source) or source.detected.framework == "Nuxt"
    text = lines(
        build_stage(source, source.base("node"), prune=not is_bundled),
        "",
        "FROM ${BASE}",
        source.packages(),
        source.environment(
            NODE_ENV="production",
            HOME="/tmp",  # noqa: S108
            HOSTNAME="0.0.0.0",  # noqa: S104
            PATH="/app/node_modules/.bin:$PATH",
            # Astro's server listens to its own machine alone where nothing else is said.
            **({"HOST": "0.0.0.0"} if source.detected.framework == "Astro" else {}),  # noqa: S104
        ),
        "WORKDIR /app",
        _final_files(source),
        source.foot(_command(source)),
    )
    return Text(text, reads_env=bool(source.detected.target), language="node", base="node")


def build_stage(source: Source, base: str, *, prune: bool) -> list[str]:
    """Packages, the source, and the script that builds. `base` is the final stage's image."""
    package = _package(source)
    manager = _manager(source, package)
    script = source.detected.target
    copies_first = _install_reads_source(package)
    steps = source.head(base, builder=source.base("node"))
    steps += [*source.packages(), "WORKDIR /app"]
    steps += [source.run(["npm", "install", "--global", *manager.get], _npm_cache(source))] if manager.get else []
    steps += [f"ENV {manager.environment}"]
    if copies_first:
        steps += ["# An install script of the package reads the source: all of it comes first.", COPY_ALL]
    else:
        steps += _copy_manifests(source)
    cache = source.cache(*manager.cache)
    steps.append(source.run(manager.everything if script else manager.without_dev, cache))
    if script:
        steps += [] if copies_first else [COPY_ALL]
        steps.append(source.run(["npm", "run", script]))
        if prune and dig(package, "devDependencies"):
            steps.append(source.run(manager.prune, cache))
        if prune and source.detected.framework == "Next.js":
            steps += ["# Next.js writes its cache of pages and images there.", _OWN_NEXT]
    return steps


# ---- the package ---------------------------------------------------------------------------


def _package(source: Source) -> Mapping[str, object]:
    package = parse_json(source.text("package.json"))
    return package if isinstance(package, Mapping) else {}


def _install_reads_source(package: Mapping[str, object]) -> bool:
    scripts = (dig_text(package, "scripts", each) for each in ("preinstall", "install", "postinstall", "prepare"))
    return any(_READS_SOURCE.search(each) for each in scripts)


def _copy_manifests(source: Source) -> list[str]:
    """What says which packages there are, workspaces included; folders that install scripts of packages read."""
    listing = source.files.listing
    names = [*_MANIFESTS, *(lock for locks in _LOCKS.values() for lock in locks)]
    steps = [copy([each for each in names if each in listing])]
    inner = sorted(
        each for each in listing
        if each.endswith("/package.json") and "node_modules/" not in each and is_harmless(each)
    )  # fmt: skip
    if len(inner) <= _MOST_WORKSPACES and ("workspaces" in _package(source) or "pnpm-workspace.yaml" in listing):
        steps += [copy([each], f"./{each.rpartition('/')[0]}/") for each in inner]
    folders = [each for each in _BEFORE_INSTALL if any(name.startswith(each) for name in listing)]
    return [*steps, *(copy([each], f"./{each}") for each in folders)]


# ---- package managers ----------------------------------------------------------------------


def _npm_cache(source: Source) -> str:
    return source.cache("npm", "/root/.npm")


def _manager(source: Source, package: Mapping[str, object]) -> Manager:
    name = source.detected.manager
    locked = any(source.has(lock) for lock in _LOCKS.get(name, ()))
    if name == "pnpm":
        return _pnpm(source, package, locked=locked)
    if name == "yarn":
        return _yarn(source, package, locked=locked)
    return _npm(locked=source.has("package-lock.json") or source.has("npm-shrinkwrap.json"))


def _npm(*, locked: bool) -> Manager:
    install = ("npm", "ci") if locked else ("npm", "install")
    options = ("--no-audit", "--no-fund")
    return Manager(
        (), (*install, *options), (*install, "--omit=dev", *options),
        ("npm", "prune", "--omit=dev", *options), ("npm", "/root/.npm"),
    )  # fmt: skip


def _pinned(package: Mapping[str, object], name: str) -> str:
    """The version that `packageManager` pins for this manager, "" for none."""
    match = re.match(rf"{name}@(\d+(?:\.\d+){{0,2}})", str(package.get("packageManager", "")))
    return match[1] if match else ""


def _pnpm(source: Source, package: Mapping[str, object], *, locked: bool) -> Manager:
    match = re.search(r"^lockfileVersion: '?\"?(\d+)", source.text("pnpm-lock.yaml"), re.MULTILINE)
    version = _pinned(package, "pnpm") or {"5": "7", "6": "8"}.get(match[1] if match else "", "10")
    install = ("pnpm", "install", "--frozen-lockfile" if locked else "--no-frozen-lockfile")
    return Manager(
        (f"pnpm@{version}",), install, (*install, "--prod"), ("pnpm", "prune", "--prod"),
        ("pnpm", "/root/.local/share/pnpm/store"), "CI=true NPM_CONFIG_STORE_DIR=/root/.local/share/pnpm/store",
    )  # fmt: skip


def _yarn(source: Source, package: Mapping[str, object], *, locked: bool) -> Manager:
    version = _pinned(package, "yarn")
    is_berry = ".yarnrc.yml" in source.files.listing or "__metadata:" in source.text("yarn.lock")
    if is_berry or (version and not version.startswith("1")):
        install = ("yarn", "install", *(("--immutable",) if locked else ()))
        focus = ("yarn", "workspaces", "focus", "--all", "--production")
        # Packages in node_modules, where every tool finds them.
        return Manager(
            (f"@yarnpkg/cli-dist@{version or '4'}",), install, focus, focus,
            ("yarn", "/root/.yarn/berry/cache"), "YARN_NODE_LINKER=node-modules YARN_ENABLE_TELEMETRY=0",
        )  # fmt: skip
    install = ("yarn", "install", "--non-interactive", *(("--frozen-lockfile",) if locked else ()))
    without = (*install, "--production")
    return Manager(
        (f"yarn@{version or '1'}",), install, without, (*without, "--ignore-scripts", "--prefer-offline"),
        ("yarn", "/usr/local/share/.cache/yarn"),
    )  # fmt: skip


# ---- the final stage -----------------------------------------------------------------------


def _is_standalone(source: Source) -> bool:
    """Whether Next.js is configured to put everything that runs into one folder."""
    configs = [source.text(f"next.config.{end}") for end in ("js", "mjs", "ts", "cjs")]
    return any(re.search(r"output\s*:\s*[\"']standalone[\"']", each) for each in configs)


def _command(source: Source) -> list[str]:
    """What starts it. Only npm is in the running image: a script that a Procfile leaves to pnpm or Yarn is npm's."""
    if _is_standalone(source):
        return ["node", "server.js"]
    command = source.command
    if command[:1] not in (["pnpm"], ["yarn"]) or len(command) < 2:
        return command
    name, *more = command[2:] if command[1] == "run" else command[1:]
    return ["npm", "run", name, *(["--", *more] if more else [])]


def _final_files(source: Source) -> list[str]:
    if source.detected.framework == "Nuxt":
        return [copy_from("build", "/app/.output", "./.output")]
    if _is_standalone(source):
        public = [copy_from("build", "/app/public", "./public")] if source.folders("public") else []
        static = copy_from("build", "/app/.next/static", "./.next/static")
        return [copy_from("build", "/app/.next/standalone", "./"), static, *public]
    if source.detected.target:
        return [copy_from("build", "/app", "./")]
    package = _package(source)
    if not any(package.get(each) for each in ("dependencies", "optionalDependencies", "workspaces")):
        return [COPY_ALL]
    return [copy_from("build", "/app/node_modules", "./node_modules"), COPY_ALL]
