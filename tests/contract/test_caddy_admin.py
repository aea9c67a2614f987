"""Our part of a real Caddy: compare-and-swap, foreign things untouched, the traps of its admin API."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.adapters.caddy_admin import CaddyAdmin
from reconciler.errors import CaddyRefused, CaddyUnavailable, NotOurs
from reconciler.model.naming import caddy_id
from reconciler.plan.routes import document_digest, route_document
from reconciler.resources import resource
from tests.caddy_support import TOKEN, Site, admin_request, free_port, get, new_site, wait_until

pytestmark = pytest.mark.real

BLOG = ("blog.localhost", "blog")
SHOP = ("shop.localhost", "shop")


@pytest.fixture
def site() -> Iterator[Site]:
    with new_site() as new:
        yield new


@pytest.fixture
def running(site: Site) -> Site:
    site.caddy.start()
    return site


def document(site: Site, *hosts: tuple[str, str]) -> dict[str, object]:
    return route_document(site.host, hosts)


def foreign_server(site: Site, *routes: dict[str, Any]) -> dict[str, Any]:
    """Somebody's own Caddy configuration, with a server on our address."""
    server = {"listen": [f":{site.caddy.port}"], "automatic_https": {"disable": True}, "routes": list(routes)}
    return {"apps": {"http": {"servers": {"theirs": server}}}}


def text_route(host: str, text: str) -> dict[str, Any]:
    return {"match": [{"host": [host]}], "handle": [{"handler": "static_response", "body": text}], "terminal": True}


# ---- put and look --------------------------------------------------------------------------


def test_a_fresh_caddy_has_nothing_of_ours_until_we_put_it(running: Site) -> None:
    admin = running.caddy.admin()
    assert admin.look().digest == ""
    wanted = document(running, BLOG, SHOP)
    assert admin.put(wanted)
    assert admin.look().digest == document_digest(wanted)
    assert admin.look().hosts == (BLOG, SHOP)


def test_putting_what_is_there_writes_nothing(running: Site) -> None:
    """Invariant 11: no write to Caddy, and last-good keeps its very file."""
    admin = running.caddy.admin()
    admin.put(document(running, BLOG))
    writes, kept = admin.writes, running.caddy.last_good.stat()
    assert not admin.put(document(running, BLOG))
    assert admin.look() == admin.look()
    assert admin.writes == writes
    assert running.caddy.last_good.stat().st_ino == kept.st_ino


def test_another_set_of_hosts_replaces_the_first_in_one_write(running: Site) -> None:
    admin = running.caddy.admin()
    admin.put(document(running, BLOG))
    before = admin.writes
    admin.put(document(running, SHOP))
    assert admin.writes == before + 1
    assert admin.look().hosts == (SHOP,)


def test_a_second_process_sees_the_same_digest(running: Site) -> None:
    wanted = document(running, BLOG)
    running.caddy.admin().put(wanted)
    assert running.caddy.admin().look().digest == document_digest(wanted)


def test_no_caddy_is_said_to_be_unavailable(site: Site) -> None:
    with pytest.raises(CaddyUnavailable, match="cannot be used"):
        site.caddy.admin().look()
    with pytest.raises(CaddyUnavailable):
        site.caddy.admin().put(document(site, BLOG))


def test_a_listener_that_says_nothing_is_unavailable(site: Site) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(site.caddy.socket))
        listener.listen(16)
        closer = threading.Thread(target=lambda: [listener.accept()[0].close() for _ in range(5)], daemon=True)
        closer.start()
        with pytest.raises(CaddyUnavailable, match="no answer"):
            site.caddy.admin().look()
        closer.join(5)


# ---- what visitors get ---------------------------------------------------------------------


def test_a_host_reaches_its_project_in_every_spelling(running: Site, app: Any) -> None:
    running.caddy.admin().put(document(running, BLOG, SHOP))
    running.upstreams.write("blog", app.port)
    port = running.caddy.port
    for spelling in ("blog.localhost", f"blog.localhost:{port}", f"BLOG.LocalHost:{port}", "blog.localhost."):
        answer = running.get(spelling)
        assert (answer.status, answer.text) == (200, "app"), spelling
    assert app.received[0]["host"] == "blog.localhost"
    assert app.received[0]["x-forwarded-host"] == "blog.localhost"
    assert app.received[0]["x-forwarded-proto"] == "http"


