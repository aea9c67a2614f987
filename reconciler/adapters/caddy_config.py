"""Where our part lies in a Caddy configuration, and the one write that puts it right.

Called by `caddy_admin` and `caddy_process`. Pure: takes the configuration as Caddy returns it and
never changes what it was given. It must not alter anything foreign: what is not ours goes back as it came.

Our part is one route with `@id gitstead-<instance>`. It is last in the server that listens on our
address already; else it is in a server of our own, followed by a 404 for every other host (Caddy
itself answers an unknown host with 200 and nothing).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.errors import NotOurs
from reconciler.model.naming import caddy_id, digest
from reconciler.model.observed import Routes

Config = dict[str, Any]

NOT_FOUND_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Nothing is published here</title></head>
<body style="font:1.1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem">
<h1>Nothing is published at this address</h1>
<p>This server is up, but no project answers to this host name. Check the spelling.</p>
<p>If you look after it: <code>gitstead status</code> lists every address, and the key
<code>domains</code> of a project's file adds one.</p>
</body></html>
"""

_LISTEN = re.compile(r"(?:tcp[46]?/)?(?P<host>\[[^\]]*\]|[^:/]*):(?P<first>[0-9]+)(?:-(?P<last>[0-9]+))?\Z")
_EVERYWHERE = frozenset({"", "0.0.0.0", "[::]"})  # noqa: S104 - addresses to recognise, not to bind
_OTHER_INSTANCE = re.compile(r"gitstead-[a-z0-9]{6}\Z")


@dataclass(frozen=True)
class Write:
    """One request to the admin API. `binds` is set where it makes Caddy listen on our address anew."""

    method: str
    path: str
    body: Any = None
    binds: bool = False


