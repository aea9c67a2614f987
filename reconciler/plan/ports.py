"""Which host ports are leased, and which one is next.

Used by the passes that create containers; pure. A lease is not a row: it is a container of
the engine that publishes the port (stopped ones included) or an upstream file that names it.
"""

from __future__ import annotations

from reconciler.model.host import Host
from reconciler.model.observed import Observed


class Ports:
    """Hands out ports during one planning pass; no port twice, none that is leased or listened on."""

    def __init__(self, host: Host, observed: Observed) -> None:
        self._range = range(host.ports[0], host.ports[1] + 1)
        published = {
            port
            for container in (observed.engine.containers if observed.engine else ())
            for port in container.host_ports
        }
        self._taken = published | set(observed.upstreams.values()) | observed.listening | observed.reserved

    def lease(self) -> int | None:
        """The lowest free port, None where the whole range is in use."""
        port = next((each for each in self._range if each not in self._taken), None)
        if port is not None:
            self._taken.add(port)
        return port
