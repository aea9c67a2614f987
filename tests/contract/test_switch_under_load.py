"""Switching a project by one rename while visitors are there: nobody may notice (design, Pointing without a reload)."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from reconciler.adapters.http_probe import verify
from reconciler.plan.routes import route_document
from tests.caddy_support import TOKEN, Backend, Response, Site, WebSocket, get, new_site

pytestmark = pytest.mark.real

LOAD_S = 2.5
HOST = "blog.localhost"


@pytest.fixture
def site() -> Iterator[Site]:
    with new_site() as new:
        new.caddy.start()
        new.caddy.admin().put(route_document(new.host, [(HOST, "blog"), ("shop.localhost", "shop")]))
        yield new


@dataclass
class Tally:
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def note(self, send: Callable[[], tuple[int, bytes]]) -> None:
        try:
            status, body = send()
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(repr(error))
            return
        self.answers[body.decode()] += 1
        if status != 200:
            self.failures.append(f"status {status}")


def fresh_visitor(port: int, tally: Tally, stop: threading.Event) -> None:
    """A connection for each request."""

    def send() -> tuple[int, bytes]:
        answer = get(port, HOST)
        return answer.status, answer.body

    while not stop.is_set():
        tally.note(send)


def kept_visitor(port: int, tally: Tally, stop: threading.Event, *, method: str = "GET") -> None:
    """One connection for all requests, which is never opened again: closing it is a failure."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.connect()
    connection.auto_open = 0

    def send() -> tuple[int, bytes]:
        connection.request(method, "/", body=b"x" * 100 if method == "POST" else None, headers={"Host": HOST})
        answer = connection.getresponse()
        return answer.status, answer.read()

    while not stop.is_set() and not tally.failures:
        tally.note(send)
    connection.close()


def test_not_one_request_fails_while_the_upstream_switches_all_the_time(site: Site) -> None:
    tallies = [Tally() for _ in range(4)]
    stop = threading.Event()
    port = site.caddy.port
    visitors = [
        threading.Thread(target=fresh_visitor, args=(port, tallies[0], stop)),
        threading.Thread(target=fresh_visitor, args=(port, tallies[1], stop)),
        threading.Thread(target=kept_visitor, args=(port, tallies[2], stop)),
        threading.Thread(target=kept_visitor, args=(port, tallies[3], stop), kwargs={"method": "POST"}),
    ]
    with Backend("blue") as blue, Backend("green") as green:
        site.upstreams.write("blog", blue.port)
        for visitor in visitors:
            visitor.start()
        ended = time.monotonic() + LOAD_S
        switches = 0
        for backend in itertools.cycle((green, blue)):
            site.upstreams.write("blog", backend.port)
            switches += 1
            stop.wait(0.03)
            if time.monotonic() > ended:
                break
        stop.set()
        for visitor in visitors:
            visitor.join(15)
    assert [tally.failures for tally in tallies] == [[], [], [], []]
    total = sum((tally.answers for tally in tallies), Counter[str]())
    assert set(total) == {"blue", "green"}
    assert total.total() > 1000, f"only {total} requests over {switches} switches: not a load"
    assert switches > 20


def test_a_switch_is_seen_by_the_very_next_request_and_writes_nothing_to_caddy(site: Site) -> None:
    before = site.caddy.request("GET", "/config/").headers["etag"]
    with Backend("blue") as blue, Backend("green") as green:
        for backend in (blue, green, blue, green):
            site.upstreams.write("blog", backend.port)
            assert site.get(HOST).text == backend.name
            outcome = verify(
                ("127.0.0.1", site.caddy.port),
                HOST,
                path="/",
                token=TOKEN,
                expected_upstream=f"127.0.0.1:{backend.port}",
            )
            assert outcome.ok
            assert outcome.attempts == 1
    assert site.caddy.request("GET", "/config/").headers["etag"] == before


def test_verifying_waits_for_the_switch_and_tells_who_answers_still(site: Site) -> None:
    with Backend("blue") as blue, Backend("green") as green:
        site.upstreams.write("blog", blue.port)

        def ask(timeout_s: float) -> object:
            return verify(
                ("127.0.0.1", site.caddy.port),
                HOST,
                path="/",
                token=TOKEN,
                expected_upstream=f"127.0.0.1:{green.port}",
                timeout_s=timeout_s,
            )

        early = ask(0.2)
        site.upstreams.write("blog", green.port)
        late = ask(5)
    assert f"still answered by 127.0.0.1:{blue.port}" in early.message  # type: ignore[attr-defined]
    assert late.ok  # type: ignore[attr-defined]


def test_verifying_with_a_wrong_token_or_an_unknown_host_fails(site: Site) -> None:
    with Backend("blue") as blue:
        site.upstreams.write("blog", blue.port)
        for host, token in ((HOST, "wrong"), ("unknown.localhost", TOKEN)):
            outcome = verify(
                ("127.0.0.1", site.caddy.port),
                host,
                path="/",
                token=token,
                expected_upstream=f"127.0.0.1:{blue.port}",
                timeout_s=0.2,
            )
            assert not outcome.ok
            assert "not from any upstream" in outcome.message


def test_websockets_live_through_switches_and_through_a_change_of_the_routes(site: Site) -> None:
    """Trap 5: without `stream_close_delay` each reload closes every WebSocket of every app."""
    with ExitStack() as stack:
        blue, green, shop = (stack.enter_context(Backend(name)) for name in ("blue", "green", "shop"))
        site.upstreams.write("blog", blue.port)
        site.upstreams.write("shop", shop.port)
        sockets = [WebSocket(site.caddy.port, host) for host in (HOST, "shop.localhost")]
        for each in sockets:
            stack.callback(each.close)
        for number in range(20):
            site.upstreams.write("blog", (green, blue)[number % 2].port)
            assert all(each.echoes(b"hello %d" % number) for each in sockets)
        site.caddy.admin().put(route_document(site.host, [(HOST, "blog"), ("shop.localhost", "shop"), ("x.y", "blog")]))
        assert get(site.caddy.port, "x.y").status == 200
        assert all(each.echoes(b"still here") for each in sockets)


def test_a_request_under_way_is_finished_by_the_release_that_began_it(site: Site) -> None:
    answers: list[Response] = []
    with Backend("blue") as blue, Backend("green") as green:
        site.upstreams.write("blog", blue.port)
        visitor = threading.Thread(target=lambda: answers.append(site.get(HOST, "/slow")))
        visitor.start()
        assert blue.entered.wait(5)
        site.upstreams.write("blog", green.port)
        site.caddy.admin().put(route_document(site.host, [(HOST, "blog"), ("x.y", "blog")]))
        assert site.get(HOST).text == "green"
        blue.release.set()
        visitor.join(10)
    assert (answers[0].status, answers[0].text) == (200, "blue")
