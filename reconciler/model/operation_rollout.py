"""Operations on a deployment: its rows, and the jobs that work for it.

Everybody imports them from `model.operation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from reconciler.model.condition import Reason
from reconciler.model.desired import Dockerfile
from reconciler.model.naming import Identity
from reconciler.model.operation_base import Operation
from reconciler.model.release import Commit, State
from reconciler.model.spec import RunSpec

# ---- a deployment's rows -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class OpenDeployment(Operation):
    """Begin deployment number `deployment`."""

    verb = "deploy"
    volatile = frozenset({"previous", "deadline_s", "attempt", "platform_revision"})

    previous: int
    commit: Commit
    source_key: str
    content_key: str
    config_digest: str
    config: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    run: RunSpec
    spec_blob: str
    platform_revision: str
    deadline_s: float
    attempt: int = 1
    drift_fields: tuple[str, ...] = ()
    branch: str = ""
    build_type: str = ""

    @property
    def sentence(self) -> str:
        return f"{self.project} d{self.deployment}"


@dataclass(frozen=True, kw_only=True)
class AssignRelease(Operation):
    """The image is known: the deployment becomes a rollout of release `release`."""

    verb = "release"
    volatile = frozenset({"release", "image_id", "deadline_s"})

    release: int
    image_id: str
    content_key: str
    config_digest: str
    deadline_s: float

    @property
    def sentence(self) -> str:
        return f"{self.project} r{self.release}"


@dataclass(frozen=True, kw_only=True)
class AdvanceDeployment(Operation):
    """The deployment enters `state`."""

    verb = "advance"
    volatile = frozenset({"deadline_s"})

    state: State
    deadline_s: float

    @property
    def sentence(self) -> str:
        return f"{self.project} d{self.deployment} is {self.state}"


@dataclass(frozen=True, kw_only=True)
class MarkLive(Operation):
    """The deployment serves, verified through its route; `previous` is retired and drains."""

    verb = "live"
    volatile = frozenset({"previous", "drain_s"})

    previous: int
    drain_s: float

    @property
    def sentence(self) -> str:
        then = f"; d{self.previous} stops after {self.drain_s:g}s drain" if self.previous else ""
        return f"{self.project} d{self.deployment}{then}"


@dataclass(frozen=True, kw_only=True)
class EndDeployment(Operation):
    """The deployment ends without going live.

    `container` is the one whose last output is kept with the deployment's log; "" where there is none.
    """

    verb = "end"
    volatile = frozenset({"message", "hint", "container"})

    state: State
    reason: Reason
    message: str
    hint: str = ""
    retryable: bool = False
    container: str = ""

    @property
    def sentence(self) -> str:
        return f"{self.project} d{self.deployment} {self.state}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class RetireProject(Operation):
    """The project left Git and nothing of it runs any more: its live deployment is retired."""

    verb = "retire"


@dataclass(frozen=True, kw_only=True)
class AdoptDeployment(Operation):
    """What runs was made by us before this store existed: write it down, touch nothing."""

    verb = "adopt"
    volatile = frozenset({"identity", "container_id"})

    identity: Identity
    container_id: str = ""

    @property
    def sentence(self) -> str:
        return f"{self.identity.container_name}, untouched"


# ---- jobs ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StartBuild(Operation):
    """Build the image `tag` from exactly `commit`. `repo` and `path` say where its tree is.

    `args` are build arguments; `secrets` are sealed texts by name, opened by the job alone.
    """

    verb = "build"
    volatile = frozenset({"timeout_s"})

    repo: str
    path: str
    commit: str
    build_type: str
    dockerfile: Dockerfile
    content_key: str
    tag: str
    timeout_s: float
    args: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    secrets: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def sentence(self) -> str:
        return f"{self.project} {self.commit[:7]} ({self.build_type})"


@dataclass(frozen=True, kw_only=True)
class StartProbe(Operation):
    """Ask the container itself on its leased port until it answers."""

    verb = "check"
    volatile = frozenset({"port", "subject"})

    port: int
    path: str
    timeout_s: float
    interval_s: float
    subject: str

    @property
    def sentence(self) -> str:
        return f"GET {self.path} within {self.timeout_s:g}s"


@dataclass(frozen=True, kw_only=True)
class StartVerify(Operation):
    """Ask through Caddy's route until this release's port answers there."""

    verb = "verify"
    volatile = frozenset({"port", "subject"})

    host: str
    port: int
    path: str
    timeout_s: float
    subject: str

    @property
    def sentence(self) -> str:
        return f"http://{self.host}{self.path} through the route"


@dataclass(frozen=True, kw_only=True)
class CancelJob(Operation):
    verb = "cancel"

    kind: Literal["build", "probe", "verify"]

    @property
    def sentence(self) -> str:
        return f"{self.kind} of {self.project} d{self.deployment}"
