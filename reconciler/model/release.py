"""Releases and deployments, the states of a deployment, and what planning needs of history.

Read from the store by `history.queries`, planned on by `plan`, advanced by operations.
Frozen values; a release is the pair (image id, config digest) and can be run again without
a build, a deployment is one attempt to roll one out. Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from reconciler.model.spec import RunSpec


class State(StrEnum):
    """States of a deployment in the order of its life, then the ways to end."""

    QUEUED = "queued"
    BUILDING = "building"
    STARTING = "starting"
    CHECKING = "checking"
    SWITCHING = "switching"
    LIVE = "live"
    RETIRED = "retired"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    INTERRUPTED = "interrupted"


OPEN = frozenset({State.QUEUED, State.BUILDING, State.STARTING, State.CHECKING, State.SWITCHING})
ENDED = frozenset({State.RETIRED, State.FAILED, State.CANCELLED, State.SUPERSEDED, State.INTERRUPTED})
_ABANDONED = frozenset({State.FAILED, State.CANCELLED, State.SUPERSEDED, State.INTERRUPTED})

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.QUEUED: _ABANDONED | {State.BUILDING, State.STARTING},
        State.BUILDING: _ABANDONED | {State.STARTING},
        State.STARTING: _ABANDONED | {State.CHECKING},
        State.CHECKING: _ABANDONED | {State.SWITCHING},
        State.SWITCHING: _ABANDONED | {State.LIVE},
        State.LIVE: frozenset({State.RETIRED}),
    }
    | {state: frozenset() for state in ENDED}
)

CauseKind = Literal["change", "drift", "request"]


@dataclass(frozen=True)
class Commit:
    """Where a deployment's source comes from; `tree` is the object id of `source.path`, or a
    digest over what `source.watch` looks at.
    """

    sha: str
    tree: str = ""
    author: str = ""
    subject: str = ""
    committed_at: float = 0.0


@dataclass(frozen=True)
class Release:
    """Numbered per project; the same pair of image and config is the same number.

    `config` is the run settings as the spec's dotted keys and printable values.
    """

    number: int
    image_id: str
    config_digest: str
    content_key: str = ""


@dataclass(frozen=True)
class Deployment:
    """One row of history. `release` and `image_id` are 0 and "" until the image is known.

    `changed_at` is when it entered `state`; `deadline_at` is when that state must be left;
    `drain_until` is set on the retired one: when its container may be stopped; 0 where not set.
    `run` is what the container was asked to be, None for an adopted one; `config` is the same
    in printable form. `drift_fields` are what was found changed where the cause is drift. `build_type` is what
    the source was taken for, as people read it: `node (Next.js)`.
    """

    project: str
    number: int
    state: State
    cause: CauseKind
    cause_text: str
    commit: Commit
    source_key: str
    config_digest: str
    spec_blob: str
    platform_revision: str
    created_at: float
    changed_at: float
    deadline_at: float = 0.0
    release: int = 0
    image_id: str = ""
    content_key: str = ""
    previous: int = 0
    live_at: float = 0.0
    ended_at: float = 0.0
    drain_until: float = 0.0
    reason: str = ""
    message: str = ""
    hint: str = ""
    retryable: bool = False
    attempt: int = 1
    config: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    run: RunSpec | None = None
    drift_fields: tuple[str, ...] = ()
    branch: str = ""
    build_type: str = ""

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


@dataclass(frozen=True)
class ProjectHistory:
    """What planning needs to know of one project's past.

    `live` is the deployment that serves, `open` the one under way, `last_ended` the newest
    one that ended without going live and is newer than `live`; `previous_live` the one that
    `live` replaced. `repairs` are the times of the last starts for drift, oldest first.
    `adopted`: what runs of it was found by its labels after the store was lost. `draining` maps
    the number of a retired deployment to the time when its container may be stopped, `retired` the id of
    an image to when the last deployment that served with it was retired.
    """

    project: str
    last_number: int = 0
    live: Deployment | None = None
    open: Deployment | None = None
    last_ended: Deployment | None = None
    previous_live: Deployment | None = None
    releases: tuple[Release, ...] = ()
    repairs: tuple[float, ...] = ()
    adopted: bool = False
    draining: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    retired: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class History:
    """`approved` are plan digests that a person approved; `inventory` container ids we made.

    `last_failures` maps a project ("" = the platform) to its last failure since one operation of
    it went well. `routes_digest` is of the last route document that Caddy took from us.
    """

    projects: Mapping[str, ProjectHistory] = field(default_factory=lambda: MappingProxyType({}))
    approved: frozenset[str] = frozenset()
    inventory: frozenset[str] = frozenset()
    last_failures: Mapping[str, Failure] = field(default_factory=lambda: MappingProxyType({}))
    routes_digest: str = ""

    def of(self, project_name: str) -> ProjectHistory:
        return self.projects.get(project_name, ProjectHistory(project_name))


@dataclass(frozen=True)
class Failure:
    """The last failed operation of a project ("" = the platform's routes) since one went well."""

    project: str
    resource: str
    reason: str
    message: str
    retryable: bool
    attempts: int
    at: float
