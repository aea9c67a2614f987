"""The operations: one class per outside call, each with its resource, its cause and a sentence.

Planned by `plan`, carried out by the function of the same name in `apply.operations`, written
to the journal, printed as the text of a plan. A frozen value that holds all it needs, so that
apply decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import ClassVar, Literal

from reconciler.model.condition import Reason
from reconciler.model.desired import Dockerfile
from reconciler.model.naming import Identity
from reconciler.model.release import CauseKind, Commit, State
from reconciler.model.spec import RunSpec

PLATFORM = ""


@dataclass(frozen=True)
class Cause:
    """Why an operation is there: Git moved (`change`), the world moved (`drift`), a person asked."""

    kind: CauseKind
    text: str


@dataclass(frozen=True, kw_only=True)
class Operation:
    """`project` is "" for what belongs to the platform itself.

    `volatile` names the fields that a digest leaves out: ports, container ids, times, numbers.
    """

    verb: ClassVar[str] = "?"
    volatile: ClassVar[frozenset[str]] = frozenset({"cause"})

    project: str
    cause: Cause
    deployment: int = 0

    @property
    def name(self) -> str:
        """The operation's kind, e.g. `CreateContainer`: journal, failpoints and metrics use it."""
        return type(self).__name__

    @property
    def resource(self) -> str:
        """What it acts on, stable from one attempt to the next."""
        return self.project or "platform"

    @property
    def sentence(self) -> str:
        """What a person reads behind the verb."""
        return self.resource

    def wanted(self) -> dict[str, object]:
        """What the digest of a plan covers."""
        hidden = self.volatile | {"cause", "deployment"}
        values: dict[str, object] = {"kind": self.name, "resource": self.resource}
        for each in fields(self):
            if each.name not in hidden:
                values[each.name] = _plain(getattr(self, each.name))
        return values


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | frozenset):
        items = [_plain(item) for item in value]
        return sorted(items, key=str) if isinstance(value, frozenset) else items
    if hasattr(value, "__dataclass_fields__"):
        return {each: _plain(getattr(value, each)) for each in value.__dataclass_fields__}
    return value


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

    @property
    def sentence(self) -> str:
        return f"{self.project} d{self.deployment}: {self.cause.text}"


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
    """The deployment ends without going live."""

    verb = "end"
    volatile = frozenset({"message", "hint"})

    state: State
    reason: Reason
    message: str
    hint: str = ""
    retryable: bool = False

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
    volatile = frozenset({"identity"})

    identity: Identity

    @property
    def sentence(self) -> str:
        return f"{self.identity.container_name}, untouched"


# ---- jobs ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StartBuild(Operation):
    """Build the image `tag` from exactly `commit`. `repo` and `path` say where its tree is."""

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


# ---- Docker --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class CreateNetwork(Operation):
    verb = "network"

    network: str

    @property
    def resource(self) -> str:
        return self.network


@dataclass(frozen=True, kw_only=True)
class CreateContainer(Operation):
    """Create, not start. The lease is `identity.port` on 127.0.0.1 to `run.port`."""

    verb = "create"
    volatile = frozenset({"identity"})

    identity: Identity
    image: str
    network: str
    run: RunSpec
    restart_policy: str = "on-failure:3"

    @property
    def resource(self) -> str:
        return self.identity.container_name

    @property
    def sentence(self) -> str:
        return f"{self.resource} on port {self.identity.port}"


@dataclass(frozen=True, kw_only=True)
class _OnContainer(Operation):
    volatile = frozenset({"container_id", "container"})

    container_id: str
    container: str

    @property
    def resource(self) -> str:
        return self.container


@dataclass(frozen=True, kw_only=True)
class StartContainer(_OnContainer):
    """`container_id` is "" where the container is created by the same plan: the name then counts."""

    verb = "start"


@dataclass(frozen=True, kw_only=True)
class StopContainer(_OnContainer):
    """Ask it to end; the engine kills it after `grace_s`. Does not wait: the end is observed."""

    verb = "stop"

    grace_s: float = 10.0


@dataclass(frozen=True, kw_only=True)
class RemoveContainer(_OnContainer):
    verb = "remove"


@dataclass(frozen=True, kw_only=True)
class SetRestartPolicy(_OnContainer):
    """`no` before a container is stopped to be kept, `unless-stopped` once it serves."""

    verb = "restart-policy"

    policy: str

    @property
    def sentence(self) -> str:
        return f"{self.container} {self.policy}"


@dataclass(frozen=True, kw_only=True)
class RemoveNetwork(Operation):
    verb = "remove-network"

    network: str

    @property
    def resource(self) -> str:
        return self.network


@dataclass(frozen=True, kw_only=True)
class RemoveImage(Operation):
    verb = "remove-image"
    volatile = frozenset({"image_id"})

    image: str
    image_id: str

    @property
    def resource(self) -> str:
        return self.image


# ---- traffic -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class WriteUpstream(Operation):
    """Point the project's upstream file at `port`: one rename, no reload."""

    verb = "switch"
    volatile = frozenset({"port"})

    port: int

    @property
    def sentence(self) -> str:
        return f"{self.project} → 127.0.0.1:{self.port}"


@dataclass(frozen=True, kw_only=True)
class RemoveUpstream(Operation):
    verb = "remove-upstream"


@dataclass(frozen=True, kw_only=True)
class PutRoutes(Operation):
    """Replace our part of Caddy's configuration by `document` (see `plan.routes`).

    `hosts` are the (host, project) pairs in it, for the sentence and the digest.
    """

    verb = "route"
    volatile = frozenset({"document", "document_digest"})

    hosts: tuple[tuple[str, str], ...]
    document: Mapping[str, object]
    document_digest: str

    @property
    def resource(self) -> str:
        return "routes"

    @property
    def sentence(self) -> str:
        return f"{len(self.hosts)} host{'' if len(self.hosts) == 1 else 's'}: {self.cause.text}"


OPERATIONS: tuple[type[Operation], ...] = (
    OpenDeployment,
    AssignRelease,
    AdvanceDeployment,
    MarkLive,
    EndDeployment,
    RetireProject,
    AdoptDeployment,
    StartBuild,
    StartProbe,
    StartVerify,
    CancelJob,
    CreateNetwork,
    CreateContainer,
    StartContainer,
    StopContainer,
    RemoveContainer,
    SetRestartPolicy,
    RemoveNetwork,
    RemoveImage,
    WriteUpstream,
    RemoveUpstream,
    PutRoutes,
)
