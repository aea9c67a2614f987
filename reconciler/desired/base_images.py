"""Reads which images a Dockerfile is built from, where its text alone says so.

Called by `dockerfiles`. Pure. A base that depends on a build argument without a default cannot be told:
the answer is None then, and no build is ever skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

_INSTRUCTION = re.compile(r"\s*(?P<name>[A-Za-z]+)(?:\s+(?P<rest>.*))?\Z", re.DOTALL)
_ESCAPE = re.compile(r"#\s*escape\s*=\s*(?P<escape>[\\`])\s*\Z", re.IGNORECASE)
_HEREDOC = re.compile(r"<<-?[\"']?(?P<word>[A-Za-z_][A-Za-z0-9_]*)[\"']?")
_ARGUMENT = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:=(?P<value>\"[^\"]*\"|'[^']*'|\S*))?")
_VARIABLE = re.compile(
    r"\$(?:\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<fallback>[^}$]*))?\}|(?P<bare>[A-Za-z_]\w*))"
)
_FLAG = re.compile(r"--(?P<name>[a-z-]+)(?:=(?P<value>\S+))?\s*")
_MOUNT_FROM = re.compile(r"(?:\A|,)from=(?P<image>[^,]+)")


class _Unknowable(Exception):
    """The text does not say."""


def bases_of(text: str, given: Mapping[str, str] = MappingProxyType({})) -> tuple[str, ...] | None:
    """The images that FROM, COPY --from and RUN --mount name, in order; None where the text does not say.

    Names of stages and `scratch` are left out. `given` are build arguments, which go before defaults.
    """
    try:
        return _bases(text, given)
    except _Unknowable:
        return None


def copied_by(text: str) -> tuple[str, ...]:
    """The words of the source that COPY and ADD name, in order; nothing of other stages and images."""
    words: list[str] = []
    for name, rest in _instructions(text):
        if name in ("COPY", "ADD") and "--from=" not in rest:
            words += _copied(rest)
    return tuple(words)


def _copied(rest: str) -> list[str]:
    words = re.sub(r"\A(?:--\S+\s+)*", "", rest.strip())
    if words.startswith("["):
        try:
            listed = json.loads(words)
        except ValueError:
            return []
        return [each for each in listed if isinstance(each, str)][:-1]
    return words.split()[:-1]


def _bases(text: str, given: Mapping[str, str]) -> tuple[str, ...]:
    bases: dict[str, None] = {}
    arguments: dict[str, str | None] = {}
    stages: list[str] = []
    for name, rest in _instructions(text):
        if name == "ARG" and not stages:
            arguments |= _arguments(rest, arguments, given)
        elif name == "FROM":
            image, stage = _from(rest, arguments)
            if image.lower() not in (*stages, "scratch"):
                bases[image] = None
            stages.append(stage.lower())
        elif name in ("COPY", "ADD", "RUN"):
            for image in _other_images(rest):
                if image.lower() not in stages and not image.isdigit():
                    bases[image] = None
    if not stages:
        raise _Unknowable
    return tuple(bases)


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """(upper-case name, the rest as one line); comments and the bodies of here-documents are left out."""
    lines = text.removeprefix("\ufeff").splitlines()
    escape = next((match["escape"] for line in lines[:3] if (match := _ESCAPE.match(line))), "\\")
    pending = ""
    endings: list[str] = []
    for line in lines:
        if endings:
            if line.strip() == endings[0]:
                endings.pop(0)
            continue
        if line.lstrip().startswith("#") or (pending and not line.strip()):
            continue
        bare = line.rstrip()
        if bare.endswith(escape):
            pending += bare[:-1]
            continue
        match = _INSTRUCTION.match(pending + bare)
        pending = ""
        if match:
            name, rest = match["name"].upper(), match["rest"] or ""
            endings = [each["word"] for each in _HEREDOC.finditer(rest)] if name in ("RUN", "COPY", "ADD") else []
            yield name, rest


def _arguments(rest: str, known: Mapping[str, str | None], given: Mapping[str, str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for match in _ARGUMENT.finditer(rest):
        value = match["value"]
        if match["name"] in given:
            found[match["name"]] = given[match["name"]]
            continue
        found[match["name"]] = None if value is None else _expand(value.strip("\"'"), {**known, **found})
    return found


def _from(rest: str, arguments: Mapping[str, str | None]) -> tuple[str, str]:
    """(image, name of the stage or "") of what follows FROM."""
    words = [word for word in rest.split() if not word.startswith("--")]
    if not words:
        raise _Unknowable
    image = _expand(words[0], arguments)
    if not image:
        raise _Unknowable
    return image, words[2] if len(words) == 3 and words[1].lower() == "as" else ""


def _other_images(rest: str) -> Iterator[str]:
    position = 0
    while flag := _FLAG.match(rest, position):
        position = flag.end()
        value = flag["value"] or ""
        image = value if flag["name"] == "from" else ""
        if flag["name"] == "mount" and (match := _MOUNT_FROM.search(value)):
            image = match["image"]
        if "$" in image:
            raise _Unknowable
        if image:
            yield image


def _expand(text: str, arguments: Mapping[str, str | None]) -> str:
    def value(match: re.Match[str]) -> str:
        known = arguments.get(match["braced"] or match["bare"])
        if known:
            return known
        if match["fallback"] is None:
            raise _Unknowable
        return match["fallback"]

    expanded = _VARIABLE.sub(value, text)
    if "$" in expanded:
        raise _Unknowable
    return expanded
