"""What each base image is made of, as Dockerfile text: pure, so that tests can read it.

Called by `base_image` alone. A recipe starts either from a public image, or from a Debian file system that
was made on this machine; it names no registry host, since a short name is the engine's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from reconciler.desired.base_names import NODE_MAJORS
from reconciler.desired.static_base import STATIC_BASE_DOCKERFILE

LABEL = "gitstead.base"
PULLED = "pulled"
AIR_GAPPED = "air-gapped"
OWN = "own"
STATIC = "static"

_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_TRUST = dict.fromkeys(
    ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"), _BUNDLE
)


@dataclass(frozen=True)
class Recipe:
    """One kind of base image: the public one where a registry answers, Debian packages where none does.

    `public` may have a place for the version ({}), of which `version` is the usual one. `newer` asks for a newer
    Debian's packages where the machine's own is older than that (see `debian_suite`). `asks` is the argv that
    tells the version of what it is for. `static` has neither name nor packages: it is Caddy's binary and its
    configuration, nothing else.
    """

    name: str
    public: str
    packages: tuple[str, ...]
    steps: str = ""
    version: str = ""
    newer: bool = False
    asks: tuple[str, ...] = ()

    @property
    def public_name(self) -> str:
        return self.public.format(self.version)


PYTHON_STEPS = """\
RUN rm -f /usr/lib/python3*/EXTERNALLY-MANAGED && ln -s python3 /usr/bin/python
"""
NODE_STEPS = """\
COPY node/bin/node /usr/local/bin/node
COPY npm/ /usr/local/lib/node_modules/npm/
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \\
 && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
"""
PHP_EXTENSIONS = ("curl", "gd", "intl", "mbstring", "mysql", "pgsql", "sqlite3", "xml", "zip")
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("debian", "debian:stable-slim", ("ca-certificates",)),
        Recipe(
            "python",
            "python:3-slim",
            ("ca-certificates", "python3", "python3-venv", "python3-pip"),
            PYTHON_STEPS,
            asks=("python3", "--version"),
        ),
        Recipe(STATIC, "", ()),
        Recipe(
            "node",
            "node:{}-slim",
            ("ca-certificates", "libstdc++6", "libatomic1"),
            NODE_STEPS,
            version=NODE_MAJORS[0],
            asks=("node", "--version"),
        ),
        Recipe("go", "golang:1", ("ca-certificates", "golang-go"), newer=True, asks=("go", "version")),
        # What it builds runs on the base `debian`: both are of the same release.
        Recipe(
            "rust", "rust:1", ("ca-certificates", "rustc", "cargo", "gcc", "libc6-dev"), asks=("rustc", "--version")
        ),
        Recipe(
            "java",
            "maven:3-eclipse-temurin-21",
            ("ca-certificates", "default-jdk-headless", "maven"),
            newer=True,
            asks=("java", "--version"),
        ),
        Recipe(
            "jre",
            "eclipse-temurin:21-jre",
            ("ca-certificates", "default-jre-headless"),
            newer=True,
            asks=("java", "--version"),
        ),
        Recipe(
            "php",
            "php:8-apache",
            (
                *("ca-certificates", "apache2", "libapache2-mod-php", "php-cli", "composer", "unzip"),
                *(f"php-{each}" for each in PHP_EXTENSIONS),
            ),
            newer=True,
            asks=("php", "--version"),
        ),
        Recipe(
            "ruby",
            "ruby:3",
            (
                *("ca-certificates", "ruby", "ruby-dev", "bundler", "build-essential", "pkg-config", "git"),
                *("libyaml-dev", "libpq-dev", "libsqlite3-dev"),
            ),
            newer=True,
            asks=("ruby", "--version"),
        ),
    )
}
_OLDER_DEBIANS = ("bullseye", "bookworm")
_NEWER_DEBIAN = "trixie"
# Debian 12 has a newer compiler beside its own, for browsers and for whatever else needs one.
_NAMED_OTHERWISE = {"bookworm": {"rustc": "rustc-web", "cargo": "cargo-web"}}
_NPM_OF_NODE = {"24": "11", "22": "10", "20": "10", "18": "10", "16": "8"}


def recipe_of(name: str) -> Recipe:
    """The recipe of `python`, or of `node:22`; only Node has versions. KeyError for a name that is none."""
    bare, _, version = name.partition(":")
    recipe = RECIPES[bare]
    if version in ("", "latest"):
        return recipe
    if bare != "node" or version not in NODE_MAJORS:
        raise KeyError(name)
    return replace(recipe, version=version)


def debian_suite(recipe: Recipe, codename: str) -> str:
    """The Debian release whose packages it is made of, on a machine of release `codename`."""
    return _NEWER_DEBIAN if recipe.newer and codename in _OLDER_DEBIANS else codename


def debian_packages(recipe: Recipe, suite: str) -> tuple[str, ...]:
    """Its packages as that release calls them."""
    names = _NAMED_OTHERWISE.get(suite, {})
    return tuple(names.get(each, each) for each in recipe.packages)


def npm_packages(recipe: Recipe, architecture: str) -> dict[str, str]:
    """Folder to npm package of what is Node itself, and npm."""
    return {"node": f"node-linux-{architecture}@{recipe.version}", "npm": f"npm@{_NPM_OF_NODE[recipe.version]}"}


def versioned_dockerfile(reference: str, version: str) -> str:
    """The finished image with one label more: the version of what it is for."""
    return f"FROM {reference}\n{_labels({f'{LABEL}.version': version})}\n"


def pulled_dockerfile(recipe: Recipe, labels: Mapping[str, str], *, has_local_certificates: bool) -> str:
    """The public image with our label; with the host's certificates where the host has some of its own."""
    lines = [f"FROM {recipe.public_name}"]
    if has_local_certificates:
        lines += [f"COPY ca-certificates.crt {_BUNDLE}", _environment(_TRUST)]
    return "\n".join([*lines, _labels(labels)]) + "\n"


def air_gapped_dockerfile(recipe: Recipe, labels: Mapping[str, str], *, has_local_certificates: bool) -> str:
    """A Debian file system, its packages, and the host's own certificates, so that registries answer."""
    text = "FROM scratch\nADD rootfs.tar /\n"
    if has_local_certificates:
        text += "COPY certificates/ /usr/local/share/ca-certificates/\nRUN update-ca-certificates\n"
    text += recipe.steps
    environment = {"LANG": "C.UTF-8", **(_TRUST if has_local_certificates else {})}
    entry = {"python": "python3", "node": "node"}.get(recipe.name, "bash")
    return f"{text}{_environment(environment)}\n{_labels(labels)}\nCMD {json.dumps([entry])}\n"


def static_dockerfile(labels: Mapping[str, str]) -> str:
    """Caddy alone, as a file server; `desired.dockerfiles` puts a site's files on top."""
    return f"{STATIC_BASE_DOCKERFILE}{_labels(labels)}\n"


def _environment(values: Mapping[str, str]) -> str:
    return "ENV " + " ".join(f"{name}={value}" for name, value in values.items())


def _labels(labels: Mapping[str, str]) -> str:
    return "LABEL " + " ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
