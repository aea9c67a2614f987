"""Probes against real sockets: what they call ready, what they say otherwise, and that they end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from reconciler.adapters.http_probe import ProbeOutcome, probe, verify
from tests.caddy_support import Backend, free_port, wait_until


@contextmanager
def raw_server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accepts connections and lets `answer` do with each what no HTTP server would."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(4096)
                        answer(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def ask(
    port: int, path: str = "/", *, timeout_s: float = 0.3, cancelled: threading.Event | None = None
) -> ProbeOutcome:
    return probe(port, path, timeout_s=timeout_s, interval_s=0.05, cancelled=cancelled or threading.Event())


def test_an_app_that_answers_is_ready_at_once(app: Backend) -> None:
    outcome = ask(app.port)
    assert outcome.ok
    assert outcome.status == 200
    assert outcome.attempts == 1
    assert outcome.elapsed_s < 0.3


def test_a_redirect_is_an_answer_and_is_not_followed(app: Backend) -> None:
    outcome = ask(app.port, "/status/302")
    assert outcome.ok
    assert "redirect to '/login'" in outcome.message
    assert len(app.received) == 1


@pytest.mark.parametrize("status", [404, 500, 503])
def test_an_error_is_no_answer_and_its_status_is_said(app: Backend, status: int) -> None:
    outcome = ask(app.port, f"/status/{status}")
    assert not outcome.ok
    assert outcome.status == status
    assert f"answered {status}" in outcome.message


def test_nobody_there_is_said_so() -> None:
    port = free_port()
    outcome = ask(port)
    assert not outcome.ok
    assert f"connection refused on 127.0.0.1:{port}" in outcome.message
    assert outcome.attempts > 3


def test_an_app_that_comes_up_late_is_seen_within_the_interval() -> None:
    port = free_port()
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(ask(port, timeout_s=5)))
    thread.start()
    with Backend("late", port=port):
        thread.join(5)
    assert outcomes[0].ok


def test_an_app_that_never_says_a_word_is_given_up_at_the_deadline(app: Backend) -> None:
    outcome = ask(app.port, "/slow", timeout_s=0.4)
    assert not outcome.ok
    assert "no answer" in outcome.message
    assert outcome.elapsed_s < 2


def test_an_app_that_drips_bytes_is_given_up_at_the_deadline() -> None:
    def drip(connection: socket.socket) -> None:
        ended = time.monotonic() + 5
        while time.monotonic() < ended:
            connection.sendall(b"H")
            threading.Event().wait(0.05)

    with raw_server(drip) as port:
        outcome = ask(port, timeout_s=0.5)
    assert not outcome.ok
    assert outcome.elapsed_s < 2


def test_an_endless_body_is_not_read() -> None:
    sent = []

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b"x" * 65536)
            sent.append(65536)

    with raw_server(flood) as port:
        assert ask(port, timeout_s=2).ok
    assert sum(sent) < 32 * 1024 * 1024


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (b"", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "does not speak HTTP"),
    ],
)
def test_what_is_no_http_is_said_in_words(answer: bytes, words: str) -> None:
    with raw_server(lambda connection: connection.sendall(answer)) as port:
        outcome = ask(port)
    assert not outcome.ok
    assert words in outcome.message


def test_cancelling_ends_a_probe_that_waits_for_an_answer(app: Backend) -> None:
    cancelled = threading.Event()
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(ask(app.port, "/slow", timeout_s=30, cancelled=cancelled)))
    thread.start()
    assert app.entered.wait(5)
    began = time.monotonic()
    cancelled.set()
    thread.join(5)
    assert time.monotonic() - began < 1.5
    assert outcomes[0].cancelled
    assert not outcomes[0].ok


def test_cancelling_before_the_start_asks_nothing(app: Backend) -> None:
    cancelled = threading.Event()
    cancelled.set()
    outcome = ask(app.port, cancelled=cancelled)
    assert outcome.cancelled
    assert app.received == []


def test_the_app_sees_the_host_it_is_asked_for(app: Backend) -> None:
    """Frameworks that check Host would answer 400 to an address."""
    probe(
        app.port,
        "/",
        timeout_s=1,
        interval_s=0.1,
        cancelled=threading.Event(),
        host_header="app.example.com",
    )
    assert app.received[0]["host"] == "app.example.com"


def test_an_answer_without_a_route_is_not_verified(app: Backend) -> None:
    """The header says which upstream answered; what the app claims is not what we wait for."""
    outcome = verify(
        ("127.0.0.1", app.port),
        "app.example.com",
        path="/",
        token="t",
        expected_upstream=f"127.0.0.1:{app.port}",
        timeout_s=0.3,
    )
    assert not outcome.ok
    assert "claimed by the app" in outcome.message


def test_probing_leaves_no_connection_open(app: Backend) -> None:
    for _ in range(20):
        ask(app.port)
    wait_until(lambda: threading.active_count() < 10, what="the end of the app's connections")
