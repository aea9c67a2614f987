"""Chooses or writes the Dockerfile of a project, from its spec and the list of its files.

Called by the loop for each new tree; pure. Generated texts use exec form only: no shell reads a word of a
spec or of a file name. Every image runs as a numeric user without capabilities, on the port in PORT.

The `static` base holds Caddy and its configuration: copying the 50 MB binary into every context costs half a
second a build, and the BuildKit of engine 20.10 has no named contexts (`unsupported frontend capability
moby.buildkit.frontend.contexts`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from reconciler.desired.base_images import bases_of
from reconciler.model.condition import Reason
from reconciler.model.desired import Dockerfile, SourceProblem
from reconciler.model.spec import ProjectSpec

GENERATED_PATH = ".gitstead/Dockerfile"
STATIC_BASE_DOCKERFILE = """\
# The base of type static: made once in a context that holds Caddy's binary as `caddy` and the `Caddyfile`.
FROM scratch
COPY caddy /caddy
COPY Caddyfile /Caddyfile
ENV PORT=8000 XDG_CONFIG_HOME=/nonexistent XDG_DATA_HOME=/nonexistent
USER 10001:10001
CMD ["/caddy", "run", "--config", "/Caddyfile", "--adapter", "caddyfile"]
"""
STATIC_BASE_CADDYFILE = """\
{
	admin off
	auto_https off
	persist_config off
	log {
		level ERROR
		exclude tls
	}
}