@dataclass(frozen=True)
class Place:
    """Who we are and where apps' visitors come in."""

    instance: str
    host: str
    port: int

    @property
    def route_id(self) -> str:
        return caddy_id(self.instance)

    @property
    def rest_id(self) -> str:
        """The `@id` of the 404 behind our route."""
        return caddy_id(self.instance, "rest")

    @property
    def server_name(self) -> str:
        """The name of a server of our own."""
        return caddy_id(self.instance)

    @property
    def address(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def observed_routes(config: Config | None, place: Place) -> Routes:
    """What of ours Caddy has, and what others claim beside it.

    The digest is that of our route; where our own server around it was changed, another one.
    """
    servers = _servers(config)
    name = _target(servers, place)
    ours = _routes(servers.get(name, {})) if name else []
    document = next((route for route in ours if _id(route) == place.route_id), None)
    elsewhere = _hosts([route for route in ours if not _is_ours(route, place)])
    if document is None or name is None:
        return Routes("", hosts_elsewhere=elsewhere)
    damaged = name == place.server_name and servers[name] != own_server(place, document, servers[name])
    seen = digest(["server changed", servers[name]] if damaged else document)
    return Routes(seen, hosts=_mapped_hosts(document), hosts_elsewhere=elsewhere)


def write_for(config: Config | None, place: Place, *, document: Config, admin: Config) -> Write | None:
    """The write after which `document` is our part; None where it is so already.

    `admin` is used where the configuration has none: without it Caddy would move the admin API to
    an open TCP port. Raises `NotOurs` where our address is served for another instance.
    """
    servers = _servers(config)
    target = _target(servers, place)
    _refuse_other_instance(target, place)
    wanted = _with_ours(servers, place, document=document, target=target or place.server_name)
    if _has_admin(config):
        if wanted == servers:
            return None
        if _without_content(wanted, place) == _without_content(servers, place):
            return Write("PATCH", f"/id/{place.route_id}", document)
    return _write_servers(config, wanted, admin=admin, binds=target is None)


def removal_for(config: Config | None, place: Place, *, admin: Config) -> Write | None:
    """The write that takes our part out; None where there is none."""
    servers = _servers(config)
    without = _without_ours(servers, place)
    if without == servers:
        return None
    return _write_servers(config, without, admin=admin, binds=False)


def own_server(place: Place, document: Config, found: Mapping[str, Any]) -> Config:
    """Our own server around `document`; routes and keys that others put into it stay, before ours."""
    foreign = [route for route in _routes(found) if not _is_ours(route, place)]
    return {
        **found,
        "listen": [place.address],
        "automatic_https": {"disable": True},
        "routes": [*foreign, document, _not_found(place)],
    }


def _not_found(place: Place) -> Config:
    answer = {
        "handler": "static_response",
        "status_code": 404,
        "headers": {"Content-Type": ["text/html; charset=utf-8"], "Cache-Control": ["no-store"]},
        "body": NOT_FOUND_PAGE,
    }
    return {"@id": place.rest_id, "handle": [answer]}


def _with_ours(servers: Config, place: Place, *, document: Config, target: str) -> Config:
    found = servers.get(target, {})
    if target == place.server_name:
        wanted = own_server(place, document, found)
    elif any(_id(route) == place.route_id for route in _routes(found)):
        wanted = {**found, "routes": [document if _id(each) == place.route_id else each for each in _routes(found)]}
    else:
        wanted = {**found, "routes": [*_routes(found), document]}
    others = {name: server for name, server in servers.items() if name != target}
    return _without_ours(others, place) | {target: wanted}


def _without_ours(servers: Config, place: Place) -> Config:
    """The servers without our routes; our own server goes, unless others have put routes into it."""
    kept: Config = {}
    for name, server in servers.items():
        routes = [route for route in _routes(server) if not _is_ours(route, place)]
        if name == place.server_name and not routes:
            continue
        kept[name] = server if len(routes) == len(_routes(server)) else {**server, "routes": routes}
    return kept


def _without_content(servers: Config, place: Place) -> Config:
    """The servers with our route reduced to its `@id`: equal where everything around it is equal."""
    return {
        name: {
            **server,
            "routes": [{"@id": place.route_id} if _id(each) == place.route_id else each for each in _routes(server)],
        }
        for name, server in servers.items()
    }


def _write_servers(config: Config | None, servers: Config, *, admin: Config, binds: bool) -> Write:
    """Replace all servers, by the shortest path whose parent exists."""
    if config is None or not _has_admin(config):
        root = config or {}
        apps = root.get("apps") or {}
        http = (apps.get("http") or {}) | {"servers": servers}
        return Write("POST", "/config/", {**root, "admin": admin, "apps": {**apps, "http": http}}, binds)
    if not servers:
        return Write("DELETE", "/config/apps/http/servers")
    apps = config.get("apps")
    if not apps:
        return Write("POST", "/config/apps", {"http": {"servers": servers}}, binds)
    if not apps.get("http"):
        return Write("POST", "/config/apps/http", {"servers": servers}, binds)
    return Write("POST", "/config/apps/http/servers", servers, binds)


def _target(servers: Config, place: Place) -> str | None:
    """The server that visitors of our address reach: our own by name, or one that listens there."""
    listening = [name for name, server in servers.items() if _listens(server, place)]
    foreign = [name for name in listening if name != place.server_name]
    return foreign[0] if foreign else next(iter(listening), None)


def _listens(server: Mapping[str, Any], place: Place) -> bool:
    return any(_covers(str(address), place) for address in server.get("listen") or ())


def _covers(address: str, place: Place) -> bool:
    match = _LISTEN.match(address)
    if match is None:
        return False
    first = int(match["first"])
    if not first <= place.port <= int(match["last"] or first):
        return False
    host = "127.0.0.1" if match["host"] == "localhost" else match["host"]
    return host in _EVERYWHERE or f"{host}:{place.port}" == place.address


def _refuse_other_instance(target: str | None, place: Place) -> None:
    if target is not None and target != place.server_name and _OTHER_INSTANCE.match(target):
        raise NotOurs(
            f"{place.address} is served for another Gitstead, {target}",
            expected=f"a Caddy with {place.server_name}, without a server on that address, or with somebody's own",
            remedy="Give each Gitstead its own admin socket and port in host.yaml",
        )


def _servers(config: Config | None) -> Config:
    http = ((config or {}).get("apps") or {}).get("http") or {}
    servers: Config = http.get("servers") or {}
    return servers


def _has_admin(config: Config | None) -> bool:
    return bool(((config or {}).get("admin") or {}).get("listen"))


def _routes(server: Mapping[str, Any]) -> list[Config]:
    return server.get("routes") or []


def _id(route: Mapping[str, Any]) -> object:
    return route.get("@id")


def _is_ours(route: Mapping[str, Any], place: Place) -> bool:
    return _id(route) in (place.route_id, place.rest_id)


def _hosts(routes: list[Config]) -> frozenset[str]:
    return frozenset(
        str(host).lower()
        for route in routes
        for matcher in route.get("match") or ()
        for host in matcher.get("host") or ()
    )


def _mapped_hosts(document: Config) -> tuple[tuple[str, str], ...]:
    """The (host, project) pairs of our route, as far as it still has the form that we gave it."""
    handlers = [
        inner
        for outer in document.get("handle") or ()
        for route in outer.get("routes") or ()
        for inner in route.get("handle") or ()
    ]
    return tuple(
        (str(mapping.get("input", "")), str((mapping.get("outputs") or [""])[0]))
        for handler in handlers
        if handler.get("handler") == "map"
        for mapping in handler.get("mappings") or ()
    )
