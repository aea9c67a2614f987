"""The template of Python apps: Flask, Django, FastAPI and plain programs, with pip, uv, Poetry, PDM or Pipenv.

Called by `dockerfiles`. Pure. The packages are installed into /venv in a stage of their own, before the source is
copied: they are installed again only when a manifest changes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

from reconciler.desired.detection.manifests import dig, dig_list, parse_toml
from reconciler.desired.dockerfiles.parts import COPY_ALL, Source, Text, copy, copy_from, lines

# Servers that are installed besides what the manifests name, by the program that starts the app.
_SERVERS = {
    "gunicorn": "gunicorn", "uvicorn": "uvicorn", "hypercorn": "hypercorn", "daphne": "daphne",
    "waitress-serve": "waitress", "flask": "flask", "fastapi": "fastapi[standard]",
}  # fmt: skip
_NOT_ITSELF = frozenset({*_SERVERS, "python", "python3", "uv", "poetry", "pdm", "pipenv"})
_FRAMEWORKS = {"flask": "flask", "django": "django", "fastapi": "fastapi"}
_MANIFESTS = (
    "pyproject.toml",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile",
    "Pipfile.lock",
    "setup.py",
    "setup.cfg",
)
_RUNNERS = frozenset({"uv", "poetry", "pdm", "pipenv"})
# PDM 2 allows a hishel that it does not work with.
_PDM_NEEDS = ("hishel<2",)
_PIP = ("pip", "install", "--disable-pip-version-check", "--root-user-action=ignore")


def python(source: Source) -> Text:
    """Build stage with /venv, final stage with the source. Raises `Unbuildable` where nothing would start it."""
    command = _without_runner(source.command)
    source.require_command("program that could be started (main.py, app.py or a framework's app object)")
    base = source.base("python")
    build = source.head(base, builder=source.base("python-build"))
    system = source.packages()
    text = lines(
        build,
        system,
        "ENV VIRTUAL_ENV=/venv PATH=/venv/bin:$PATH",
        'RUN ["python3", "-m", "venv", "/venv"]',
        "WORKDIR /app",
        _MANAGERS.get(_manager(source), _with_pip)(source),
        _server(source, command),
        "",
        source.arguments_from("FROM ${BASE}") if _collects(source) else "FROM ${BASE}",
        system,
        source.environment(
            PATH="/venv/bin:$PATH", PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1", HOME="/tmp",  # noqa: S108
            **({"PYTHONPATH": "/app/src"} if source.folders("src") else {}),
        ),
        "WORKDIR /app",
        copy_from("build", "/venv"),
        COPY_ALL,
        _collect(source),
        source.foot(command, check="python"),
    )  # fmt: skip
    return Text(text, language="python", base="python")


def _without_runner(command: list[str]) -> list[str]:
    """Without `uv run` and the like: the running image has the packages on its path, and no such tool."""
    if command[:1] and command[0] in _RUNNERS and command[1:2] == ["run"]:
        return list(itertools.dropwhile(lambda word: word.startswith("-"), command[2:]))
    return command


def _server(source: Source, command: list[str]) -> list[str]:
    """The server that starts the app is always there, also where no manifest names it."""
    package = _SERVERS.get(command[0] if command else "")
    return (
        [f"# {package} starts the app: it is there, whatever the manifests say.", _pip(source, package)]
        if package
        else []
    )


# ---- what is installed ---------------------------------------------------------------------


def _pip(source: Source, *arguments: str) -> str:
    return source.run([*_PIP, *arguments], source.cache("pip", "/root/.cache/pip"))


def _manager(source: Source) -> str:
    """What installs; a pyproject.toml that only Poetry can read is Poetry's, also without a lock."""
    project = parse_toml(source.text("pyproject.toml"))
    is_poetry_s = dig(project, "tool", "poetry") is not None and dig(project, "project") is None
    return "poetry" if is_poetry_s and not source.has("requirements.txt") else source.detected.manager


def _with_pip(source: Source) -> list[str]:
    if source.has("requirements.txt"):
        return ["# What requirements.txt names.", *_copy_requirements(source), _pip(source, "-r", "requirements.txt")]
    framework = _FRAMEWORKS.get(source.detected.type)
    if source.has("pyproject.toml"):
        return [*_with_pyproject(source)]
    if source.has("setup.py"):
        return ["# The package that setup.py describes, with what it needs.", COPY_ALL, _pip(source, ".")]
    if framework:
        return [f"# No manifest names any package: {framework} alone.", _pip(source, framework)]
    return []


def _copy_requirements(source: Source) -> list[str]:
    """requirements.txt and the files of the same folder or of requirements/ that it may name."""
    pattern = re.compile(r"(requirements|constraints)[A-Za-z0-9._-]*\.(txt|in)\Z")
    steps = [copy(sorted(each for each in source.files.listing if pattern.match(each)))]
    if any(each.startswith("requirements/") for each in source.files.listing):
        steps.append(copy(["requirements/"], "./requirements/"))
    return steps