:{$PORT:8000} {
	root * /srv
	encode zstd gzip
	@hidden {
		path_regexp /\\.
		not path /.well-known/*
	}
	error @hidden 404
	file_server
	handle_errors {
		@page file /{err.status_code}.html
		handle @page {
			rewrite * {file_match.relative}
			file_server {
				status {err.status_code}
			}
		}
		respond "{err.status_code} {err.status_text}"
	}
}
"""

_STATIC = """\
# Made by Gitstead for build.type static: the files of source.path, served by Caddy. Hidden files are not served.
ARG BASE={base}
FROM ${{BASE}}
COPY . /srv/
"""
_PYTHON_HEAD = """\
# Made by Gitstead for build.type {type}.
ARG BASE={base}
FROM ${{BASE}}
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp PORT=8000
RUN ["python3", "-m", "venv", "/venv"]
WORKDIR /app
"""
_PYTHON_FOOT = """\
USER 10001:10001
"""
_CACHE_ID = re.compile(r"[a-z0-9-]{1,80}\Z")
_FLASK_MODULES = ("wsgi", "app", "main", "application")
_PYTHON_PROGRAMS = ("main.py", "app.py", "__main__.py")
# Caddy keeps idle connections for 120 s: a server that closes first would fail a request now and then.
_GUNICORN = ("gunicorn", "--threads=8", "--keep-alive=130", "--worker-tmp-dir=/dev/shm", "--access-logfile=-")

BaseName = Callable[[str], str]


def dockerfile_for(
    spec: ProjectSpec,
    listing: frozenset[str],
    repo_dockerfile: str | None,
    *,
    base_name: BaseName,
    cache_id: str,
) -> Dockerfile | SourceProblem:
    """The Dockerfile of this source, or why it has none.

    `listing` are the paths of all files below `source.path`, `repo_dockerfile` the text of
    `build.dockerfile` where it is a file. `base_name` gives the image for "static" and "python".
    `cache_id` (instance and project: lower-case letters, digits, hyphens) keeps caches apart.
    """
    if not _CACHE_ID.match(cache_id):
        raise ValueError(f"cache id {cache_id!r} is not lower-case letters, digits and hyphens")
    if not listing:
        return _problem(spec, "has no files", "push some, or correct source.path")
    if spec.build.type == "dockerfile":
        return _own(spec, listing, repo_dockerfile)
    if spec.build.type == "static":
        return _static(spec, listing, base_name("static"))
    return _python(spec, listing, base_name("python"), cache_id)


def _own(spec: ProjectSpec, listing: frozenset[str], text: str | None) -> Dockerfile | SourceProblem:
    path = spec.build.dockerfile
    if text is not None:
        return Dockerfile(path, None, bases_of(text))
    if path in listing:
        return _problem(spec, f"has {path}, but it is a link or no text", "make it an ordinary file")
    others = sorted(each for each in listing if "dockerfile" in each.rpartition("/")[2].lower())[:5]
    remedy = f"set build.dockerfile to {' or '.join(others)}" if others else "add one, or choose another build.type"
    return _problem(spec, f"has no {path}", remedy)


def _static(spec: ProjectSpec, listing: frozenset[str], base: str) -> Dockerfile | SourceProblem:
    if spec.health.path == "/" and "index.html" not in listing:
        folders = sorted(each.rpartition("/")[0] for each in listing if each.endswith("/index.html"))[:3]
        remedy = f"set source.path to the folder that has one ({', '.join(folders)})" if folders else "add one"
        return _problem(spec, 'has no index.html, so health.path "/" would answer 404', f"{remedy}, or set health.path")
    return _generated(_STATIC.format(base=base))


def _python(spec: ProjectSpec, listing: frozenset[str], base: str, cache_id: str) -> Dockerfile | SourceProblem:
    command = _flask_command(listing) if spec.build.type == "flask" else _python_command(listing)
    if not command and not spec.run.command:
        wanted = [f"{each}.py" for each in _FLASK_MODULES] if spec.build.type == "flask" else list(_PYTHON_PROGRAMS)
        return _problem(spec, f"has none of {', '.join(wanted)}", "add one, or set run.command")
    steps = [_PYTHON_HEAD.format(type=spec.build.type, base=base), *_install(spec, listing, cache_id), _PYTHON_FOOT]
    if command:
        steps.append(f"CMD {json.dumps(command)}\n")
    return _generated("".join(steps))


def _install(spec: ProjectSpec, listing: frozenset[str], cache_id: str) -> list[str]:
    """Steps that install what is needed and copy the source: what changes least comes first."""

    def pip(*arguments: str) -> str:
        mount = f"--mount=type=cache,id=gitstead-pip-{cache_id},target=/tmp/pip,sharing=locked"
        words = ["pip", "install", "--disable-pip-version-check", "--root-user-action=ignore", "--cache-dir=/tmp/pip"]
        return f"RUN {mount} {json.dumps([*words, *arguments])}\n"

    copy_all = "COPY . .\n"
    is_flask = spec.build.type == "flask"
    if "requirements.txt" in listing:
        steps = [*_copy_requirements(listing), pip("-r", "requirements.txt")]
        return [*steps, *([pip("gunicorn")] if is_flask else []), copy_all]
    server = [pip("flask", "gunicorn")] if is_flask else []
    project = [pip(".")] if "pyproject.toml" in listing or "setup.py" in listing else []
    return [*server, copy_all, *project]


def _copy_requirements(listing: frozenset[str]) -> list[str]:
    """requirements.txt and the files of the same folder or of requirements/ that it may name."""
    names = [each for each in listing if re.match(r"(requirements|constraints)[A-Za-z0-9._-]*\.(txt|in)\Z", each)]
    steps = [f"COPY {json.dumps([*sorted(names), './'])}\n"]
    if any(each.startswith("requirements/") for each in listing):
        steps.append('COPY ["requirements/", "./requirements/"]\n')
    return steps


def _flask_command(listing: frozenset[str]) -> list[str]:
    for module in _FLASK_MODULES:
        if f"{module}.py" in listing or f"{module}/__init__.py" in listing:
            return [*_GUNICORN, f"{module}:app"]
    return []


def _python_command(listing: frozenset[str]) -> list[str]:
    return next((["python", program] for program in _PYTHON_PROGRAMS if program in listing), [])


def _generated(text: str) -> Dockerfile:
    return Dockerfile(GENERATED_PATH, text, bases_of(text))


def _problem(spec: ProjectSpec, what: str, remedy: str) -> SourceProblem:
    where = f"{spec.source.repo}, branch {spec.source.branch}"
    folder = f", folder {spec.source.path}" if spec.source.path != "." else ""
    return SourceProblem(
        Reason.SOURCE_UNUSABLE, f"The source ({where}{folder}) {what} (build.type {spec.build.type}): {remedy}."
    )


def pairs(names: Mapping[str, str]) -> BaseName:
    """A `base_name` that looks its answer up."""
    return names.__getitem__
