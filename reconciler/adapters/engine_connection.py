"""Talks to the Docker engine: clients, time limits, counting, and its errors as ours.

Used by `docker_engine` alone, and the only importer of `docker`: of its low-level API, since the high-level
lists inspect each thing and fail when one vanishes meanwhile. Must not know what the answers mean.
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.types import CancellableStream

from reconciler.adapters import engine_errors
from reconciler.errors import EngineUnavailable, GitsteadError

T = TypeVar("T")
Api = docker.APIClient

DEFAULT_SOCKET = "unix:///var/run/docker.sock"
_CONNECTIONS = 32
_WRITE_TIMEOUT_S = 90.0


class EventStream:
    """Events as they come. `close` may be called from any thread and ends the reading; the reader itself
    calls `release` when it is done, so that no socket is left to the garbage collector.
    """

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self._chunks = CancellableStream(_chunks(response), response)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rest = b""
        for chunk in self._chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines if line.strip())

    def close(self) -> None:
        """The other side may just have closed it, then there is nothing left to do."""
        with contextlib.suppress(OSError, AttributeError):
            self._chunks.close()

    def release(self) -> None:
        """Of a response that was read to its end `requests` closes nothing, but gives the connection back."""
        self._response.raw.close()
        self._response.close()


class EngineConnection:
    """One engine. Safe from any thread; connects on first use, again after `close`."""

    def __init__(self, docker_host: str | None, *, timeout_s: float) -> None:
        self.docker_host = docker_host or DEFAULT_SOCKET
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._clients: dict[bool, Api] = {}
        self._reads: Counter[str] = Counter()
        self._writes: Counter[str] = Counter()

    @property
    def reads(self) -> Mapping[str, int]:
        """How often each kind of question was put to the engine."""
        with self._lock:
            return dict(self._reads)

    @property
    def writes(self) -> Mapping[str, int]:
        """How often each kind of change was asked of the engine."""
        with self._lock:
            return dict(self._writes)

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()

    def read(self, doing: str, ask: Callable[[Api], T]) -> T:
        """The answer to a question. Raises `EngineUnavailable` also for the engine's own troubles."""
        with self._lock:
            self._reads[doing] += 1
        with self._translated(doing, reading=True):
            return ask(self._client(patient=False))

    def find(self, doing: str, ask: Callable[[Api], T]) -> T | None:
        """As `read`; None where there is no such thing."""

        def ask_gently(api: Api) -> T | None:
            try:
                return ask(api)
            except NotFound:
                return None

        return self.read(doing, ask_gently)

    def write(self, doing: str, change: Callable[[Api], T]) -> T:
        """Make a change. Raises what `engine_errors.refusal` tells."""
        with self._lock:
            self._writes[doing] += 1
        with self._translated(doing, reading=False):
            return change(self._client(patient=True))

    def end(self, doing: str, change: Callable[[Api], object]) -> bool:
        """Make a change of which "gone already" and "under way already" are a success; False then."""

        def change_gently(api: Api) -> bool:
            try:
                change(api)
            except NotFound:
                return False
            except APIError as error:
                if "already in progress" not in _text(error):
                    raise
                return False
            return True

        return self.write(doing, change_gently)

    def events(self, *, since_s: int, filters: Mapping[str, list[str]]) -> EventStream:
        """The engine's events. The stream ends without an error when the engine stops; `close()` ends it, too."""
        self.read("answer", lambda api: api.ping())  # an engine that hangs is met here, with a time limit
        params: dict[str, str | int] = {"since": since_s, "filters": json.dumps(filters)}
        return EventStream(self.read("tell its events", lambda api: self._stream(api, "/events", params)))

    @contextlib.contextmanager
    def log_chunks(self, container: str, params: Mapping[str, str | int]) -> Iterator[Iterator[bytes]]:
        """The bytes of a container's log as they come; they end when the container or the engine stops."""

        path = f"/containers/{container}/logs"
        with self.read("read the logs", lambda api: self._stream(api, path, params)) as response:
            yield _chunks(response)

    def _stream(self, api: Api, path: str, params: Mapping[str, str | int]) -> requests.Response:
        """An answer that is read as it comes; only its beginning has a time limit."""
        url = f"{api.base_url}/v{api.api_version}{path}"
        response = api.get(url, params=dict(params), stream=True, timeout=(self._timeout_s, None))
        try:
            response.raise_for_status()
        except requests.HTTPError as error:
            response.close()
            docker.errors.create_api_error_from_http_exception(error)
        return response

    def _client(self, *, patient: bool) -> Api:
        """A client for reads, or a more patient one for writes."""
        with self._lock:
            if patient not in self._clients:
                client = Api(
                    base_url=self.docker_host,
                    version="auto",
                    timeout=math.ceil(_WRITE_TIMEOUT_S if patient else self._timeout_s),
                    max_pool_size=_CONNECTIONS,
                )
                # No proxy leads to a socket; looking for one in the environment is a fifth of a short request.
                client.trust_env = not self.docker_host.startswith("unix:")
                self._clients[patient] = client
            return self._clients[patient]

    def _knock(self) -> None:
        """Meet an engine that is away with a socket that we close: docker leaves its own of a refused
        connection to the garbage collector. Costs some 30 µs.
        """
        if self.docker_host.startswith("unix://"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
                door.settimeout(self._timeout_s)
                door.connect(self.docker_host.removeprefix("unix://"))

    @contextlib.contextmanager
    def _translated(self, doing: str, *, reading: bool) -> Iterator[None]:
        try:
            self._knock()
            yield
        except APIError as error:
            raise _refusal(doing, error, reading=reading) from error
        except (OSError, DockerException) as error:
            raise EngineUnavailable(
                f"Docker at {self.docker_host} did not answer when asked to {doing}: {engine_errors.innermost(error)}",
                expected=f"an answer within {self._timeout_s if reading else _WRITE_TIMEOUT_S:g} s",
                remedy="It is asked again by itself; see whether the engine runs (gitstead doctor)",
            ) from error


def _refusal(doing: str, error: APIError, *, reading: bool) -> GitsteadError:
    return engine_errors.refusal(doing, _text(error), status=error.status_code or 0, reading=reading)


def _text(error: APIError) -> str:
    return str(error.explanation or error)


def _chunks(response: requests.Response) -> Iterator[bytes]:
    with contextlib.suppress(requests.RequestException):
        yield from response.iter_content(chunk_size=None)
