"""The route document: what it holds, what it refuses, and that equal wishes give equal documents."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from reconciler.model.host import Host
from reconciler.plan.routes import UNAVAILABLE_PAGE, document_digest, route_document

HOST = Host("abc123", "/var/lib/gitstead/upstreams", "t0ken")
BLOG = ("blog.example.com", "blog")
SHOP = ("shop.example.com", "shop")


def handlers(part: Any) -> dict[str, dict[str, Any]]:
    """Every handler of the document by its kind, however deep."""
    found: dict[str, dict[str, Any]] = {}
    for handler in part.get("handle", ()):
        found[handler["handler"]] = handler
        for route in handler.get("routes", ()):
            found |= handlers(route)
    return found


def test_the_document_carries_the_id_of_the_instance() -> None:
    """A PATCH without `@id` drops it, so it is in the body itself."""
    assert route_document(HOST, [BLOG])["@id"] == "gitstead-abc123"


def test_a_host_is_mapped_to_its_projects_upstream_file() -> None:
    mapped = handlers(route_document(HOST, [BLOG]))["map"]["mappings"]
    assert mapped == [
        {"input": "blog.example.com", "outputs": ["blog", "{file./var/lib/gitstead/upstreams/blog/current}"]}
    ]


def test_several_hosts_of_one_project_name_the_same_file() -> None:
    mapped = handlers(route_document(HOST, [BLOG, ("www.example.com", "blog")]))["map"]["mappings"]
    assert len({mapping["outputs"][1] for mapping in mapped}) == 1


def test_the_order_of_hosts_does_not_matter() -> None:
    assert route_document(HOST, [SHOP, BLOG]) == route_document(HOST, (BLOG, SHOP))


def test_the_digest_survives_the_way_to_caddy_and_back() -> None:
    document = route_document(HOST, [BLOG, SHOP])
    assert document_digest(json.loads(json.dumps(document))) == document_digest(document)


def test_the_digest_changes_with_hosts_projects_folder_and_token() -> None:
    others = [
        route_document(HOST, [BLOG]),
        route_document(HOST, [BLOG, SHOP]),
        route_document(HOST, [(BLOG[0], "shop"), SHOP]),
        route_document(replace(HOST, upstreams_folder="/srv/u"), [BLOG]),
        route_document(replace(HOST, verify_token="other"), [BLOG]),
        route_document(replace(HOST, instance="zzz999"), [BLOG]),
    ]
    assert len({document_digest(each) for each in others}) == len(others)


def test_no_option_of_a_single_project_is_on_the_shared_route() -> None:
    """One dead app behind passive health or a limit would answer 503 for all (design, Routes)."""
    proxy = handlers(route_document(HOST, [BLOG, SHOP]))["reverse_proxy"]
    assert set(proxy) == {"handler", "upstreams", "stream_close_delay", "headers"}
    assert proxy["stream_close_delay"] == "1h"
    assert proxy["upstreams"] == [{"dial": "{http.vars.gitstead_dial}"}]


def test_no_port_is_in_the_document() -> None:
    """A deployment changes a file, never the configuration."""
    assert "127.0.0.1" not in json.dumps(route_document(HOST, [BLOG, SHOP]))


def test_without_hosts_there_is_still_a_document() -> None:
    assert handlers(route_document(HOST, []))["map"]["mappings"] == []


def test_the_page_holds_no_placeholder_but_the_projects_name() -> None:
    """Braces in a body are expanded by Caddy (trap 12)."""
    assert set(UNAVAILABLE_PAGE.replace("{gitstead_project}", "")).isdisjoint("{}")


@pytest.mark.parametrize(
    "name",
    [
        "{env.HOME}.example.com",
        "{file./etc/passwd}",
        "a}b",
        "blog.example.com\n",
        "blog\n.example.com",
        "Blog.example.com",
        "blog.example.com.",
        ".example.com",
        "blog..example.com",
        "-blog.example.com",
        "blog example.com",
        "blog.example.com:80",
        "*.example.com",
        "blög.example.com",
        "",
        "a" * 254,
    ],
)
def test_a_host_name_that_caddy_would_interpret_is_refused(name: str) -> None:
    """Traps 11 and 12: Caddy accepts nonsense and expands braces."""
    with pytest.raises(ValueError, match="host name"):
        route_document(HOST, [(name, "blog")])


@pytest.mark.parametrize("project", ["../blog", "blog/../x", "{file.x}", "Blog", "", "b", "blog\n", "a" * 41])
def test_a_project_name_that_leaves_its_folder_is_refused(project: str) -> None:
    with pytest.raises(ValueError, match="project name"):
        route_document(HOST, [("blog.example.com", project)])


def test_a_host_given_twice_is_refused() -> None:
    """Caddy would refuse the whole configuration, not just the second one (trap 11)."""
    with pytest.raises(ValueError, match="twice"):
        route_document(HOST, [BLOG, (BLOG[0], "shop")])


@pytest.mark.parametrize("folder", ["relative", "/a{b}", "/a\nb", "/a\\b", ""])
def test_an_upstreams_folder_that_a_placeholder_cannot_hold_is_refused(folder: str) -> None:
    with pytest.raises(ValueError, match="upstreams folder"):
        route_document(replace(HOST, upstreams_folder=folder), [BLOG])


@pytest.mark.parametrize("token", ["", "*", "t*", "{env.HOME}", "a b"])
def test_a_token_that_is_no_plain_word_is_refused(token: str) -> None:
    """A star or an empty one would let everybody learn which port serves an app."""
    with pytest.raises(ValueError, match="verify token"):
        route_document(replace(HOST, verify_token=token), [BLOG])