def test_an_unknown_host_gets_our_404(running: Site) -> None:
    """Trap 13: Caddy's own answer is 200 and nothing."""
    running.caddy.admin().put(document(running, BLOG))
    answer = running.get("unknown.localhost")
    assert answer.status == 404
    assert "Nothing is published at this address" in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_a_project_that_is_down_gets_a_page_with_its_name(running: Site, app: Any) -> None:
    running.caddy.admin().put(document(running, BLOG, SHOP))
    running.upstreams.write("blog", app.port)
    app.close()
    for host, project in ((BLOG[0], "blog"), (SHOP[0], "shop")):  # dead, and without a file
        answer = running.get(host)
        assert answer.status == 502
        assert f"{project} does not answer right now" in answer.text
        assert f"gitstead status {project}" in answer.text
        assert "127.0.0.1" not in answer.text


def test_an_answer_of_the_app_is_passed_on_even_where_it_is_an_error(running: Site, app: Any) -> None:
    running.caddy.admin().put(document(running, BLOG))
    running.upstreams.write("blog", app.port)
    answer = running.get("blog.localhost", "/status/503")
    assert (answer.status, answer.text) == (503, "app")


def test_only_the_token_makes_the_route_tell_its_upstream(running: Site, app: Any) -> None:
    running.caddy.admin().put(document(running, BLOG))
    running.upstreams.write("blog", app.port)
    told = running.get("blog.localhost", headers={"Gitstead-Verify": TOKEN})
    assert told.headers["gitstead-upstream"] == f"127.0.0.1:{app.port}"
    for headers in ({}, {"Gitstead-Verify": "wrong"}, {"Gitstead-Verify": ""}):
        assert "gitstead-upstream" not in running.get("blog.localhost", headers=headers).headers
    assert all("gitstead-verify" not in each for each in app.received)


# ---- foreign things ------------------------------------------------------------------------


def test_the_server_on_our_address_is_joined_and_stays_byte_for_byte(site: Site, app: Any) -> None:
    """Invariant 5."""
    site.caddy.start(foreign_server(site, text_route("theirs.localhost", "{http.request.host} <b>&amp;")))
    before = site.caddy.request("GET", "/config/apps/http/servers/theirs/routes/0").body
    admin = site.caddy.admin()
    admin.put(document(site, BLOG))
    site.upstreams.write("blog", app.port)
    assert site.caddy.request("GET", "/config/apps/http/servers/theirs/routes/0").body == before
    assert list(site.caddy.config()["apps"]["http"]["servers"]) == ["theirs"]
    assert site.get("theirs.localhost").text == "theirs.localhost <b>&amp;"
    assert site.get("blog.localhost").text == "app"
    assert admin.look().hosts_elsewhere == frozenset({"theirs.localhost"})


def test_in_somebody_elses_server_an_unknown_host_is_their_business(site: Site) -> None:
    site.caddy.start(foreign_server(site))
    site.caddy.admin().put(document(site, BLOG))
    assert (site.get("unknown.localhost").status, site.get("unknown.localhost").text) == (200, "")
    assert "blog does not answer" in site.get("blog.localhost").text


def test_a_server_without_routes_and_one_elsewhere_are_left_as_they_are(site: Site) -> None:
    config = foreign_server(site)
    other = {"listen": ["127.0.0.1:0"], "automatic_https": {"disable": True}}
    config["apps"]["http"]["servers"] = {"elsewhere": other}
    site.caddy.start(config)
    site.caddy.admin().put(document(site, BLOG))
    servers = site.caddy.config()["apps"]["http"]["servers"]
    assert servers["elsewhere"] == other
    assert set(servers) == {"elsewhere", "gitstead-abc123"}


