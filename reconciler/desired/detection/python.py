"""Recognises Python: Django, Flask, FastAPI and other ASGI frameworks, and plain programs.

Called by `detection`. Pure. Texts are searched, never run; a name that goes into a command is plain (see
`manifests.is_plain`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reconciler.desired.detection import versions
from reconciler.desired.detection.manifests import PYTHON_ENTRIES, dig, dig_list, dig_table, dig_text, is_plain
from reconciler.desired.detection.tree import Tree
from reconciler.model.detection import Detected, Sureness
from reconciler.model.spec import BuildType

# Caddy keeps idle connections for 120 s: a server that closes first would fail a request now and then.
GUNICORN = ("gunicorn", "--threads=8", "--keep-alive=130", "--worker-tmp-dir=/dev/shm", "--access-logfile=-")
UVICORN = (
    *("uvicorn", "--host=0.0.0.0", "--port=$PORT", "--timeout-keep-alive=130"),
    *("--proxy-headers", "--forwarded-allow-ips=*"),
)
STREAMLIT = ("streamlit", "run", "--server.address=0.0.0.0", "--server.port=$PORT", "--server.headless=true")

TYPES: tuple[BuildType, ...] = ("django", "flask", "fastapi", "python")
_MANIFESTS = ("requirements.txt", "pyproject.toml", "Pipfile", "setup.py", "setup.cfg")
_LOCKS = (("uv.lock", "uv"), ("poetry.lock", "poetry"), ("pdm.lock", "pdm"), ("Pipfile.lock", "pipenv"))
_ASGI = {"fastapi": "FastAPI", "litestar": "Litestar", "quart": "Quart", "starlette": "Starlette"}
_PROGRAMS = ("main.py", "app.py", "__main__.py", "server.py", "run.py", "bot.py")

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]{0,80})")
_QUOTED = re.compile(r"[\"'\n][ \t]{0,20}([A-Za-z0-9][A-Za-z0-9._-]{0,80})[ \t]{0,20}(?=[\[\"'<>=!~;\n])")
_SETTINGS = re.compile(r"DJANGO_SETTINGS_MODULE[\"']\s*,\s*[\"']([A-Za-z0-9_.]{1,100})[\"']")
_MODULE = re.compile(r"(?:[^/]+/){0,2}[^/]+\.py")
_GATEWAY = re.compile(r"(?:[^/]+/){1,3}(?:wsgi|asgi)\.py")
_MAIN_PACKAGE = re.compile(r"(?:src/)?([A-Za-z_][A-Za-z0-9_]*)/__main__\.py")
_SCRIPT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")
_MADE = r"^([A-Za-z_]\w*)[ \t]*(?::[^=\n]{1,60})?=[ \t]*"
_FACTORY = re.compile(r"^def (create_app|make_app|create_application|get_app|app_factory)\(", re.MULTILINE)
_FROM_FACTORY = re.compile(_MADE + r"(?:\w+\.)?(?:create_app|make_app|create_application|get_app|app_factory)\(", re.M)
_IMPORTED = re.compile(r"^from [\w.]+ import (?:\w+, )*(app|application)\b", re.MULTILINE)


@dataclass(frozen=True)
class _Python:
    """What all Python projects share."""

    tree: Tree
    needs: frozenset[str]
    manager: str
    version: versions.Version
    evidence: tuple[str, ...]
    notes: tuple[str, ...]

    def detected(
        self, kind: BuildType, sure: Sureness, evidence: Iterable[str], *, framework: str = "", command: _Command
    ) -> Detected:
        return Detected(
            kind,
            sure,
            (*evidence, *command.evidence, *self.evidence),
            framework=framework,
            manager=self.manager,
            version=self.version.text,
            version_from=self.version.origin,
            command=command.words,
            notes=(*command.notes, *self.notes),
        )

    def depends_on(self, *names: str) -> str:
        return next((name for name in names if name in self.needs), "")


@dataclass(frozen=True)
class _Command:
    words: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find(tree: Tree, wanted: BuildType) -> list[Detected]:
    """The Python candidates; plain python only where no framework is found or it is wanted."""
    manifests = [name for name in _MANIFESTS if name in tree.top]
    programs = [path for path in tree.near if path.endswith(".py")]
    asked = wanted in TYPES
    if not (manifests or tree.first("manage.py", *_PROGRAMS) or (asked and programs)):
        return []
    python = _common(tree, manifests)
    found = [each for find_one in (_django, _flask, _asgi) if (each := find_one(python, wanted)) is not None]
    return [*found, _plain(python)] if wanted == "python" or not found else found


def _common(tree: Tree, manifests: list[str]) -> _Python:
    locks = [(lock, manager) for lock, manager in _LOCKS if lock in tree.top]
    version = versions.python_version(tree)
    if locks:
        source, manager = locks[0]
    else:
        source = next((name for name in manifests if name != "setup.cfg"), "")
        manager = {"": "", "Pipfile": "pipenv"}.get(source, "poetry" if _is_poetry_s(tree, source) else "pip")
    notes = [f"{other} is not used beside {source}: remove one." for other, _ in locks[1:]]
    if manager in ("pipenv", "poetry") and not locks:
        lock = "Pipfile.lock" if manager == "pipenv" else "poetry.lock"
        notes.append(f"{lock} is missing: each build may install other versions.")
    if not source:
        notes.append("Nothing says what to install: add requirements.txt where the app needs packages.")
    return _Python(
        tree,
        _needs(tree),
        manager,
        version,
        (f"{manager} installs by {source}",) if source else (),
        (*notes, *version.notes),
    )


def _is_poetry_s(tree: Tree, source: str) -> bool:
    """Whether only Poetry can read what the manifest asks for."""
    pyproject = tree.parsed("pyproject.toml")
    return source == "pyproject.toml" and bool(dig(pyproject, "tool", "poetry")) and not dig(pyproject, "project")


def _needs(tree: Tree) -> frozenset[str]:
    """Names of the packages that the manifests ask for, in lower case with hyphens."""
    pyproject = tree.parsed("pyproject.toml")
    lines = [line for name in tree.listing & _REQUIREMENT_FILES for line in tree.text(name).splitlines()]
    lines += [str(each) for each in dig_list(pyproject, "project", "dependencies")]
    lines += list(dig_table(pyproject, "tool", "poetry", "dependencies"))
    lines += list(dig_table(tree.parsed("Pipfile"), "packages"))
    for name in ("setup.py", "setup.cfg"):
        lines += _QUOTED.findall(tree.text(name))
    found = (_REQUIREMENT.match(line) for line in lines)
    return frozenset(re.sub(r"[._-]+", "-", match[1]).lower() for match in found if match)


_REQUIREMENT_FILES = frozenset(
    {"requirements.txt", *(f"requirements/{name}.txt" for name in ("base", "common", "main", "prod", "production"))}
)


# ---- Django --------------------------------------------------------------------------------


def _django(python: _Python, wanted: BuildType) -> Detected | None:
    tree = python.tree
    manage = tree.first("manage.py", *tree.matching(re.compile(r"[^/]+/manage\.py")))
    needed = python.depends_on("django")
    if not manage and not (needed and tree.matching(_GATEWAY)) and wanted != "django":
        return None
    settings = _SETTINGS.search(tree.text(manage))
    evidence = [f"{manage} is there"] if manage else []
    evidence += [f'{manage} names the settings "{settings[1]}"'] if settings else []
    evidence += ['the manifests ask for "django"'] if needed else []
    folder = manage.removesuffix("manage.py")
    command = _django_command(python, folder, settings[1].split(".")[0] if settings else "")
    sure: Sureness = "certain" if command.words and (settings or needed) else "likely" if evidence else "guess"
    return python.detected("django", sure, evidence, framework="Django", command=command)


def _django_command(python: _Python, folder: str, package: str) -> _Command:
    """gunicorn for wsgi.py, uvicorn for asgi.py where Channels is used; the settings' package comes first."""
    kind = "asgi" if python.depends_on("channels", "daphne") else "wsgi"
    inner = [path.removeprefix(folder) for path in python.tree.matching(_GATEWAY) if path.startswith(folder)]
    ways = sorted(
        (path for path in inner if path.endswith(f"/{kind}.py")),
        key=lambda path: (path.split("/")[0] != package, path.count("/"), path),
    )
    if not ways:
        return _Command(notes=(f"No {kind}.py of a Django project was found: set run.command.",))
    module, notes = _dotted(ways[0]), _also(ways[1:], folder)
    evidence = (f"{folder}{ways[0]} is its {kind.upper()} module",)
    if kind == "asgi":
        return _Command((*UVICORN, *_inside("--app-dir", folder), f"{module}:application"), evidence, notes)
    return _Command((*GUNICORN, *_inside("--chdir", folder), module), evidence, notes)


