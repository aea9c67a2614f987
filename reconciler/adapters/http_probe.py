"""Asks an app over HTTP until it answers: itself on its leased port, and then through Caddy's route.

Called by `apply.probe`, in the thread of a job. Must not read a body to its end nor follow redirects:
it tells whether something answers, and says in words what it saw last.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FIRST_PAUSE_S = 0.005
ATTEMPT_TIMEOUT_S = 5.0
_GROWTH = 1.5
_SLICE_S = 0.2
_BODY_LIMIT = 16 * 1024
_AGENT = "gitstead-probe"


@dataclass(frozen=True)
class ProbeOutcome:
    """`message` says what was seen last. `status` is 0 where there was no answer.

    `cancelled`: the end was asked for, so that `ok` being False says nothing about the app.
    """

    ok: bool
    message: str
    status: int
    attempts: int
    elapsed_s: float
    cancelled: bool = False


@dataclass(frozen=True)
class _Seen:
    ok: bool
    message: str
    status: int = 0
    timed_out: bool = False


class _Cancelled(Exception):
    """The event was set while an attempt was under way."""


def probe(
    port: int,
    path: str,
    *,
    timeout_s: float,
    interval_s: float,
    cancelled: threading.Event,
    host: str = "127.0.0.1",
    host_header: str = "",
) -> ProbeOutcome:
    """GET `path` until a 2xx or 3xx comes, at first every 5 ms, then slower up to `interval_s`.

    Raises nothing: what went wrong is the outcome.
    """
    headers = {"Host": host_header or f"{host}:{port}"}

    def attempt(limit_s: float) -> _Seen:
        answer = _get((host, port), path, headers=headers, limit_s=limit_s, cancelled=cancelled)
        return answer if isinstance(answer, _Seen) else _judged(answer, path)

    return _until_ok(attempt, timeout_s=timeout_s, interval_s=interval_s, cancelled=cancelled)


def verify(
    http_host: tuple[str, int],
    host_header: str,
    *,
    path: str,
    token: str,
    expected_upstream: str,
    timeout_s: float = 10.0,
    cancelled: threading.Event | None = None,
) -> ProbeOutcome:
    """GET through Caddy's listener until a 2xx or 3xx comes from `expected_upstream` (`127.0.0.1:<port>`).

    `token` makes the route say which upstream it used. Raises nothing.
    """
    cancelled = cancelled or threading.Event()
    headers = {"Host": host_header, "Gitstead-Verify": token}

    def attempt(limit_s: float) -> _Seen:
        answer = _get(http_host, path, headers=headers, limit_s=limit_s, cancelled=cancelled)
        if isinstance(answer, _Seen):
            return answer
        upstream = answer.headers.get("gitstead-upstream", "")
        if upstream == expected_upstream:
            return _judged(answer, path)
        if upstream:
            return _Seen(
                False, f"{host_header} is still answered by {upstream}, not {expected_upstream}", answer.status
            )
        return _Seen(False, f"{host_header}{path} answered {answer.status}, not from any upstream", answer.status)

    return _until_ok(attempt, timeout_s=timeout_s, interval_s=0.25, cancelled=cancelled)


@dataclass(frozen=True)
class _Answer:
    status: int
    reason: str
    headers: Mapping[str, str]


def _until_ok(
    attempt: Callable[[float], _Seen], *, timeout_s: float, interval_s: float, cancelled: threading.Event
) -> ProbeOutcome:
    began = time.monotonic()
    deadline = began + timeout_s
    pause_s = min(FIRST_PAUSE_S, interval_s)
    attempts = 0
    seen = _Seen(False, "nothing was asked")
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or cancelled.is_set():
            break
        attempts += 1
        limit_s = min(ATTEMPT_TIMEOUT_S, left_s)
        try:
            latest = attempt(limit_s)
        except _Cancelled:
            break
        # An attempt that the deadline cut short says less than the one before it.
        if not (latest.timed_out and limit_s < ATTEMPT_TIMEOUT_S and attempts > 1):
            seen = latest
        if seen.ok:
            break
        cancelled.wait(min(pause_s, max(0.0, deadline - time.monotonic())))
        pause_s = min(pause_s * _GROWTH, interval_s)
    message = seen.message if seen.ok else f"{seen.message} (last of {attempts} within {timeout_s:g} s)"
    ended_early = cancelled.is_set() and not seen.ok
    return ProbeOutcome(seen.ok, message, seen.status, attempts, time.monotonic() - began, cancelled=ended_early)


def _judged(answer: _Answer, path: str) -> _Seen:
    if 200 <= answer.status < 300:
        return _Seen(True, f"{path} answered {answer.status}", answer.status)
    if 300 <= answer.status < 400:
        target = answer.headers.get("location", "nowhere")[:100]
        return _Seen(True, f"{path} answered {answer.status}, a redirect to {target!r}", answer.status)
    return _Seen(False, f"{path} answered {answer.status} {answer.reason[:60]}".rstrip(), answer.status)


def _get(
    address: tuple[str, int], path: str, *, headers: Mapping[str, str], limit_s: float, cancelled: threading.Event
) -> _Answer | _Seen:
    """One request, ended as a whole at `limit_s`: an app that drips one byte a second is no answer."""
    where = f"{address[0]}:{address[1]}"
    connection = _BoundedConnection(address, limit_s=limit_s, cancelled=cancelled)
    try:
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in {**headers, "User-Agent": _AGENT, "Connection": "close"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        response.read(_BODY_LIMIT)
        return _Answer(response.status, response.reason, {name.lower(): value for name, value in response.getheaders()})
    except ConnectionRefusedError:
        return _Seen(False, f"connection refused on {where}: nothing listens there")
    except TimeoutError:
        return _Seen(False, f"no answer from {where}{path} within {limit_s:.1f} s", timed_out=True)
    except (ConnectionError, http.client.RemoteDisconnected):
        return _Seen(False, f"{where} closed the connection without an answer")
    except (http.client.HTTPException, ValueError) as error:
        return _Seen(False, f"{where} does not speak HTTP: {type(error).__name__}")
    except OSError as error:
        return _Seen(False, f"{where} cannot be reached: {error.strerror or error}")
    finally:
        connection.close()


class _BoundedSocket(socket.socket):
    """Gives up at a point of time, not after a time without a byte, and as soon as the event is set."""

    deadline: float
    cancelled: threading.Event

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        while True:
            left_s = self.deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            if self.cancelled.is_set():
                raise _Cancelled
            self.settimeout(min(_SLICE_S, left_s))
            try:
                return super().recv_into(buffer, nbytes, flags)
            except TimeoutError:
                continue


class _BoundedConnection(http.client.HTTPConnection):
    def __init__(self, address: tuple[str, int], *, limit_s: float, cancelled: threading.Event) -> None:
        super().__init__(*address)
        self._deadline = time.monotonic() + limit_s
        self._limit_s = limit_s
        self._cancelled = cancelled

    def connect(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.sock = bounded = _BoundedSocket(family, socket.SOCK_STREAM)
        bounded.deadline = self._deadline
        bounded.cancelled = self._cancelled
        bounded.settimeout(self._limit_s)
        bounded.connect((self.host, self.port))
