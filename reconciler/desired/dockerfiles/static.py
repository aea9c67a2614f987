"""The template of static sites: the files as they are, or what a site generator makes of them.

Called by `dockerfiles`. Pure. Caddy serves them from Gitstead's own base, which holds no other program: such an image
can check nothing from within, so it has no HEALTHCHECK; Gitstead asks it over HTTP.
"""

from __future__ import annotations

from reconciler.desired.dockerfiles.node import build_stage
from reconciler.desired.dockerfiles.parts import USER, Source, Text, Unbuildable, copy, is_harmless, lines

_NO_CHECK = "# Caddy is the only program in this image: nothing in it could run a HEALTHCHECK. Gitstead asks over HTTP."


def static(source: Source) -> Text:
    """One stage for plain files, two with a site generator. Raises `Unbuildable` where "/" would answer 404."""
    folder = source.detected.output.strip("/")
    if source.detected.target:
        return _built(source, folder)
    if source.detected.framework:
        raise Unbuildable(f'has no script "build" for {source.detected.framework} in package.json', "add one")
    page = f"{folder}/index.html".lstrip("/")
    if source.spec.health.path == "/" and not source.has(page):
        found = sorted(each.rpartition("/")[0] for each in source.files.listing if each.endswith("/index.html"))[:3]
        remedy = f"set source.path to the folder that has one ({', '.join(found)})" if found else "add one"
        raise Unbuildable(f'has no {page}, so health.path "/" would answer 404', f"{remedy}, or set health.path")
    text = lines(
        "# Made by Gitstead for build.type static: files as they are, served by Caddy, but for hidden ones.",
        f"ARG BASE={source.base('static')}",
        "",
        "FROM ${BASE}",
        copy([f"{folder}/"], "/srv/") if folder else 'COPY [".", "/srv/"]',
        f"ENV PORT={source.spec.run.port}",
        USER,
        _NO_CHECK,
    )
    return Text(text)


def _built(source: Source, output: str) -> Text:
    if not is_harmless(output):
        raise Unbuildable(f"names the folder {output!r} for its result", "give it a plain name, such as dist")
    text = lines(
        build_stage(source, source.base("static"), prune=False),
        "",
        "FROM ${BASE}",
        f'COPY --from=build ["/app/{output}/", "/srv/"]',
        f"ENV PORT={source.spec.run.port}",
        USER,
        _NO_CHECK,
    )
    return Text(text, reads_env=True, language="node", base="node")