def test_what_others_add_to_our_server_stays_and_works(running: Site) -> None:
    admin = running.caddy.admin()
    admin.put(document(running, BLOG))
    path = "/config/apps/http/servers/gitstead-abc123/routes/0"
    assert running.caddy.request("PUT", path, text_route("theirs.localhost", "theirs")).status == 200
    admin.put(document(running, BLOG, SHOP))
    assert running.get("theirs.localhost").text == "theirs"
    assert admin.look().hosts == (BLOG, SHOP)


def test_removing_takes_out_our_part_alone(site: Site) -> None:
    site.caddy.start(foreign_server(site, text_route("theirs.localhost", "theirs")))
    before = site.caddy.config()
    admin = site.caddy.admin()
    admin.put(document(site, BLOG))
    assert admin.remove()
    assert site.caddy.config() == before
    assert not admin.remove()
    assert admin.look().digest == ""


def test_removing_closes_our_own_server(running: Site) -> None:
    admin = running.caddy.admin()
    admin.put(document(running, BLOG))
    admin.remove()
    assert running.caddy.config()["apps"] == {"http": {}}
    with pytest.raises(ConnectionRefusedError):
        running.get("blog.localhost")


# ---- drift ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/id/gitstead-abc123", None),
        ("DELETE", "/id/gitstead-abc123-rest", None),
        ("DELETE", "/config/apps/http/servers/gitstead-abc123", None),
        ("PATCH", "/id/gitstead-abc123/handle/0/routes", []),
        ("PATCH", "/config/apps/http/servers/gitstead-abc123/automatic_https", {"disable": False}),
    ],
    ids=["route removed", "404 removed", "server removed", "route emptied", "server edited"],
)
def test_what_is_removed_or_edited_by_hand_is_seen_and_put_back(
    running: Site, method: str, path: str, body: object
) -> None:
    admin = running.caddy.admin()
    wanted = document(running, BLOG)
    admin.put(wanted)
    good = running.caddy.config()
    assert running.caddy.request(method, path, body).status == 200
    assert admin.look().digest != document_digest(wanted)
    assert admin.put(wanted)
    assert admin.look().digest == document_digest(wanted)
    assert running.caddy.config() == good


def test_a_caddy_that_comes_back_empty_gets_its_routes_again(running: Site, app: Any) -> None:
    admin = running.caddy.admin()
    wanted = document(running, BLOG)
    admin.put(wanted)
    running.upstreams.write("blog", app.port)
    running.caddy.kill()
    with pytest.raises(CaddyUnavailable):
        admin.look()
    running.caddy.start()
    assert admin.look().digest == ""
    admin.put(wanted)
    assert running.get("blog.localhost").text == "app"


def test_another_address_moves_our_server(running: Site) -> None:
    running.caddy.admin().put(document(running, BLOG))
    other_port = free_port()
    moved = running.caddy.admin(listen=("127.0.0.1", other_port))
    assert moved.look().digest == ""
    moved.put(document(running, BLOG))
    assert get(other_port, "blog.localhost").status == 502
    with pytest.raises(ConnectionRefusedError):
        running.get("blog.localhost")


# ---- last-good -----------------------------------------------------------------------------


def test_last_good_starts_a_caddy_that_serves_without_us(running: Site, app: Any) -> None:
    """Invariant 14."""
    running.caddy.admin().put(document(running, BLOG))
    running.upstreams.write("blog", app.port)
    running.caddy.kill()
    running.caddy.start(config_file=running.caddy.last_good)
    assert running.get("blog.localhost").text == "app"
    assert stat.S_IMODE(running.caddy.socket.stat().st_mode) == 0o600


def test_last_good_is_whole_and_not_for_everybody(running: Site) -> None:
    running.caddy.admin().put(document(running, BLOG))
    assert json.loads(running.caddy.last_good.read_bytes()) == running.caddy.config()
    assert stat.S_IMODE(running.caddy.last_good.stat().st_mode) == 0o640
    assert [each.name for each in running.caddy.folder.glob(".*.tmp")] == []


