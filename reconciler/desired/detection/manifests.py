"""Which few files of a source tree say what it is, and parsers for them that hostile texts cannot hurt.

Called by `loop.sources` and the CLI (what to read), by `tree` (parsing). Pure: texts in, values out. Nothing
here raises for what a file holds: a text that cannot be read is told from one that says nothing by its reason.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

MOST_TEXTS = 32
LONGEST_TEXT = 256 * 1024
# tomllib takes time with the square of the parts of a dotted key.
LONGEST_TOML = 128 * 1024
MOST_DOTS = 500
DEEPEST = 3
MOST_NEAR = 5_000

MANIFESTS = (
    *("package.json", "pyproject.toml", "requirements.txt", "Pipfile", "setup.py", "setup.cfg", "manage.py"),
    *("go.mod", "Cargo.toml", "pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"),
    *("composer.json", "Gemfile", "Procfile", ".tool-versions"),
    *(".python-version", "runtime.txt", ".nvmrc", ".node-version", "rust-toolchain", "rust-toolchain.toml"),
    *(".ruby-version", ".java-version", "system.properties", ".php-version", "angular.json"),
    *(f"{name}.config.{end}" for name in ("next", "nuxt", "astro", "vite") for end in ("js", "mjs", "ts")),
    *("next.config.cjs", "react-router.config.ts", ".eleventy.js", "eleventy.config.js", "eleventy.config.mjs"),
    *("Gemfile.lock", "Aptfile"),
)
# Long files whose first lines tell their format.
_HEADS = ("pnpm-lock.yaml", "yarn.lock")
_LONGEST_HEAD = 4 * 1024
# Files that mark a folder as a project of its own, the telling ones first.
MARKS = (
    *("package.json", "pyproject.toml", "requirements.txt", "Pipfile", "setup.py", "manage.py"),
    *("go.mod", "main.go", "Cargo.toml", "pom.xml", "build.gradle", "build.gradle.kts", "composer.json", "Gemfile"),
    *("Dockerfile", "index.html", "index.php"),
)
PYTHON_ENTRIES = (
    *("wsgi.py", "asgi.py", "app.py", "main.py", "application.py", "server.py", "api.py", "autoapp.py", "run.py"),
    *("web.py", "__init__.py"),
)
# Paths below the top, each kind with the number of files that are read at most.
_NESTED: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"requirements/(?:base|common|main|prod|production)\.txt"), 3),
    (re.compile(r"[^/]+/manage\.py"), 1),
    (re.compile(rf"(?:[^/]+/){{0,2}}(?:{'|'.join(re.escape(name) for name in PYTHON_ENTRIES)})"), 12),
    (re.compile(r"[^/]+\.py"), 4),
    (re.compile(r"[^/]+(?<!_test)\.go"), 4),
    (re.compile(r"(?:[^/]+/){1,2}Cargo\.toml"), 8),
    (re.compile(r"[^/]+/(?:pom\.xml|build\.gradle|build\.gradle\.kts)"), 6),
)
_NOT_THE_APP = frozenset(
    {
        *("node_modules", "vendor", "venv", "env", "virtualenv", "site-packages", "__pycache__"),
        *("migrations", "alembic"),
        *("test", "tests", "testing", "e2e", "spec", "fixtures", "docs", "doc", "example", "examples", "samples"),
        *("dist", "build", "target", "coverage"),
    }
)
_SAFE_PATH = re.compile(r"(?:[A-Za-z0-9_@+][A-Za-z0-9_.@+-]*/)*[A-Za-z0-9_@.+][A-Za-z0-9_.@+-]*")


def wanted_texts(listing: frozenset[str]) -> tuple[str, ...]:
    """The files whose texts detection reads: at most `MOST_TEXTS` of those in `listing`, the telling ones first."""
    wanted = dict.fromkeys(name for name in (*MANIFESTS, *_HEADS) if name in listing)
    near = near_paths(listing)
    for pattern, most in _NESTED:
        wanted |= dict.fromkeys([path for path in near if pattern.fullmatch(path)][:most])
    return tuple(wanted)[:MOST_TEXTS]


def read_texts(listing: frozenset[str], read: Callable[[str], str | None]) -> Mapping[str, str]:
    """The texts of `wanted_texts` that `read` gives; None and what is too long are left out."""
    texts: dict[str, str] = {}
    for name in wanted_texts(listing):
        text = read(name)
        if text is not None and name in _HEADS:
            texts[name] = text[:_LONGEST_HEAD]
        elif text is not None and len(text) <= LONGEST_TEXT:
            texts[name] = text
    return MappingProxyType(texts)


def near_paths(listing: Iterable[str]) -> tuple[str, ...]:
    """Plainly named files of the app at most three folders down, the nearest first.

    Tests, examples, dependencies, hidden folders, and names that need care in a command are left out.
    """
    near = [
        path
        for path in listing
        if path.count("/") <= DEEPEST and is_plain(path) and _NOT_THE_APP.isdisjoint(path.split("/")[:-1])
    ]
    return tuple(sorted(near, key=lambda path: (path.count("/"), path))[:MOST_NEAR])


def is_plain(path: str) -> bool:
    """Whether a relative path can stand in a command or a Dockerfile as it is."""
    return len(path) <= 200 and _SAFE_PATH.fullmatch(path) is not None and ".." not in path


def shown(text: str, *, longest: int = 60) -> str:
    """A text of the tree, fit for one line of output: printable and short."""
    clean = "".join(sign if sign.isprintable() else "�" for sign in text[: 2 * longest]).strip()
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}…"


def parse_json(text: str) -> Mapping[str, object] | str:
    """The object that the text is, or why it is none."""
    try:
        value = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return "is no valid JSON"
    return value if isinstance(value, dict) else "holds no JSON object"


def parse_toml(text: str) -> Mapping[str, object] | str:
    """The table that the text is, or why it is none."""
    if len(text) > LONGEST_TOML or any(line.count(".") > MOST_DOTS for line in text.split("\n")):
        return "is too large to be read"
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return "is no valid TOML"


def dig(value: object, *keys: str) -> object:
    """What lies at these keys, one below the other; None where there is nothing."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def dig_text(value: object, *keys: str) -> str:
    """The same where it is a text, else ""."""
    found = dig(value, *keys)
    return found.strip() if isinstance(found, str) else ""


def dig_table(value: object, *keys: str) -> Mapping[str, object]:
    """The same where it is a mapping, else an empty one."""
    found = dig(value, *keys)
    return found if isinstance(found, Mapping) else {}


def dig_list(value: object, *keys: str) -> list[object]:
    """The same where it is a list, else an empty one."""
    found = dig(value, *keys)
    return found if isinstance(found, list) else []


def xml_values(text: str, tag: str) -> tuple[str, ...]:
    """The short texts between `<tag>` and `</tag>`, comments left out. No XML parser: entities mean nothing here."""
    found = re.findall(rf"<{re.escape(tag)}>\s*([^<>&\s]{{1,120}})\s*</{re.escape(tag)}>", _without_comments(text))
    return tuple(found)


def _without_comments(text: str) -> str:
    kept: list[str] = []
    while text:
        before, opened, rest = text.partition("<!--")
        kept.append(before)
        text = rest.partition("-->")[2] if opened else ""
    return "".join(kept)
