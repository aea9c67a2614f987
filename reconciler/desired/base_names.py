"""Names the images that generated Dockerfiles begin from: Gitstead's own, or the public ones.

Called by `dockerfiles`; the host file's `bases` chooses. Pure. A public name holds no registry host: a short name
is the engine's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from reconciler.model.versions import newest_fitting, number

Bases = Literal["own", "registry"]
BaseName = Callable[[str, str], str]
"""(kind, version that is asked for, "" for none) to the image's name. Kinds are the keys of `PUBLIC`."""

OWN_PREFIX = "gitstead/base-"

# Newest first; what asks for nothing gets the first.
_PYTHON = ("3.13", "3.14", "3.12", "3.11", "3.10", "3.9")
# Of Node every version is on npm, so that our own image of each can be made.
NODE_MAJORS = ("24", "22", "20", "18", "16")
_JAVA = ("21", "17", "25", "11")
_PHP = ("8.4", "8.3", "8.2", "8.1")
_RUBY = ("3.4", "3.3", "3.2", "3.1")

# Kind to (language, image with {} for the version, versions).
PUBLIC: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "debian": ("", "debian:stable-slim", ()),
    "static": ("", f"{OWN_PREFIX}static", ()),
    "python": ("python", "python:{}-slim", _PYTHON),
    "python-build": ("python", "python:{}", _PYTHON),
    "node": ("node", "node:{}-slim", NODE_MAJORS),
    "go": ("", "golang:1", ()),
    "rust": ("", "rust:1", ()),
    "maven": ("java", "maven:3-eclipse-temurin-{}", _JAVA),
    "java": ("java", "eclipse-temurin:{}", _JAVA),
    "jre": ("java", "eclipse-temurin:{}-jre", _JAVA),
    "php": ("php", "php:{}-apache", _PHP),
    "composer": ("", "composer:2", ()),
    "ruby": ("ruby", "ruby:{}-slim", _RUBY),
    "ruby-build": ("ruby", "ruby:{}", _RUBY),
}
# Some kinds are one image of ours.
_OWN = {"python-build": "python", "ruby-build": "ruby", "maven": "java", "composer": "php"}


def own_base(kind: str, version: str) -> str:
    """Gitstead's own image of that kind. Only Node's comes in several versions, one for each major."""
    major = newest_fitting(version, NODE_MAJORS, language="node") if kind == "node" and version else ""
    return f"{OWN_PREFIX}{_OWN.get(kind, kind)}{f':{major}' if major and major != NODE_MAJORS[0] else ''}"


def public_base(kind: str, version: str) -> str:
    """The public image of that kind, of the newest usual version that is meant, else of the one that is named."""
    language, image, versions = PUBLIC[kind]
    if not versions:
        return image
    usual = newest_fitting(version, versions, language=language)
    named = ".".join(str(each) for each in number(version)[: versions[0].count(".") + 1])
    return image.format(usual or named or versions[0])


BASE_NAMES: dict[Bases, BaseName] = {"own": own_base, "registry": public_base}
