"""Which version of its language a source tree asks for, and which file says so.

Called by the finders of `detection`. Pure. The version is told as it is written: what it means for an image is the
templates' business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconciler.desired.detection.manifests import dig_text, shown, xml_values
from reconciler.desired.detection.tree import Tree

_PLAUSIBLE = re.compile(r"[A-Za-z0-9 .,*^~<>=!|+/_-]{1,80}")
_EXACT = re.compile(r"v?(\d+(?:\.\d+)*)")
_PROPERTY = re.compile(r"\$\{([A-Za-z0-9._-]{1,60})\}")
_GRADLE = (
    re.compile(r"JavaLanguageVersion\.of\(\s*(\d{1,3})\s*\)"),
    re.compile(r"jvmToolchain\(\s*(\d{1,3})\s*\)"),
    re.compile(r"sourceCompatibility\s*=?\s*(?:JavaVersion\.VERSION_)?[\"']?([\d._]{1,6})"),
)
_GO = re.compile(r"^go[ \t]+(\S{1,40})", re.MULTILINE)
_GEMFILE = re.compile(r"^[ \t]*ruby[ \t(]+[\"']([^\"'\n]{1,40})[\"']", re.MULTILINE)

# These name the least version that will do, also where they write it plainly.
_MINIMUM = ("go.mod", "Cargo.toml")

Source = tuple[str, str]


@dataclass(frozen=True)
class Version:
    """`text` is "" where nothing asks for one; `origin` is the file; `notes` tell of files that disagree."""

    text: str = ""
    origin: str = ""
    notes: tuple[str, ...] = ()


def python_version(tree: Tree) -> Version:
    pyproject, pipfile = tree.parsed("pyproject.toml"), tree.parsed("Pipfile")
    runtime = _first_word(tree, "runtime.txt")
    return _choose(
        (".python-version", _first_word(tree, ".python-version")),
        ("runtime.txt", runtime.removeprefix("python-") if runtime.startswith("python-") else ""),
        (".tool-versions", _tool(tree, "python")),
        ("pyproject.toml", dig_text(pyproject, "project", "requires-python")),
        ("pyproject.toml", dig_text(pyproject, "tool", "poetry", "dependencies", "python")),
        ("Pipfile", dig_text(pipfile, "requires", "python_full_version")),
        ("Pipfile", dig_text(pipfile, "requires", "python_version")),
    )


def node_version(tree: Tree) -> Version:
    package = tree.parsed("package.json")
    return _choose(
        (".node-version", _first_word(tree, ".node-version")),
        (".nvmrc", _first_word(tree, ".nvmrc")),
        (".tool-versions", _tool(tree, "nodejs", "node")),
        ("package.json", dig_text(package, "volta", "node")),
        ("package.json", dig_text(package, "engines", "node")),
    )


def go_version(tree: Tree) -> Version:
    found = _GO.search(tree.text("go.mod"))
    return _choose((".tool-versions", _tool(tree, "golang", "go")), ("go.mod", found[1] if found else ""))


def rust_version(tree: Tree) -> Version:
    plain = tree.text("rust-toolchain")
    return _choose(
        ("rust-toolchain.toml", dig_text(tree.parsed("rust-toolchain.toml"), "toolchain", "channel")),
        ("rust-toolchain", _channel(plain) if "[" in plain else _first_word(tree, "rust-toolchain")),
        (".tool-versions", _tool(tree, "rust")),
        ("Cargo.toml", dig_text(tree.parsed("Cargo.toml"), "package", "rust-version")),
        ("Cargo.toml", dig_text(tree.parsed("Cargo.toml"), "workspace", "package", "rust-version")),
    )


def _channel(text: str) -> str:
    found = re.search(r"channel\s*=\s*[\"']([^\"'\n]{1,40})", text)
    return found[1] if found else ""


def java_version(tree: Tree, gradle: Sequence[str]) -> Version:
    """`gradle` are the build files of Gradle that count, the first one first."""
    properties = re.search(r"^java\.runtime\.version\s*=\s*(\S{1,20})", tree.text("system.properties"), re.MULTILINE)
    pom = tree.text("pom.xml")
    tags = ("maven.compiler.release", "java.version", "maven.compiler.source", "release")
    return _choose(
        (".java-version", _first_word(tree, ".java-version")),
        (".tool-versions", _tool(tree, "java")),
        ("system.properties", properties[1] if properties else ""),
        *(("pom.xml", _resolved(pom, value)) for tag in tags for value in xml_values(pom, tag)[:3]),
        *((name, found[1]) for name in gradle for pattern in _GRADLE if (found := pattern.search(tree.text(name)))),
    )


def _resolved(pom: str, value: str) -> str:
    """A property's value where the text names one, as `${java.version}` does."""
    named = _PROPERTY.fullmatch(value)
    return next(iter(xml_values(pom, named[1])), "") if named else value


def php_version(tree: Tree) -> Version:
    composer = tree.parsed("composer.json")
    return _choose(
        (".php-version", _first_word(tree, ".php-version")),
        (".tool-versions", _tool(tree, "php")),
        ("composer.json", dig_text(composer, "config", "platform", "php")),
        ("composer.json", dig_text(composer, "require", "php")),
    )


def ruby_version(tree: Tree) -> Version:
    found = _GEMFILE.search(tree.text("Gemfile"))
    return _choose(
        (".ruby-version", _first_word(tree, ".ruby-version").removeprefix("ruby-")),
        (".tool-versions", _tool(tree, "ruby")),
        ("Gemfile", found[1] if found else ""),
    )


def _first_word(tree: Tree, name: str) -> str:
    return next(iter(tree.words(name)), "")


def _tool(tree: Tree, *names: str) -> str:
    """What asdf's and mise's file asks for of one of these tools."""
    for line in tree.text(".tool-versions").splitlines()[:100]:
        words = line.partition("#")[0].split()
        if len(words) > 1 and words[0] in names:
            return words[1]
    return ""


def _choose(*sources: Source) -> Version:
    usable = [(origin, text) for origin, text in sources if text and _PLAUSIBLE.fullmatch(text)]
    odd = [
        f"{origin} asks for version {shown(text)}, which is no version."
        for origin, text in sources
        if text and not _PLAUSIBLE.fullmatch(text)
    ]
    if not usable:
        return Version(notes=tuple(odd))
    origin, text = usable[0]
    return Version(text, origin, (*odd, *_disagreements(origin, text, usable[1:])))


def _disagreements(origin: str, text: str, others: Iterable[Source]) -> tuple[str, ...]:
    """Exact versions that are not the chosen one; ranges are no contradiction."""
    chosen = _EXACT.fullmatch(text)
    if chosen is None:
        return ()
    return tuple(
        f"{origin} asks for version {text} and {other} for {found[0]}: the first counts."
        for other, version in others
        if other not in (origin, *_MINIMUM)
        and (found := _EXACT.fullmatch(version))
        and not f"{chosen[1]}.".startswith(f"{found[1]}.")
        and not f"{found[1]}.".startswith(f"{chosen[1]}.")
    )
