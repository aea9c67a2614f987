"""The Docker engine: one look at everything, and the few writes that a plan can ask for.

Called by `observe` (look), `apply.operations` (writes), `engine_events` (the stream and the cache) and the CLI
(what a container said). Must never change what does not carry our instance's label, and decides nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reconciler.adapters import engine_errors
from reconciler.adapters import engine_values as values
from reconciler.adapters.engine_cache import EngineCache
from reconciler.adapters.engine_connection import Api, EngineConnection, EventStream
from reconciler.adapters.engine_rows import ContainerRows
from reconciler.errors import EngineConflict, EngineRefused, EngineUnavailable, GitsteadError, NotOurs, PortTaken
from reconciler.model import naming
from reconciler.model.observed import Engine
from reconciler.model.operation import CreateContainer

DEFAULT_NETWORK_POOL = "10.213.0.0/16"
EVENTS: Mapping[str, tuple[str, ...]] = {
    "container": ("create", "start", "die", "pause", "unpause", "rename", "update", "destroy"),
    "image": ("tag", "untag", "delete", "import", "load", "pull", "create"),
    "network": ("create", "connect", "disconnect", "destroy", "remove"),
}
_POOL_TRIES = 16


class DockerEngine:
    """One engine, seen by one instance. Safe from any thread; connects on first use.

    `docker_host` is a URL, None for the default socket. `network_pool` is where the /27s of project
    networks come from. Every method raises `EngineUnavailable` when the engine does not answer.
    """

    def __init__(
        self,
        docker_host: str | None,
        *,
        instance: str,
        timeout_s: float = 15.0,
        network_pool: str = DEFAULT_NETWORK_POOL,
    ) -> None:
        self.instance = instance
        self._network_pool = network_pool
        self._connection = EngineConnection(docker_host, timeout_s=timeout_s)
        self._cache = EngineCache()
        self._owned: frozenset[str] = frozenset()
        self._rows = ContainerRows(self._cache, instance, self._inspect)

    @property
    def reads(self) -> Mapping[str, int]:
        """How often each kind of question was put to the engine."""
        return self._connection.reads

    @property
    def writes(self) -> Mapping[str, int]:
        """How often each kind of change was asked of the engine (invariant 11: none by an idle pass)."""
        return self._connection.writes

    def close(self) -> None:
        """Close idle connections; the next call opens new ones."""
        self._connection.close()

    # ---- look -------------------------------------------------------------------------------

    def look(self) -> Engine:
        """Everything that planning needs of the engine.

        Costs one list of containers; the rest comes from the cache while an event stream is attached.
        """
        listed = self._connection.read("list containers", lambda api: api.containers(all=True))
        ids = {str(each["Id"]) for each in listed}
        self._cache.keep_only({"images", "networks", *ids})
        self._rows.keep_only(ids)
        containers = tuple(one for each in listed if (one := self._rows.container(each)) is not None)
        self._owned = frozenset(each.id for each in containers if each.identity is not None)
        return Engine(
            containers=containers,
            images=self._cache.get("images", None, lambda: tuple(map(values.image_from, self._list_images()))),
            networks=self._cache.get("networks", None, lambda: tuple(map(values.network_from, self._list_networks()))),
        )

    def image_id(self, name: str) -> str | None:
        """The id of the image that has this name (or id); None where there is none."""
        raw = self._inspect_image(name)
        return None if raw is None else str(raw["Id"])

    def container_logs(
        self, container: str, *, follow: bool = False, tail: int | None = None, since: float | None = None
    ) -> Iterator[tuple[values.LogStream, float, bytes]]:
        """What a container said: (stream, Unix seconds, bytes) per message, oldest first.

        `tail` is the number of last lines, `since` Unix seconds. Ends when the container or the engine stops;
        raises `EngineConflict` where there is no such container.
        """
        params: dict[str, str | int] = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)}
        params["tail"] = "all" if tail is None else tail
        if since is not None:
            params["since"] = f"{since:.9f}"
        with self._connection.log_chunks(container, params) as chunks:
            yield from values.log_messages(chunks)

    # ---- what may have changed --------------------------------------------------------------

    def event_stream(self, *, since_s: int) -> EventStream:
        """The engine's events from `since_s` (Unix seconds) on, those in `EVENTS` only.

        Ends without an error when the engine stops. `close()` on it, from any thread, ends it.
        """
        names = sorted({name for each in EVENTS.values() for name in each})
        return self._connection.events(since_s=since_s, filters={"type": list(EVENTS), "event": names})

    def attach_events(self) -> None:
        """A stream of events is being read: from now on answers may be remembered."""
        self._cache.enable()

    def detach_events(self) -> None:
        """No stream is being read: nothing is remembered."""
        self._cache.disable()

    def forget_cache(self) -> None:
        """The next look asks everything anew."""
        self._cache.forget_all()

    def forget_container(self, container_id: str) -> None:
        """The next look inspects this container anew."""
        self._rows.forget(container_id)

    def await_end(self, container_id: str) -> None:
        """Return once the end of a container is on record: the engine tells of it before it has tidied up,
        and answers no question about the container meanwhile.
        """
        with contextlib.suppress(GitsteadError):
            self._inspect(container_id)

    def forget_images(self) -> None:
        """The next look lists images anew. To be called after a build: older engines announce none of BuildKit's."""
        self._cache.forget("images")

    def forget_networks(self) -> None:
        """The next look lists networks anew."""
        self._cache.forget("networks")

    # ---- writes -----------------------------------------------------------------------------

    def create_network(self, name: str, project_name: str) -> str:
        """The id of the project's bridge of that name, made with a free /27 of the pool if it is missing.

        Raises `NotOurs` where the name is somebody else's, `EngineRefused` where the pool is used up.
        """
        found = self._inspect_network(name)
        if found is not None:
            self._require_ours(f"network {name}", found.get("Labels"))
            return str(found["Id"])
        used = [subnet for each in self._list_networks() for subnet in values.subnets_of(each)]
        free = values.free_subnets(self._network_pool, used, seed=zlib.crc32(name.encode()))
        for subnet in itertools.islice(free, _POOL_TRIES):
            made = self._try_network(name, project_name, subnet)
            if made is not None:
                self.forget_networks()
                return made
        raise EngineRefused(
            f"network pool {self._network_pool} has no free /27 for network {name}",
            expected="a free subnet for each project",
            remedy="Remove unused networks, or give the platform a larger network pool",
        )

    def create_container(self, wanted: CreateContainer, secrets: Mapping[str, str] | None = None) -> str:
        """The id of the container that `wanted` describes, created and not started.

        `secrets` are variables in plain text, beside those of `wanted.run.env`; only the engine is told them.
        A stopped leftover of ours with that name is replaced; one that already runs as wanted is kept.
        Raises `NotOurs` where the name is somebody else's, `EngineRefused` for what the engine will not do.
        """
        name = wanted.identity.container_name
        config = values.container_config(wanted, secrets or {})

        def create(api: Api) -> str:
            made = api.create_container_from_config(config, name)  # type: ignore[no-untyped-call]
            return str(made["Id"])

        try:
            container_id = self._connection.write("create container", create)
        except EngineConflict:
            running = self._make_way(name, wanted)
            if running is not None:
                return running
            container_id = self._connection.write("create container", create)
        self._owned |= {container_id}
        self._rows.made(container_id, config)
        return container_id

    def start(self, container: str) -> None:
        """Start a container of ours, by id or name; one that runs stays as it is, a paused one goes on.

        Raises `PortTaken` where the leased port is in use, `EngineRefused` where it cannot start, `EngineConflict`
        where it is gone. A container that has never run is removed then, since it would hold its name.
        """
        container_id = self._owned_id(container)
        if container_id is None:
            raise engine_errors.gone(container)
        try:
            self._connection.write("start container", lambda api: api.start(container_id))
        except EngineUnavailable:
            raise
        except GitsteadError as error:
            self._after_failed_start(container_id, error)
        finally:
            self.forget_container(container_id)

    def stop(self, container: str, grace_s: float) -> None:
        """Stop a container of ours: SIGTERM, SIGKILL after `grace_s`. Stopped or gone already is success."""
        self._end_owned(container, "stop container", lambda api, each: api.stop(each, timeout=math.ceil(grace_s)))

    def remove(self, container: str) -> None:
        """Remove a container of ours, running or not; its volumes stay. Gone already is success."""
        self._end_owned(container, "remove container", lambda api, each: api.remove_container(each, force=True))

    def set_restart_policy(self, container: str, policy: str) -> None:
        """Set `no`, `unless-stopped`, `always` or `on-failure:N` on a container of ours.

        Raises `EngineConflict` where the container is gone: nobody may believe that the policy holds.
        """
        wanted: Any = values.policy_json(policy)
        if not self._end_owned(
            container, "set restart policy", lambda api, each: api.update_container(each, restart_policy=wanted)
        ):
            raise engine_errors.gone(container)

    def remove_network(self, name: str) -> None:
        """Remove a network of ours. Gone already is success; raises `EngineConflict` while it is in use."""
        found = self._inspect_network(name)
        if found is not None:
            self._require_ours(f"network {name}", found.get("Labels"))
            self._connection.end("remove network", lambda api: api.remove_network(found["Id"]))
            self.forget_networks()

    def remove_image(self, image: str) -> None:
        """Remove an image of ours by name or id. Gone already is success.

        By id, our names are taken away, and the image goes unless somebody else named it too. Raises
        `EngineConflict` while a container uses it, `NotOurs` for a name that is not of our form: an image that
        somebody built upon one of ours inherits its labels.
        """
        found = self._inspect_image(image)
        if found is None:
            return
        self._require_our_image(image, found)
        names = [image]
        if image == found["Id"]:
            tags = list(found.get("RepoTags") or ())
            names = [tag for tag in tags if values.is_our_image_name(tag, self.instance)] if tags else names
        if not names or not (image == found["Id"] or values.is_our_image_name(image, self.instance)):
            raise self._not_ours(f"image {image}", None)
        for name in names:
            self._remove_image_name(name)
        self.forget_images()

    # ---- whose is it ------------------------------------------------------------------------

    def _is_ours(self, labels: Mapping[str, str] | None) -> bool:
        return (labels or {}).get(naming.LABEL_INSTANCE) == self.instance

    def _is_our_container(self, labels: Mapping[str, str] | None) -> bool:
        """All labels count: a container that a person runs from an image of ours inherits the image's."""
        return values.identity_from(labels, self.instance) is not None

    def _require_ours(self, thing: str, labels: Mapping[str, str] | None) -> None:
        if not self._is_ours(labels):
            raise self._not_ours(thing, labels)

    def _require_our_container(self, container: str, raw: values.Json) -> None:
        labels = raw["Config"].get("Labels")
        if not self._is_our_container(labels):
            raise self._not_ours(f"container {container}", labels)

    def _require_our_image(self, name: str, raw: values.Json) -> None:
        self._require_ours(f"image {name}", (raw.get("Config") or {}).get("Labels"))

    def _not_ours(self, thing: str, labels: Mapping[str, str] | None) -> NotOurs:
        found = (labels or {}).get(naming.LABEL_INSTANCE, "")
        carries = "not all labels that Gitstead gives" if found == self.instance else f"the label of instance {found}"
        return NotOurs(
            f"{thing} carries {carries if found else 'no label of Gitstead'}",
            expected=f"label {naming.LABEL_INSTANCE}={self.instance} as this instance writes it",
            remedy="It was left alone; rename or remove it yourself if it is in the way",
        )

    def _owned_id(self, container: str) -> str | None:
        """The id of a container that is proven ours (labels never change); None where it is gone."""
        if container in self._owned:
            return container
        raw = self._inspect(container)
        if raw is None:
            return None
        self._require_our_container(container, raw)
        return str(raw["Id"])

    def _end_owned(self, container: str, doing: str, change: Callable[[Api, str], object]) -> bool:
        """Do `change` to a container of ours; False where it is gone."""
        container_id = self._owned_id(container)
        if container_id is None:
            return False
        try:
            return self._connection.end(doing, lambda api: change(api, container_id))
        finally:
            self.forget_container(container_id)

    def _make_way(self, name: str, wanted: CreateContainer) -> str | None:
        """Remove a stopped leftover of ours that holds `name`; the id where it runs as wanted already."""
        raw = self._inspect(name)
        if raw is None:
            return None
        self._require_our_container(name, raw)
        if raw["State"]["Status"] in ("created", "exited", "dead"):
            self._discard(str(raw["Id"]))
            return None
        if values.identity_from(raw["Config"]["Labels"], self.instance) == wanted.identity:
            return str(raw["Id"])
        raise EngineConflict(
            f"container {name} runs already with other labels than wanted",
            expected="the name to be free",
            remedy="The next pass looks again",
        )

    def _after_failed_start(self, container_id: str, error: GitsteadError) -> None:
        """Wake a paused container; else free the name of one that never ran, and raise the error."""
        raw = self._inspect(container_id)
        if raw is None:
            raise error
        if raw["State"].get("Paused"):
            self._connection.write("unpause container", lambda api: api.unpause(container_id))
            return
        if raw["State"]["Status"] == "created":
            self._discard(container_id)
        if isinstance(error, PortTaken) and not error.port:
            raise PortTaken(next(values.bound_ports(raw["HostConfig"]), 0)) from error.__cause__
        raise error

    def _discard(self, container_id: str) -> None:
        self._connection.end("remove container", lambda api: api.remove_container(container_id, force=True))
        self.forget_container(container_id)

    def _remove_image_name(self, name: str) -> None:
        self._connection.end("remove image", lambda api: api.remove_image(name))

    def _try_network(self, name: str, project_name: str, subnet: str) -> str | None:
        """The id of the new network; None where somebody else took the subnet meanwhile."""
        labels = {naming.LABEL_INSTANCE: self.instance, naming.LABEL_PROJECT: project_name}
        ipam: Any = values.ipam_json(subnet)
        try:
            made = self._connection.write(
                "create network", lambda api: api.create_network(name, driver="bridge", ipam=ipam, labels=labels)
            )
        except EngineRefused as error:
            if "overlap" not in error.what.lower():
                raise
            return None
        return str(made["Id"])

    # ---- reading single things --------------------------------------------------------------

    def _inspect(self, container: str) -> Any:
        return self._connection.find("inspect container", lambda api: api.inspect_container(container))

    def _inspect_image(self, image: str) -> Any:
        return self._connection.find("inspect image", lambda api: api.inspect_image(image))  # type: ignore[no-untyped-call]

    def _inspect_network(self, name: str) -> Any:
        found: Any = self._connection.find("inspect network", lambda api: api.inspect_network(name))
        return found if found is not None and found["Name"] == name else None

    def _list_images(self) -> Any:
        return self._connection.read("list images", lambda api: api.images())

    def _list_networks(self) -> Any:
        return self._connection.read("list networks", lambda api: api.networks())
