"""Recognises what package.json describes: a server that Node runs, or a site whose build ends in files.

Called by `detection`. Pure. Configurations in JavaScript are searched for single settings, never run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from reconciler.desired.detection.manifests import dig_table, dig_text, is_plain
from reconciler.desired.detection.package_json import Package, read_package
from reconciler.desired.detection.tree import Tree
from reconciler.model.detection import Detected, Sureness
from reconciler.model.spec import BuildType

TYPES: tuple[BuildType, ...] = ("node", "static")
_SERVERS = {
    "express": "Express",
    "fastify": "Fastify",
    "koa": "Koa",
    "@hapi/hapi": "hapi",
    "hono": "Hono",
    "@hono/node-server": "Hono",
    "polka": "Polka",
    "restify": "Restify",
    "@feathersjs/feathers": "Feathers",
    "@adonisjs/core": "AdonisJS",
    "@strapi/strapi": "Strapi",
    "@remix-run/node": "Remix",
    "@react-router/node": "React Router",
    "socket.io": "Socket.IO",
}
# Dependency to (framework, folder of the result).
_SITES = {
    "react-scripts": ("Create React App", "build"),
    "@docusaurus/core": ("Docusaurus", "build"),
    "gatsby": ("Gatsby", "public"),
    "@11ty/eleventy": ("Eleventy", "_site"),
    "vitepress": ("VitePress", ".vitepress/dist"),
    "@vue/cli-service": ("Vue CLI", "dist"),
    "hexo": ("Hexo", "public"),
    "vite": ("Vite", "dist"),
    "parcel": ("Parcel", "dist"),
    "@rsbuild/core": ("Rsbuild", "dist"),
}
_ENTRIES = ("server.js", "index.js", "app.js", "main.js", "server.mjs", "index.mjs", "server.cjs", "index.cjs")
_SCRIPT = re.compile(r"[^/]+\.[cm]?js")
_EXPORTED = re.compile(r"output\s*:\s*[\"']export[\"']")
_ON_DEMAND = re.compile(r"output\s*:\s*[\"'](?:server|hybrid)[\"']")
_SINGLE_PAGE = re.compile(r"\bssr\s*:\s*false\b")
_ROOT = re.compile(r"\broot\s*:")
_FOLDER_OF = {
    "Vite": re.compile(r"\boutDir\s*:\s*[\"']([^\"'\n]{1,100})[\"']"),
    "Eleventy": re.compile(r"\boutput\s*:\s*[\"']([^\"'\n]{1,100})[\"']"),
    "VitePress": re.compile(r"\bvitepress build ([A-Za-z0-9_./-]{1,100})"),
}

_NO_BUILD = 'package.json has no script "build": add one.'


def find(tree: Tree, wanted: BuildType) -> list[Detected]:
    """The candidates of types node and static that package.json gives, or a bare script where node is wanted."""
    if "package.json" not in tree.top:
        return _bare(tree) if wanted == "node" else []
    package = read_package(tree)
    for dependency, find_one in _EITHER.items():
        if dependency in package.also:
            found = find_one(tree, package)
            return [found, *_server(tree, package)] if wanted == "node" and found.type != "node" else [found]
    site = _site(tree, package)
    servers = _server(tree, package, has_site=site is not None)
    if site is None:
        return servers
    # With a server's library among the dependencies, the site may be what that server sends.
    rivals = any(each.sure == "likely" for each in servers)
    return [*servers, replace(site, sure="likely") if rivals else site]


def _bare(tree: Tree) -> list[Detected]:
    script = tree.first(*_ENTRIES, *tree.matching(_SCRIPT))
    return [Detected("node", "guess", (f"{script} is there",), command=("node", script))] if script else []


def _node(
    package: Package,
    sure: Sureness,
    evidence: tuple[str, ...],
    *,
    framework: str = "",
    command: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Detected:
    return Detected(
        "node",
        sure,
        (*evidence, *package.evidence),
        framework=framework,
        manager=package.manager,
        version=package.version.text,
        version_from=package.version.origin,
        command=command,
        target=package.builds(),
        notes=(*notes, *package.notes),
    )


def _files(package: Package, evidence: str, framework: str, output: str, *, script: str = "build") -> Detected:
    """A site that is built: `script` of package.json leads to the folder `output`."""
    has_script = script in package.scripts
    return Detected(
        "static",
        "certain" if has_script else "likely",
        (evidence, *((f'its script "{script}" builds it into {output}',) if has_script else ()), *package.evidence),
        framework=framework,
        manager=package.manager,
        version=package.version.text,
        version_from=package.version.origin,
        output=output,
        target=script if has_script else "",
        notes=(*(() if has_script else (_NO_BUILD,)), *package.notes),
    )


def _needs(dependency: str) -> str:
    return f'package.json depends on "{dependency}"'


def _own_server(
    package: Package, dependency: str, framework: str, command: tuple[str, ...], *, notes: tuple[str, ...] = ()
) -> Detected:
    """A framework that builds a server of its own; the start script counts before its usual command."""
    started, script = package.start()
    told = (f'its script "{script}" starts it',) if script else ()
    missing = () if package.builds() else (_NO_BUILD,)
    sure: Sureness = "likely" if missing or notes else "certain"
    return _node(
        package,
        sure,
        (_needs(dependency), *told),
        framework=framework,
        command=started or command,
        notes=(*missing, *notes),
    )


# ---- frameworks that end in a server or in files, as they are told ---------------------------


def _next(tree: Tree, package: Package) -> Detected:
    config = tree.text("next.config.ts", "next.config.mjs", "next.config.js")
    if _EXPORTED.search(config):
        return _files(package, f'{_needs("next")} and its configuration says output: "export"', "Next.js", "out")
    return _own_server(package, "next", "Next.js", ("node_modules/.bin/next", "start"))


def _nuxt(tree: Tree, package: Package) -> Detected:
    if "generate" in package.scripts.get("build", ""):
        return _files(package, _needs("nuxt"), "Nuxt", ".output/public")
    return _own_server(package, "nuxt", "Nuxt", ("node", ".output/server/index.mjs"))


def _svelte_kit(tree: Tree, package: Package) -> Detected:
    if "@sveltejs/adapter-static" in package.also:
        return _files(package, _needs("@sveltejs/adapter-static"), "SvelteKit", "build")
    if "@sveltejs/adapter-node" in package.also:
        return _own_server(package, "@sveltejs/adapter-node", "SvelteKit", ("node", "build"))
    note = "SvelteKit needs @sveltejs/adapter-node, or @sveltejs/adapter-static, to run here: add it."
    return _own_server(package, "@sveltejs/kit", "SvelteKit", ("node", "build"), notes=(note,))


def _astro(tree: Tree, package: Package) -> Detected:
    config = tree.text("astro.config.ts", "astro.config.mjs", "astro.config.js")
    if not _ON_DEMAND.search(config):
        return _files(package, _needs("astro"), "Astro", "dist")
    missing = "Astro needs @astrojs/node to render pages on demand here: add it."
    notes = () if "@astrojs/node" in package.also else (missing,)
    return _own_server(package, "astro", "Astro", ("node", "dist/server/entry.mjs"), notes=notes)


def _angular(tree: Tree, package: Package) -> Detected:
    projects = dig_table(tree.parsed("angular.json"), "projects")
    name = next((name for name in projects if is_plain(name)), "app")
    options = dig_table(projects, name, "architect", "build", "options")
    folder = dig_text(options, "outputPath") or dig_text(options, "outputPath", "base") or f"dist/{name}"
    folder = folder if is_plain(folder) else f"dist/{name}"
    if "@angular/ssr" in package.also:
        return _own_server(package, "@angular/ssr", "Angular", ("node", f"{folder}/server/server.mjs"))
    builder = dig_text(projects, name, "architect", "build", "builder")
    browser = "/browser" if builder.endswith(":application") else ""
    return _files(package, _needs("@angular/core"), "Angular", f"{folder}{browser}")


def _react_router(tree: Tree, package: Package) -> Detected:
    if _SINGLE_PAGE.search(tree.text("react-router.config.ts")):
        return _files(package, _needs("@react-router/dev"), "React Router", "build/client")
    server = ("node_modules/.bin/react-router-serve", "build/server/index.js")
    return _own_server(package, "@react-router/dev", "React Router", server)


def _nest(tree: Tree, package: Package) -> Detected:
    return _own_server(package, "@nestjs/core", "NestJS", ("node", "dist/main.js"))


_EITHER: dict[str, Callable[[Tree, Package], Detected]] = {
    "next": _next,
    "nuxt": _nuxt,
    "@sveltejs/kit": _svelte_kit,
    "astro": _astro,
    "@angular/core": _angular,
    "@react-router/dev": _react_router,
    "@nestjs/core": _nest,
}


# ---- sites and servers -----------------------------------------------------------------------


def _site(tree: Tree, package: Package) -> Detected | None:
    for dependency, (framework, folder) in _SITES.items():
        if dependency in package.also and not (framework == "Vite" and _is_no_page(tree)):
            return _files(package, _needs(dependency), framework, _folder(tree, package, framework) or folder)
    return None


def _is_no_page(tree: Tree) -> bool:
    """Vite also makes libraries and the assets of other frameworks: a site begins with a page."""
    return "index.html" not in tree.top and not _ROOT.search(_vite(tree))


def _vite(tree: Tree) -> str:
    return tree.text("vite.config.ts", "vite.config.js", "vite.config.mjs")


def _folder(tree: Tree, package: Package, framework: str) -> str:
    """The folder that the site's configuration names, "" for the usual one."""
    texts = {
        "Vite": _vite(tree),
        "Eleventy": tree.text("eleventy.config.js", "eleventy.config.mjs", ".eleventy.js"),
        "VitePress": " ".join(package.scripts.values()),
    }
    match = _FOLDER_OF[framework].search(texts[framework]) if framework in texts else None
    folder = match[1].removeprefix("./").strip("/") if match else ""
    if framework == "VitePress" and folder:
        folder += "/.vitepress/dist"
    return folder if _is_folder(folder) else ""


def _is_folder(folder: str) -> bool:
    return is_plain(folder.replace("/.", "/"))


def _server(tree: Tree, package: Package, *, has_site: bool = False) -> list[Detected]:
    """What a start script or `main` starts; a site beside it needs a server's library to be doubted."""
    library = next((name for name in _SERVERS if name in package.needs), "")
    command, script = package.start()
    if command:
        told = f'package.json has a script "{script}"'
    else:
        main = tree.first(*([package.main] if package.main else []), *_ENTRIES) if library or not has_site else ""
        command, told = (("node", main), f"{main} is there") if main else ((), "")
    if not (command or (library and not has_site)):
        return []
    evidence = (*((_needs(library),) if library else ()), *((told,) if told else ()))
    notes = () if command else ('package.json has no script "start" and no "main": set run.command.',)
    sure: Sureness = "certain" if library and command else "likely" if library or script else "guess"
    if has_site:
        sure = "likely" if library else "guess"
    return [_node(package, sure, evidence, framework=_SERVERS.get(library, ""), command=command, notes=notes)]
