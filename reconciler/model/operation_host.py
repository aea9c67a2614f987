"""Operations on the host: containers, networks, images, upstream files, Caddy's routes.

Everybody imports them from `model.operation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.naming import Identity
from reconciler.model.operation_base import Operation
from reconciler.model.spec import RunSpec

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
    """`image` is a name of ours, or the id of an image that has none; `freed_bytes` what only it takes, 0 = unknown."""

    verb = "remove-image"
    volatile = frozenset({"image_id", "freed_bytes"})

    image: str
    image_id: str
    freed_bytes: int = 0

    @property
    def resource(self) -> str:
        return self.image


@dataclass(frozen=True, kw_only=True)
class PruneBuildCache(Operation):
    """Take the engine's build cache back to `keep_bytes`, oldest first, but not what was used within `unused_s`."""

    verb = "prune-cache"

    keep_bytes: int
    unused_s: float

    @property
    def resource(self) -> str:
        return "build cache"

    @property
    def sentence(self) -> str:
        return f"to {self.keep_bytes / 2**30:.1f} GiB, of what was unused for {self.unused_s / 3600:g} h"


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
        return f"routes {self.document_digest[:8]}"

    @property
    def sentence(self) -> str:
        return f"{len(self.hosts)} host{'' if len(self.hosts) == 1 else 's'}"