def _inside(option: str, folder: str) -> tuple[str, ...]:
    return (f"{option}={folder.removesuffix('/')}",) if folder else ()


def _also(paths: Iterable[str], folder: str = "") -> tuple[str, ...]:
    return tuple(
        f"{folder}{path} could be what starts the app as well: set run.command to use it." for path in list(paths)[:3]
    )


# ---- Flask and ASGI ------------------------------------------------------------------------


def _flask(python: _Python, wanted: BuildType) -> Detected | None:
    found = _apps(python.tree, r"Flask")
    if not (wanted == "flask" or python.depends_on("flask") or found) or (
        wanted != "flask" and "django" in python.needs
    ):
        return None
    return _with_app(python, "flask", "Flask", found, lambda app: (*GUNICORN, app))


def _asgi(python: _Python, wanted: BuildType) -> Detected | None:
    found = _apps(python.tree, "|".join(_ASGI.values()))
    needed = python.depends_on(*_ASGI)
    if not (wanted == "fastapi" or needed or found):
        return None
    named = next((each.framework for each in found), "")
    framework = _ASGI.get(needed, named or "FastAPI")
    return _with_app(python, "fastapi", framework, found, _uvicorn)


def _uvicorn(app: str) -> tuple[str, ...]:
    factory = ("--factory",) if app.endswith("()") else ()
    return (*UVICORN, *factory, app.removesuffix("()"))


