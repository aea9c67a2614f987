"""Where our part goes in a configuration, told from plain values."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.adapters.caddy_config import NOT_FOUND_PAGE, Place, observed_routes, own_server, removal_for, write_for
from reconciler.errors import NotOurs
from reconciler.model.naming import digest

PLACE = Place("abc123", "127.0.0.1", 8680)
DOCUMENT: dict[str, Any] = {"@id": "gitstead-abc123", "handle": []}
ADMIN = {"listen": "unix//tmp/s|0600"}


def configuration(**servers: Any) -> dict[str, Any]:
    return {"admin": ADMIN, "apps": {"http": {"servers": servers}}}


def target(config: dict[str, Any] | None) -> str:
    """The server into which our route would be put."""
    write = write_for(config, PLACE, document=DOCUMENT, admin=ADMIN)
    assert write is not None
    body = write.body
    for key in ("apps", "http", "servers"):
        body = body.get(key, body)
    return next(name for name, server in body.items() if DOCUMENT in server.get("routes", ()))


@pytest.mark.parametrize(
    "address",
    [":8680", "127.0.0.1:8680", "0.0.0.0:8680", "[::]:8680", "localhost:8680", "tcp/:8680", "tcp4/:8000-9000"],
)
def test_a_server_that_covers_our_address_is_joined(address: str) -> None:
    assert target(configuration(theirs={"listen": [":1", address]})) == "theirs"


@pytest.mark.parametrize(
    "address", [":8681", "10.0.0.1:8680", "udp/:8680", "unix//x:8680", ":8000-8679", "{env.ADDRESS}", "8680", ""]
)
def test_a_server_elsewhere_is_not_joined(address: str) -> None:
    assert target(configuration(theirs={"listen": [address]})) == "gitstead-abc123"


@pytest.mark.parametrize("listen", [None, []])
def test_a_server_without_an_address_is_not_joined(listen: object) -> None:
    assert target(configuration(theirs={"listen": listen})) == "gitstead-abc123"


def test_an_ipv6_address_is_written_as_caddy_wants_it() -> None:
    assert own_server(Place("abc123", "::1", 80), DOCUMENT, {})["listen"] == ["[::1]:80"]


@pytest.mark.parametrize(
    "config",
    [None, {}, {"admin": ADMIN}, {"admin": ADMIN, "apps": {}}, {"admin": ADMIN, "apps": {"http": {}}}, {"apps": None}],
)
def test_every_kind_of_empty_configuration_gets_a_server_of_ours(config: dict[str, Any] | None) -> None:
    assert target(config) == "gitstead-abc123"


def test_a_configuration_without_admin_is_written_whole_and_with_one() -> None:
    """Trap 6: any narrower write would move the admin API to an open port."""
    theirs = {"listen": [":1"], "routes": []}
    config = {
        "apps": {"http": {"servers": {"theirs": theirs}, "grace_period": 5}, "tls": {"x": 1}},
        "storage": {"y": 2},
    }
    write = write_for(config, PLACE, document=DOCUMENT, admin=ADMIN)
    assert write is not None
    assert write.path == "/config/"
    assert write.body["admin"] == ADMIN
    assert write.body["storage"] == {"y": 2}
    assert write.body["apps"]["tls"] == {"x": 1}
    assert write.body["apps"]["http"]["grace_period"] == 5
    assert write.body["apps"]["http"]["servers"]["theirs"] == theirs


def test_only_what_is_ours_is_sent_when_only_that_differs() -> None:
    old = {**DOCUMENT, "handle": [1]}
    for config in (
        configuration(theirs={"listen": [":8680"], "routes": [{"x": 1}, old, {"y": 2}]}),
        configuration(**{"gitstead-abc123": own_server(PLACE, old, {})}),
    ):
        write = write_for(config, PLACE, document=DOCUMENT, admin=ADMIN)
        assert write is not None
        assert (write.method, write.path, write.body) == ("PATCH", "/id/gitstead-abc123", DOCUMENT)


def test_what_was_given_is_never_changed() -> None:
    config = configuration(theirs={"listen": [":8680"], "routes": [{"x": 1}]})
    before = digest(config)
    write_for(config, PLACE, document=DOCUMENT, admin=ADMIN)
    removal_for(config, PLACE, admin=ADMIN)
    observed_routes(config, PLACE)
    assert digest(config) == before


def test_our_own_server_makes_way_for_somebodys_on_our_address() -> None:
    config = configuration(
        **{"gitstead-abc123": {"listen": ["127.0.0.1:1"], "routes": [DOCUMENT]}}, theirs={"listen": [":8680"]}
    )
    write = write_for(config, PLACE, document=DOCUMENT, admin=ADMIN)
    assert write is not None
    assert write.body == {"theirs": {"listen": [":8680"], "routes": [DOCUMENT]}}
    assert not write.binds


def test_another_instances_server_is_refused() -> None:
    with pytest.raises(NotOurs, match="gitstead-zzz999"):
        write_for(configuration(**{"gitstead-zzz999": {"listen": [":8680"]}}), PLACE, document=DOCUMENT, admin=ADMIN)


def test_hosts_of_foreign_routes_are_seen_in_lower_case() -> None:
    routes = [{"match": [{"host": ["A.example.com"]}, {"path": ["/x"]}]}, {"handle": []}, {"match": []}, DOCUMENT]
    seen = observed_routes(configuration(theirs={"listen": [":8680"], "routes": routes}), PLACE)
    assert seen.hosts_elsewhere == frozenset({"a.example.com"})
    assert seen.digest == digest(DOCUMENT)


@pytest.mark.parametrize(
    "handle", [[], [{"handler": "x"}], [{"routes": [{"handle": [{"handler": "map", "mappings": [{}]}]}]}]]
)
def test_a_route_that_somebody_bent_out_of_shape_is_still_read(handle: list[object]) -> None:
    bent = {"@id": "gitstead-abc123", "handle": handle}
    seen = observed_routes(configuration(theirs={"listen": [":8680"], "routes": [bent]}), PLACE)
    assert seen.digest == digest(bent)


def test_the_404_page_holds_no_placeholder() -> None:
    """Trap 12."""
    assert set(NOT_FOUND_PAGE).isdisjoint("{}")
