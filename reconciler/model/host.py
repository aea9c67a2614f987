"""What planning must know of this host: who we are and what we may use.

Made once by `bootstrap` from settings and the state folder; never changes while we run.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """`instance` is the six characters that mark what is ours on an engine.

    `upstreams_folder` is where upstream files lie, as Caddy sees it. `ports` is the first and
    last leasable port. `verify_token` is what our own verifying requests carry.
    `http_port` is where Caddy listens for the apps' visitors. `builds` may run at once. Images of ours that
    nothing needs may take `disk_budget_bytes`.
    """

    instance: str
    upstreams_folder: str
    verify_token: str
    http_port: int = 80
    ports: tuple[int, int] = (20000, 29999)
    builds: int = 1
    disk_budget_bytes: int = 10 * 2**30