@dataclass(frozen=True)
class _App:
    """`name` is `module:variable` or `module:factory()`; `sure` whether the framework's class was seen there."""

    path: str
    name: str
    framework: str
    sure: bool


def _apps(tree: Tree, classes: str) -> list[_App]:
    """App objects that are made of one of these classes, the likeliest first."""
    made = re.compile(_MADE + rf"(?:\w+\.)?({classes})\(", re.MULTILINE)
    return [
        _App(path, f"{_dotted(path)}:{match[1]}", match[2], sure=True)
        for path in _modules(tree)
        if (match := made.search(tree.text(path)))
    ]


def _with_app(
    python: _Python,
    kind: BuildType,
    framework: str,
    found: list[_App],
    command_of: Callable[[str], tuple[str, ...]],
) -> Detected:
    evidence = [f'the manifests ask for "{framework.lower()}"'] if framework.lower() in python.needs else []
    gateways = _gateways(python.tree, "wsgi" if kind == "flask" else "asgi")
    apps = [*gateways, *found] if found or gateways else _factories(python.tree) or _bare(python.tree)
    if not apps:
        command = _Command(notes=(f"No {framework} app object was found: set run.command.",))
        return python.detected(kind, "likely" if evidence else "guess", evidence, framework=framework, command=command)
    app = apps[0]
    told = (f"{app.path} holds the app {app.name}",)
    others = {each.path for each in apps[1:]} - {app.path} if not gateways else set()
    command = _Command(command_of(app.name), told, _also(sorted(others)))
    sure: Sureness = "guess" if not (app.sure or evidence) else "certain" if app.sure and evidence else "likely"
    return python.detected(kind, sure, evidence, framework=framework, command=command)