def test_a_last_good_that_lags_behind_is_seen_and_written_without_a_reload(running: Site) -> None:
    """Invariant 4: a kill between Caddy's acceptance and the file leaves it old."""
    admin = running.caddy.admin()
    wanted = document(running, BLOG)
    admin.put(wanted)
    running.caddy.last_good.write_text("{}")
    writes = admin.writes
    assert admin.look().digest not in ("", document_digest(wanted))
    assert not admin.put(wanted)
    assert admin.writes == writes
    assert admin.look().digest == document_digest(wanted)
    assert json.loads(running.caddy.last_good.read_bytes()) == running.caddy.config()


def test_last_good_follows_what_others_change_in_their_part(running: Site) -> None:
    """Else a reboot would bring back an older configuration of theirs (invariant 5)."""
    admin = running.caddy.admin()
    wanted = document(running, BLOG)
    admin.put(wanted)
    running.caddy.request("POST", "/config/apps/http/servers/theirs", {"listen": ["127.0.0.1:0"]})
    assert admin.look().digest != document_digest(wanted)
    writes = admin.writes
    assert not admin.put(wanted)
    assert admin.writes == writes
    assert admin.look().digest == document_digest(wanted)
    assert "theirs" in json.loads(running.caddy.last_good.read_bytes())["apps"]["http"]["servers"]


def test_the_base_configuration_of_a_server_is_accepted_and_joined(site: Site) -> None:
    base = json.loads(resource("caddy", "base.json").read_text())
    assert base["admin"]["listen"].startswith("unix/")
    assert base["admin"]["config"] == {"persist": False}
    site.caddy.start({**base, "admin": site.caddy.admin_section})
    assert site.caddy.admin().put(document(site, BLOG))
    assert site.get("blog.localhost").status == 502


def test_a_last_good_that_cannot_be_written_is_said_and_tried_again(running: Site) -> None:
    running.caddy.last_good.mkdir()
    admin = running.caddy.admin()
    with pytest.raises(CaddyUnavailable, match="cannot be written"):
        admin.put(document(running, BLOG))
    running.caddy.last_good.rmdir()
    admin.put(document(running, BLOG))
    assert running.caddy.last_good.is_file()


# ---- traps of the admin API ----------------------------------------------------------------


def test_a_caddy_without_configuration_keeps_its_socket(site: Site) -> None:
    """Trap 6: without an admin section the admin API would move to an open TCP port."""
    site.caddy.start_without_config()
    admin = site.caddy.admin()
    assert admin.look().digest == ""
    admin.put(document(site, BLOG))
    assert stat.S_IMODE(site.caddy.socket.stat().st_mode) == 0o600
    assert admin.look().hosts == (BLOG,)
    assert site.caddy.config()["admin"]["listen"] == f"unix/{site.caddy.socket}|0600"


def test_a_refused_document_changes_nothing_and_says_caddys_words(running: Site, app: Any) -> None:
    """Trap 6: also the admin socket is where it was, with its mode."""
    admin = running.caddy.admin()
    wanted = document(running, BLOG)
    admin.put(wanted)
    running.upstreams.write("blog", app.port)
    kept = running.caddy.last_good.read_bytes()
    with pytest.raises(CaddyRefused, match=r"unknown module: http\.handlers\.nonsense"):
        admin.put({"@id": "gitstead-abc123", "handle": [{"handler": "nonsense"}]})
    assert running.get("blog.localhost").text == "app"
    assert admin.look().digest == document_digest(wanted)
    assert stat.S_IMODE(running.caddy.socket.stat().st_mode) == 0o600
    assert running.caddy.last_good.read_bytes() == kept


@pytest.mark.parametrize("body", [{}, [], "", None])
def test_an_empty_body_never_leaves_us(running: Site, body: object) -> None:
    """Trap 7: Caddy would wipe everything and answer 200."""
    admin = running.caddy.admin()
    admin.put(document(running, BLOG))
    with pytest.raises(ValueError, match="empty body"):
        admin._make_request("POST", "/config/", body)
    assert admin.look().hosts == (BLOG,)