def _with_pyproject(source: Source) -> list[str]:
    """The dependencies that pyproject.toml names, before the source; the package itself where it is one."""
    if _is_dynamic(source):
        return ["# pyproject.toml takes its dependencies from the source.", COPY_ALL, _pip(source, ".")]
    steps = [
        "# What pyproject.toml names; uv reads it without the source.",
        *_tool(source, "uv"),
        copy(["pyproject.toml"]),
        source.run(["/tool/bin/uv", "pip", "install", "-r", "pyproject.toml"], _uv_cache(source)),
    ]
    return [*steps, *([COPY_ALL, _pip(source, "--no-deps", ".")] if _is_package(source) else [])]


def _with_uv(source: Source) -> list[str]:
    sync = ["/tool/bin/uv", "sync", "--no-dev", "--inexact", "--no-editable"]
    sync += ["--frozen"] if source.has("uv.lock") else []
    steps = [
        "# What uv.lock pins.",
        *_tool(source, "uv"),
        # The base's own Python, whatever version a file of the source pins.
        "ENV UV_PROJECT_ENVIRONMENT=/venv UV_LINK_MODE=copy UV_PYTHON=/venv/bin/python UV_PYTHON_DOWNLOADS=never",
        copy(_present(source)),
        source.run([*sync, "--no-install-project"], _uv_cache(source)),
    ]
    if _is_package(source):
        steps += ["# The package itself.", COPY_ALL, source.run(sync, _uv_cache(source))]
    return steps


def _with_poetry(source: Source) -> list[str]:
    install, cache = ["/tool/bin/poetry", "install", "--only=main", "--no-interaction"], "/root/.cache/pypoetry"
    itself = [COPY_ALL, source.run(install, source.cache("poetry", cache))] if _needs_itself(source) else []
    return [
        "# What poetry.lock pins. Poetry fills the active /venv.",
        *_tool(source, "poetry"),
        copy(_present(source)),
        source.run([*install, "--no-root"], source.cache("poetry", cache)),
        *itself,
    ]


def _with_pdm(source: Source) -> list[str]:
    sync = ["/tool/bin/pdm", "sync" if source.has("pdm.lock") else "install", "--prod", "--no-editable"]
    cache = source.cache("pdm", "/root/.cache/pdm")
    return [
        "# What pdm.lock pins. PDM fills the active /venv.",
        *_tool(source, "pdm", *_PDM_NEEDS),
        "ENV PDM_CHECK_UPDATE=false PDM_IGNORE_SAVED_PYTHON=1",
        copy(_present(source)),
        source.run([*sync, "--no-self"], cache),
        *([COPY_ALL, source.run(sync, cache)] if _needs_itself(source) else []),
    ]


def _with_pipenv(source: Source) -> list[str]:
    return [
        "# What Pipfile.lock pins. Pipenv fills the active /venv.",
        *_tool(source, "pipenv"),
        copy(_present(source)),
        source.run(
            ["/tool/bin/pipenv", *(("sync",) if source.has("Pipfile.lock") else ("install", "--skip-lock"))],
            source.cache("pipenv", "/root/.cache/pipenv"),
            source.cache("pip", "/root/.cache/pip"),
        ),
    ]


_MANAGERS: dict[str, Callable[[Source], list[str]]] = {
    "pip": _with_pip, "uv": _with_uv, "poetry": _with_poetry, "pdm": _with_pdm, "pipenv": _with_pipenv
}  # fmt: skip


def _tool(source: Source, *names: str) -> list[str]:
    """The tool in an environment of its own, so that nothing of it is in the app's."""
    words = ["/tool/bin/pip", *_PIP[1:], *names]
    return ['RUN ["python3", "-m", "venv", "/tool"]', source.run(words, source.cache("pip", "/root/.cache/pip"))]


def _uv_cache(source: Source) -> str:
    return source.cache("uv", "/root/.cache/uv")


def _present(source: Source) -> list[str]:
    """Manifests and the README that a manifest may name."""
    return [each for each in (*_MANIFESTS, "README.md") if source.has(each)]


def _is_package(source: Source) -> bool:
    """Whether pyproject.toml describes something to be installed, and not only what an app needs."""
    return dig(parse_toml(source.text("pyproject.toml")), "build-system") is not None


def _needs_itself(source: Source) -> bool:
    """Whether a script of the package starts it, so that the package itself must be installed."""
    return _is_package(source) and bool(source.command) and source.command[0] not in _NOT_ITSELF


def _is_dynamic(source: Source) -> bool:
    """Whether only the package's own build knows what it needs."""
    project = parse_toml(source.text("pyproject.toml"))
    return dig(project, "project") is None or "dependencies" in dig_list(project, "project", "dynamic")


# ---- Django's static files -----------------------------------------------------------------


def _collects(source: Source) -> bool:
    """Whether Django's static files are collected: where WhiteNoise is there to serve them."""
    manifests = ("requirements.txt", "pyproject.toml", "Pipfile")
    named = any(re.search(r"whitenoise", source.text(each), re.IGNORECASE) for each in manifests)
    return source.detected.type == "django" and source.has("manage.py") and named


def _collect(source: Source) -> list[str]:
    if not _collects(source):
        return []
    words = ["env", "SECRET_KEY=only-for-collectstatic", "DJANGO_SECRET_KEY=only-for-collectstatic"]
    return [
        "# WhiteNoise serves what this collects. Settings that need more of the environment take it from build.args.",
        source.run([*words, "python", "manage.py", "collectstatic", "--noinput"]),
    ]
