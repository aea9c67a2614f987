"""Turns the rows of the engine's list of containers into values, and asks about a container only what it must.

Used by `docker_engine` alone. The engine answers no question about a container while it starts it or tidies up
after its end, a quarter of a second as a rule: a look that asked would keep every project waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from reconciler.adapters import engine_values as values
from reconciler.adapters.engine_cache import EngineCache
from reconciler.model.observed import Container


class ContainerRows:
    """`inspect` gives the engine's word on one container, None where it is gone. Safe from any thread."""

    def __init__(self, cache: EngineCache, instance: str, inspect: Callable[[str], values.Json | None]) -> None:
        self._cache, self._instance, self._inspect = cache, instance, inspect
        self._made: dict[str, values.Inspected] = {}

    def container(self, listed: values.Json) -> Container | None:
        """The container of a row; None where it is gone by now."""

        def load() -> Container | None:
            inspected = self._inspected(listed)
            return None if inspected is None else values.container_from(listed, inspected, self._instance)

        return self._cache.get(str(listed["Id"]), values.marker_of(listed), load)

    def made(self, container_id: str, config: values.Json) -> None:
        """We have just made it like this: until it is started, that is all there is to know."""
        self._made[container_id] = values.inspected_from(config)

    def forget(self, container_id: str) -> None:
        """It may have changed: what it is like now is asked."""
        self._made.pop(container_id, None)
        self._cache.forget(container_id)

    def keep_only(self, container_ids: Collection[str]) -> None:
        for gone in set(self._made) - set(container_ids):
            self._made.pop(gone, None)

    def _inspected(self, listed: values.Json) -> values.Inspected | None:
        container_id, state = str(listed["Id"]), listed.get("State")
        made = self._made.get(container_id)
        if made is not None and state == "created":
            return made
        if state in ("running", "paused") and values.identity_from(listed.get("Labels"), self._instance) is None:
            return values.NOT_INSPECTED
        raw = self._inspect(container_id)
        return None if raw is None else values.inspected_from(raw)
