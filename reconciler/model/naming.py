"""Names, labels and digests of everything that we create.

Used by every stage; the one place that knows how a name is spelled. A name carries the
instance and the deployment, so that attempts, instances and parallel tests never collide.
Must not touch the outside.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

PROJECT_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]\Z")
_CONTAINER = re.compile(
    r"gs-(?P<instance>[a-z0-9]{6})-(?P<project>[a-z][a-z0-9-]*[a-z0-9])"
    r"-d(?P<deployment>[1-9][0-9]*)-(?P<process>[a-z]+)-(?P<index>[1-9][0-9]*)\Z"
)

LABEL_PREFIX = "gitstead."
LABEL_INSTANCE = LABEL_PREFIX + "instance"
LABEL_PROJECT = LABEL_PREFIX + "project"
LABEL_CONTENT = LABEL_PREFIX + "content"


def digest(value: object) -> str:
    """SHA-256 in hex of the canonical JSON of `value`; equal values give equal digests."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=list)
    return hashlib.sha256(text.encode()).hexdigest()


def container_name(instance: str, project_name: str, deployment: int, process: str, index: int) -> str:
    return f"gs-{instance}-{project_name}-d{deployment}-{process}-{index}"


def network_name(instance: str, project_name: str) -> str:
    return f"gs-{instance}-{project_name}"


def image_name(instance: str, project_name: str, content_key: str) -> str:
    """`repository:tag` under which an image is kept, found and collected."""
    return f"gs-{instance}-{project_name}:{content_key[:16]}"


def caddy_id(instance: str, part: str = "") -> str:
    """The `@id` of our subroute, or of a named part of it."""
    return f"gitstead-{instance}-{part}" if part else f"gitstead-{instance}"


@dataclass(frozen=True)
class Identity:
    """What the labels of one of our containers say; all of it survives a lost store.

    `content_key` names the image's input, `source_key` what of Git went into it,
    `config_digest` the run settings, `port` the host port leased on 127.0.0.1.
    """

    instance: str
    project: str
    process: str
    index: int
    deployment: int
    release: int
    image_id: str
    content_key: str
    source_key: str
    config_digest: str
    platform_revision: str
    spec_blob: str
    source_commit: str
    port: int

    @property
    def container_name(self) -> str:
        return container_name(self.instance, self.project, self.deployment, self.process, self.index)

    def labels(self) -> dict[str, str]:
        """The labels to create the container with."""
        return {LABEL_PREFIX + _label(name): str(value) for name, value in vars(self).items()}


_NUMBERS = ("index", "deployment", "release", "port")
_TEXTS = (
    "instance",
    "project",
    "process",
    "image_id",
    "content_key",
    "source_key",
    "config_digest",
    "platform_revision",
    "spec_blob",
    "source_commit",
)


def _label(field: str) -> str:
    return field.replace("_", "-")


def identity_of(labels: Mapping[str, str]) -> Identity | None:
    """Read labels back; None where one is missing or not of its form: then it is not ours."""
    texts: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for field in _TEXTS:
        value = labels.get(LABEL_PREFIX + _label(field))
        if value is None:
            return None
        texts[field] = value
    for field in _NUMBERS:
        value = labels.get(LABEL_PREFIX + _label(field), "")
        if not (value.isascii() and value.isdigit() and int(value) > 0):
            return None
        numbers[field] = int(value)
    return Identity(**texts, **numbers)  # type: ignore[arg-type]


def parse_container_name(name: str) -> tuple[str, str, int] | None:
    """(instance, project, deployment) of a name of ours, else None."""
    match = _CONTAINER.match(name)
    return (match["instance"], match["project"], int(match["deployment"])) if match else None
