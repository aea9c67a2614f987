"""Which host ports are leased, and which one is next.

Used by the passes that create containers; pure. A lease is not a row: it is a container of
the engine that publishes the port (stopped ones included) or an upstream file that names it.
"""

from __future__ import annotations

from collections import Counter

from reconciler.model.host import Host
from reconciler.model.observed import Observed


class Ports:
    """Hands out ports during one planning pass; no port twice, none that is leased or listened on."""

    def __init__(self, host: Host, observed: Observed) -> None:
        self._range = range(host.ports[0], host.ports[1] + 1)
        self._named = Counter(observed.upstreams.values())
        self._in_use = _published(host, observed) | observed.listening | observed.reserved

    def lease(self) -> int | None:
        """The lowest free port, None where the whole range is in use."""
        port = next((each for each in self._range if self._is_free(each)), None)
        return self._give(port)

    def lease_again(self, named: int | None) -> int | None:
        """`named`, the port of the project's own upstream file, where nobody else uses or names it; else another."""
        if named is not None and named in self._range and named not in self._in_use and self._named[named] == 1:
            return self._give(named)
        return self.lease()

    def _is_free(self, port: int) -> bool:
        return port not in self._in_use and port not in self._named

    def _give(self, port: int | None) -> int | None:
        if port is not None:
            self._in_use.add(port)
        return port


def _published(host: Host, observed: Observed) -> set[int]:
    """What containers publish, and what the labels of ours say that they will."""
    ports: set[int] = set()
    for container in observed.engine.containers if observed.engine else ():
        ports.update(container.host_ports)
        if container.identity is not None and container.identity.instance == host.instance:
            ports.add(container.identity.port)
    return ports