def test_a_write_that_was_decided_on_an_older_configuration_is_decided_again(site: Site) -> None:
    """Trap 8: a stranger adds a route after we have read; both are there in the end."""
    site.caddy.start(foreign_server(site, text_route("one.localhost", "one")))

    class SlowAdmin(CaddyAdmin):
        interfered = False

        def _make_request(self, method: str, endpoint: str, data: Any = None, headers: Any = None) -> Any:
            if method != "GET" and not self.interfered:
                self.interfered = True
                route = text_route("two.localhost", "two")
                admin_request(self.socket, "POST", "/config/apps/http/servers/theirs/routes", route)
            return super()._make_request(method, endpoint, data, headers)

    address = ("127.0.0.1", site.caddy.port)
    admin = SlowAdmin(site.caddy.socket, instance="abc123", listen=address, last_good=site.caddy.last_good)
    assert admin.put(document(site, BLOG))
    assert admin.look().hosts_elsewhere == frozenset({"one.localhost", "two.localhost"})
    assert admin.look().hosts == (BLOG,)
    assert admin.writes == 2


def test_twenty_writers_at_once_all_keep_their_routes(site: Site) -> None:
    """Traps 9 and 10: twenty instances share a server of a Caddy; the vendor's client kept four of twenty."""
    site.caddy.start(foreign_server(site, text_route("theirs.localhost", "theirs")))
    instances = [f"inst{number:02d}" for number in range(20)]
    problems: list[Exception] = []
    together = threading.Barrier(len(instances))

    def put(instance: str) -> None:
        last_good = site.caddy.folder / f"{instance}.json"
        admin = CaddyAdmin(
            site.caddy.socket, instance=instance, listen=("127.0.0.1", site.caddy.port), last_good=last_good
        )
        part = {**document(site, (f"{instance}.localhost", "blog")), "@id": caddy_id(instance)}
        together.wait(10)
        try:
            admin.put(part)
        except (CaddyUnavailable, CaddyRefused, NotOurs) as error:
            problems.append(error)

    threads = [threading.Thread(target=put, args=(instance,)) for instance in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    routes = site.caddy.config()["apps"]["http"]["servers"]["theirs"]["routes"]
    assert {route.get("@id") for route in routes} == {None, *map(caddy_id, instances)}


def test_an_address_that_another_program_holds_is_not_shared(running: Site) -> None:
    """Trap 15: two Caddys share a port without an error, each with half the visitors."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", running.caddy.port))
        other.listen()
        admin = running.caddy.admin()
        with pytest.raises(CaddyUnavailable, match="is in use, and not by the Caddy behind"):
            admin.put(document(running, BLOG))
        assert admin.writes == 0
    assert admin.put(document(running, BLOG))


def test_the_caddy_of_another_instance_is_not_written_to(running: Site) -> None:
    """Trap 15: a second Gitstead's Caddy took the socket."""
    other = running.caddy.admin("zzz999")
    other.put({**document(running, BLOG), "@id": "gitstead-zzz999"})
    before = running.caddy.config()
    admin = running.caddy.admin()
    assert admin.look().digest == ""
    with pytest.raises(NotOurs, match="gitstead-zzz999"):
        admin.put(document(running, BLOG))
    assert running.caddy.config() == before
    assert admin.writes == 0


def test_what_is_no_configuration_is_not_taken_for_an_empty_caddy(site: Site) -> None:
    """A stranger on the socket: no write, and nothing is concluded."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(site.caddy.socket))
        listener.listen(4)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(CaddyUnavailable, match="not a configuration"):
            site.caddy.admin().look()
        thread.join(5)


def test_many_hosts_answer_as_fast_as_few(running: Site, app: Any) -> None:
    """One mapped route: the last of 1,000 hosts is no slower to reach than the first by more than noise."""
    hosts = [(f"h{number:04d}.localhost", "blog") for number in range(1000)]
    running.caddy.admin().put(document(running, *hosts))
    running.upstreams.write("blog", app.port)
    for host in (hosts[0][0], hosts[-1][0]):
        assert running.get(host).text == "app"
    assert running.get("h1000.localhost").status == 404
    wait_until(lambda: running.caddy.admin().look().hosts == tuple(hosts))
