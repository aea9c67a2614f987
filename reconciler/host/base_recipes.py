"""What each base image is made of, as Dockerfile text: pure, so that tests can read it.

Called by `base_image` alone. A recipe starts either from a public image, or from a Debian file system that
was made on this machine; it names no registry host, since a short name is the engine's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

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

    `static` has neither: it is Caddy's binary and its configuration, nothing else.
    """

    name: str
    public: str
    packages: tuple[str, ...]
    steps: str = ""


PYTHON_STEPS = """\
RUN rm -f /usr/lib/python3*/EXTERNALLY-MANAGED && ln -s python3 /usr/bin/python
"""
NODE_STEPS = """\
COPY node/bin/node /usr/local/bin/node
COPY npm/ /usr/local/lib/node_modules/npm/
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \\
 && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
"""
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("debian", "debian:stable-slim", ("ca-certificates",)),
        Recipe(
            "python",
            "python:3-slim",
            ("ca-certificates", "python3", "python3-venv", "python3-pip"),
            PYTHON_STEPS,
        ),
        Recipe(STATIC, "", ()),
        Recipe("node", "node:lts-slim", ("ca-certificates", "libstdc++6", "libatomic1"), NODE_STEPS),
    )
}


def pulled_dockerfile(recipe: Recipe, labels: Mapping[str, str], *, has_local_certificates: bool) -> str:
    """The public image with our label; with the host's certificates where the host has some of its own."""
    lines = [f"FROM {recipe.public}"]
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
