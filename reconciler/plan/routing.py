"""Which hosts Caddy should route to whom, and whether our part of its configuration says so.

One pass of `planner` for the platform as a whole; pure. A project is routed from its first
upstream file on: never before it, since a missing file is a 502. A file that is lost later is
written again; the route stays, since each change of Caddy's configuration cuts connections.
"""

from __future__ import annotations

from reconciler.model.observed import Routes
from reconciler.model.operation import PLATFORM, Cause, PutRoutes
from reconciler.plan.routes import document_digest, is_host_name, route_document
from reconciler.plan.view import World

Hosts = tuple[tuple[str, str], ...]


def wanted_hosts(world: World, gone: frozenset[str]) -> Hosts:
    """(host, project) pairs, sorted. `gone` are projects whose removal was not held by a gate.

    A project whose spec cannot be read, and one whose removal waits, keeps the hosts it has.
    """
    pairs: dict[str, str] = {}
    found = world.observed.routes.hosts if world.observed.routes else ()
    routed = {project_name for _, project_name in found if world.history.of(project_name).live is not None}
    for project in world.desired.projects:
        if project.name in world.observed.upstreams or project.name in routed:
            pairs.update(dict.fromkeys(project.spec.domains, project.name))
    known = {project.name for project in world.desired.projects}
    for host, project_name in found:
        stays = project_name not in known and project_name not in gone and is_host_name(host)
        if stays and (project_name in world.observed.upstreams or project_name in routed):
            pairs.setdefault(host, project_name)
    return tuple(sorted(pairs.items()))


def route(world: World, gone: frozenset[str]) -> PutRoutes | None:
    """The one operation that makes Caddy's routes ours again; None where they are, or are Unknown."""
    found = world.observed.routes
    if found is None:
        return None
    hosts = wanted_hosts(world, gone)
    if not hosts and not found.digest:
        return None
    document = route_document(world.host, hosts)
    wanted = document_digest(document)
    if wanted == found.digest:
        return None
    return PutRoutes(
        project=PLATFORM,
        cause=_cause(found, hosts, moved=world.history.routes_digest == wanted),
        hosts=hosts,
        document=document,
        document_digest=wanted,
    )


def _cause(found: Routes, hosts: Hosts, *, moved: bool) -> Cause:
    added, dropped = set(hosts) - set(found.hosts), set(found.hosts) - set(hosts)
    if moved:
        if not found.digest:
            return Cause("drift", "Caddy has none of our routes")
        missing = ", ".join(sorted(host for host, _ in added))
        return Cause(
            "drift", f"route of {missing} was removed by hand" if missing else "our routes were edited by hand"
        )
    parts = [f"+{host}" for host, _ in sorted(added)] + [f"-{host}" for host, _ in sorted(dropped)]
    return Cause("change", " ".join(parts) or "route settings changed")