def _modules(tree: Tree) -> list[str]:
    """Modules whose texts are read, by how likely each holds the app."""
    rank = {name: index for index, name in enumerate(PYTHON_ENTRIES)}

    def key(path: str) -> tuple[int, int, str]:
        return (path.count("/"), rank.get(path.rpartition("/")[2], len(rank)), path)

    return sorted((path for path in tree.matching(_MODULE) if tree.text(path)), key=key)


def _gateways(tree: Tree, name: str) -> list[_App]:
    """wsgi.py or asgi.py at the top that makes or imports an app: made for a server to find."""
    text = tree.text(f"{name}.py")
    match = _FROM_FACTORY.search(text) or _IMPORTED.search(text)
    return [_App(f"{name}.py", f"{name}:{match[1]}", "", sure=True)] if match else []


def _factories(tree: Tree) -> list[_App]:
    """Modules that call or define an application factory."""
    called = [(path, match[1]) for path in _modules(tree) if (match := _FROM_FACTORY.search(tree.text(path)))]
    defined = [(path, f"{match[1]}()") for path in _modules(tree) if (match := _FACTORY.search(tree.text(path)))]
    return [_App(path, f"{_dotted(path)}:{name}", "", sure=True) for path, name in called or defined]


def _bare(tree: Tree) -> list[_App]:
    """Where no text tells: the first module of a usual name, with the usual variable."""
    names = [f"{stem}{end}" for stem in ("wsgi", "app", "main", "application") for end in (".py", "/__init__.py")]
    path = tree.first(*names)
    return [_App(path, f"{_dotted(path)}:app", "", sure=False)] if path else []


def _dotted(path: str) -> str:
    """The module's name; the folder src is on Python's path."""
    return path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


# ---- plain programs ------------------------------------------------------------------------


def _plain(python: _Python) -> Detected:
    tree = python.tree
    for command in (_streamlit(python), _program(tree), _package(tree), _script(tree)):
        if command is not None:
            sure: Sureness = "likely" if python.manager or "__main__" in "".join(command.words) else "guess"
            framework = "Streamlit" if command.words[0] == "streamlit" else ""
            return python.detected("python", sure, (), framework=framework, command=command)
    nothing = _Command(notes=("Nothing says what starts it: set run.command, or add a Procfile or main.py.",))
    return python.detected("python", "guess", (), command=nothing)


def _streamlit(python: _Python) -> _Command | None:
    program = python.tree.first("streamlit_app.py", "app.py", "main.py")
    if not (program and python.depends_on("streamlit")):
        return None
    return _Command((*STREAMLIT, program), ('the manifests ask for "streamlit"', f"{program} is there"))


def _program(tree: Tree) -> _Command | None:
    program = tree.first(*_PROGRAMS)
    others = [name for name in _PROGRAMS if name in tree.top and name != program]
    return _Command(("python", program), (f"{program} is there",), _also(others)) if program else None


def _package(tree: Tree) -> _Command | None:
    """A folder that `python -m` can run."""
    packages = [(match[1], path) for path in tree.near if (match := _MAIN_PACKAGE.fullmatch(path))]
    if not packages:
        return None
    (name, path), *others = packages
    return _Command(("python", "-m", name), (f"{path} is there",), _also(each for _, each in others))


def _script(tree: Tree) -> _Command | None:
    """The command that an installed project brings, where it is one."""
    pyproject = tree.parsed("pyproject.toml")
    if not dig(pyproject, "build-system"):
        return None
    scripts = {
        **dig_table(pyproject, "tool", "poetry", "scripts"),
        **dig_table(pyproject, "project", "scripts"),
    }
    usable = sorted(name for name in scripts if _SCRIPT.fullmatch(name) and is_plain(name))
    if not usable:
        return None
    project = dig_text(pyproject, "project", "name") or dig_text(pyproject, "tool", "poetry", "name")
    name = project if project in usable else usable[0]
    notes = tuple(f"The script {other} could be meant as well: set run.command." for other in usable[:4])
    told = (f"pyproject.toml brings the command {name}",)
    return _Command((name,), told, tuple(note for note in notes if f"script {name} " not in note))
