"""The shape of the code: who may import whom, how long things may be, and that each module says what it is for."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(ROOT / "reconciler").rglob("*.py"), *(ROOT / "web").rglob("*.py")])
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES}
STANDARD = sys.stdlib_module_names

LONGEST_MODULE = 400
LONGEST_FUNCTION = 50
MOST_BROAD_EXCEPTS = 3

EVERYWHERE = {"errors", "masking", "resources"}
LOOP = {"model", "desired", "plan", "apply", "adapters", "history", "observe", "settings", "heartbeat"}

# Who may import whom: part of the program to the parts and libraries that it may name.
RULES: dict[str, tuple[set[str], set[str]]] = {
    "model": ({"model"}, set()),
    "desired": ({"desired", "model", "errors", "resources"}, {"yaml", "jsonschema"}),
    "plan": ({"plan", "model"}, set()),
    "adapters": (
        {"adapters", "model", "settings", *EVERYWHERE},
        {"pygit2", "docker", "requests", "urllib3", "caddy_api_client", "pyrage", "structlog"},
    ),
    "observe": ({"model", "adapters", *EVERYWHERE}, {"structlog"}),
    "apply": ({"apply", "model", "adapters", *EVERYWHERE}, {"structlog"}),
    "history": ({"history", "model", *EVERYWHERE}, {"sqlite_utils", "structlog"}),
    "heartbeat": ({"model"}, set()),
    "loop": ({"loop", *LOOP, *EVERYWHERE}, {"structlog", "watchdog"}),
    "host": ({"host", "adapters", "settings", "model", "desired", *EVERYWHERE}, {"click", "structlog"}),
    "settings": ({"desired", "errors"}, set()),
    "log_output": ({"settings", "masking"}, {"structlog"}),
    "resources": (set(), set()),
    "errors": (set(), set()),
    "masking": ({"errors"}, set()),
    "bootstrap": ({"bootstrap", "loop", "host", *LOOP, *EVERYWHERE}, {"structlog"}),
    "service": ({"bootstrap", "adapters", "loop", "settings", "log_output", *EVERYWHERE}, {"structlog"}),
    "demo": (
        {"demo", "bootstrap", "service", "settings", "host", "history", "model", "adapters", *EVERYWHERE},
        {"click", "structlog"},
    ),
    "cli": (
        {
            "cli",
            "bootstrap",
            "service",
            "settings",
            "desired",
            "model",
            "plan",
            "history",
            "host",
            "demo",
            "heartbeat",
            *EVERYWHERE,
        },
        {"click", "rich"},
    ),
    "__main__": ({"cli"}, set()),
    "web": (
        {
            "web",
            "settings",
            "model",
            "heartbeat",
            "log_output",
            *EVERYWHERE,
            "history.queries",
            "history.logs",
            "history.requests",
            "history.sessions",
            "history.rows",
            "history.log_lines",
            "history.failing",
        },
        {"flask", "werkzeug", "markupsafe", "jinja2", "structlog", "gunicorn"},
    ),
}

ONLY_IMPORTERS = {
    "pygit2": "reconciler.adapters.git_",
    "docker": "reconciler.adapters.",
    "caddy_api_client": "reconciler.adapters.caddy_",
    "pyrage": "reconciler.adapters.secret_box",
    "sqlite_utils": "reconciler.history.",
    "sqlite3": "reconciler.history.",
    "flask": "web.",
    "subprocess": "reconciler.adapters.processes",
    "watchdog": "reconciler.loop.watch",
}
ENVIRONMENT_READERS = {
    "reconciler.cli",
    "reconciler.host.engine_setup",
    "reconciler.adapters.processes",
    "web.wsgi",
    "web.gunicorn_conf",
}


def part_of(module: str) -> str:
    names = module.split(".")
    return "web" if names[0] == "web" else (names[1] if len(names) > 1 else "")


def imports_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (
                f"{node.module}.{alias.name}" for alias in node.names if f"{node.module}.{alias.name}" in MODULES
            )


def parsed(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def is_allowed(imported: str, rule: tuple[set[str], set[str]]) -> bool:
    parts, libraries = rule
    root = imported.split(".")[0]
    if root in STANDARD or root in libraries or root == "_typeshed":
        return True
    if root not in ("reconciler", "web"):
        return False
    if imported == "reconciler":
        return True
    below = imported.removeprefix("reconciler.")
    return part_of(imported) in parts or below in parts or any(below.startswith(f"{each}.") for each in parts)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_its_part_may(module: str) -> None:
    """The import rules of the design; an import that is not listed is a decision to be taken there."""
    part = part_of(module)
    if not part:
        return
    assert part in RULES, f"{module}: say in RULES what reconciler/{part} may import"
    wrong = sorted({each for each in imports_of(parsed(module)) if not is_allowed(each, RULES[part])})
    assert not wrong, f"{module} imports {', '.join(wrong)}"


def test_each_outside_library_has_one_importer() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module in MODULES
        for imported in imports_of(parsed(module))
        for library, owner in ONLY_IMPORTERS.items()
        if imported.split(".")[0] == library and not module.startswith(owner)
    ]
    assert not wrong, wrong


def test_there_are_no_import_cycles() -> None:
    graph = {
        module: {each for each in imports_of(parsed(module)) if each in MODULES and each != module}
        for module in MODULES
    }
    packages = {module for module, path in MODULES.items() if path.name == "__init__.py"}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " → ".join((*above[above.index(module) :], module))
        if module in done:
            return
        for each in sorted(graph[module]):
            if not (each in packages and module.startswith(f"{each}.")):
                visit(each, (*above, module))
        done.add(module)

    for module in sorted(graph):
        visit(module, ())


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_says_what_it_is_for_and_stays_short(module: str) -> None:
    text = MODULES[module].read_text()
    lines = text.count("\n")
    assert ast.get_docstring(ast.parse(text)), f"{module} has no docstring"
    assert lines <= LONGEST_MODULE, f"{module} has {lines} lines: which two nouns live there?"


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, text: list[str]) -> int:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    first = body[0].lineno if body else node.lineno
    lines = text[first - 1 : node.end_lineno]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_function_is_longer_than_fifty_lines_of_code(module: str) -> None:
    text = MODULES[module].read_text().split("\n")
    long = [
        f"{module}.{node.name}: {code_lines(node, text)}"
        for node in functions(parsed(module))
        if code_lines(node, text) > LONGEST_FUNCTION
    ]
    assert not long, long


def test_broad_excepts_are_few_and_each_gives_its_reason() -> None:
    found = []
    for module, path in MODULES.items():
        lines = path.read_text().split("\n")
        for node in ast.walk(parsed(module)):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node):
                found.append((module, lines[node.lineno - 1]))
    assert len(found) <= MOST_BROAD_EXCEPTS, found
    assert all("#" in line for _, line in found), found


def _is_broad(node: ast.ExceptHandler) -> bool:
    """Catches everything and keeps it; one that cleans up and raises again keeps nothing."""
    if isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None:
        return False
    return node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))


def test_no_handler_swallows_an_error_in_silence() -> None:
    silent = [
        f"{module}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.ExceptHandler) and all(isinstance(each, ast.Pass) for each in node.body)
    ]
    assert not silent, silent


def test_nothing_but_the_entry_points_reads_the_environment() -> None:
    readers = {
        module
        for module in MODULES
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    assert readers <= ENVIRONMENT_READERS, sorted(readers - ENVIRONMENT_READERS)


def test_public_names_of_the_model_are_documented() -> None:
    bare = [
        f"{module}.{node.name}"
        for module in MODULES
        if part_of(module) == "model"
        for node in parsed(module).body
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not any(isinstance(base, ast.Name) and base.id in ("Operation", "_OnContainer") for base in node.bases)
    ]
    assert not bare, bare
