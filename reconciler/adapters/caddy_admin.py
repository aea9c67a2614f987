"""Reads and replaces our part of Caddy's configuration through its admin API on a unix socket.

Called by `observe` (look) and `apply.operations` (put), and by `demo` (remove). The only importer of
caddy-api-client, of which it uses nothing but the request method, replaced by one of our own: the
library's speaks TCP only, has no If-Match and drops both Caddy's words and an empty body.

Each write is a compare-and-swap: the whole configuration is read with its ETag, `caddy_config` decides
on one write, and Caddy takes it only if nothing has changed in between. It never uses `/load`, which
ignores If-Match and moves the admin API to an open TCP port when it refuses (and wipes all on an empty
body). What is equal is never written. Nothing foreign is changed.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from caddy_api_client import CaddyAPIClient

from reconciler.adapters.caddy_config import Config, Place, Write, observed_routes, removal_for, write_for
from reconciler.adapters.caddy_socket import Answer, ConnectionLost, address_in_use, exchange
from reconciler.errors import CaddyConflict, CaddyRefused, CaddyUnavailable
from reconciler.model.naming import digest
from reconciler.model.observed import Routes

ATTEMPTS = 40
_READ_ATTEMPTS = 5
_LONGEST_PAUSE_S = 0.05
_LONGEST_TEXT = 500


class CaddyAdmin(CaddyAPIClient):  # type: ignore[misc]  # the library has no types
    """One Caddy, reached by its admin socket. Safe to use from several threads.

    `reads` and `writes` count the requests made, refused ones included.
    """

    def __init__(self, admin_socket: Path, *, instance: str, listen: tuple[str, int], last_good: Path) -> None:
        """`listen` is the address of the apps' visitors, `last_good` the file a restarted Caddy starts from."""
        super().__init__("http://localhost")
        self.socket = admin_socket
        self.place = Place(instance, *listen)
        self.last_good = last_good
        self.reads = 0
        self.writes = 0
        self._lock = threading.Lock()
        self._seen: tuple[object, Routes] = (None, Routes(""))

    def look(self) -> Routes:
        """What of ours Caddy has now. Raises `CaddyUnavailable`.

        The digest is another one as well where last-good is not what Caddy runs (a kill or a full disk
        came between the two, or somebody else changed their part): `put` then writes that file alone.
        """
        body = self._read().body
        kept = _signature(self.last_good)
        if self._seen[0] != (body, kept):
            routes = observed_routes(_parsed(body), self.place)
            if routes.digest and not self._is_kept(body):
                routes = replace(routes, digest=digest(["last-good is stale", routes.digest]))
            self._seen = ((body, kept), routes)
        return self._seen[1]

    def put(self, document: Mapping[str, object]) -> bool:
        """Make `document` our part, keep the result as last-good; False where Caddy had it so already.

        Raises `CaddyRefused` with Caddy's words, `CaddyUnavailable`, `CaddyConflict` where others kept
        changing the configuration, `NotOurs` where our address is served for another instance.
        """
        wanted = json.loads(json.dumps(dict(document), default=list))
        return self._change(lambda config: write_for(config, self.place, document=wanted, admin=self._admin()))

    def remove(self) -> bool:
        """Take our part out, and out of last-good; False where there was none. Raises as `put` does."""
        return self._change(lambda config: removal_for(config, self.place, admin=self._admin()))

    def _change(self, decide: Callable[[Config | None], Write | None]) -> bool:
        with self._lock:
            for attempt in range(ATTEMPTS):
                answer = self._read()
                write = decide(_parsed(answer.body))
                if write is None:
                    if not self._is_kept(answer.body):
                        self._keep(answer.body)
                    return attempt > 0
                if write.binds:
                    self._refuse_taken_address()
                try:
                    self._make_request(write.method, write.path, write.body, {"If-Match": answer.etag})
                except (CaddyConflict, ConnectionLost):
                    time.sleep(random.uniform(0, _LONGEST_PAUSE_S))  # noqa: S311 - spreads writers, hides nothing
                    continue
                self._keep(self._read().body)
                return True
        raise CaddyConflict(
            f"Caddy's configuration was changed by others {ATTEMPTS} times while we wanted to",
            expected="a moment without other writers",
            remedy="It is tried again by itself; see who writes to Caddy if it goes on",
        )

    def _read(self) -> Answer:
        """The whole configuration. Caddy swaps its admin listener at each change, so a reset is asked again."""
        for _ in range(_READ_ATTEMPTS - 1):
            try:
                return self._make_request("GET", "/config/")
            except ConnectionLost:
                time.sleep(random.uniform(0, _LONGEST_PAUSE_S))  # noqa: S311 - as above
        return self._make_request("GET", "/config/")

    def _make_request(
        self, method: str, endpoint: str, data: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request. Raises `CaddyUnavailable`, `CaddyConflict` for 412 and 404, else `CaddyRefused`."""
        if method == "GET":
            self.reads += 1
        else:
            self.writes += 1
            if not data and method != "DELETE":
                raise ValueError(f"{method} {endpoint} with an empty body would wipe configuration")
        body = None if data is None else json.dumps(data, separators=(",", ":")).encode()
        named = {"Content-Type": "application/json", **(headers or {})}
        answer = exchange(self.socket, method, endpoint, body=body, headers=named)
        # 404: our `@id` went away between reading and writing.
        if answer.status in (http.client.PRECONDITION_FAILED, http.client.NOT_FOUND):
            raise CaddyConflict(f"Caddy's configuration changed before {method} {endpoint}")
        if answer.status != http.client.OK:
            raise CaddyRefused(
                f"Caddy refused {method} {endpoint}: {_words(answer)}",
                expected="a configuration that Caddy accepts",
                remedy="What it had before still serves",
            )
        return answer

    def _admin(self) -> Config:
        """An admin section for a configuration that has none: this very socket, with the mode it has."""
        mode = self.socket.stat().st_mode & 0o777
        return {"listen": f"unix/{self.socket}|{mode:04o}", "config": {"persist": False}}

    def _refuse_taken_address(self) -> None:
        if address_in_use(self.place.host, self.place.port):
            raise CaddyUnavailable(
                f"{self.place.address} is in use, and not by the Caddy behind {self.socket}",
                expected="a free address, or the Caddy that serves it",
                remedy="End the other program (or the forgotten Caddy), or choose another port in host.yaml",
            )

    def _is_kept(self, body: bytes) -> bool:
        try:
            return self.last_good.read_bytes() == body
        except OSError:
            return False

    def _keep(self, body: bytes) -> None:
        try:
            _write_durably(self.last_good, body)
        except OSError as error:
            raise CaddyUnavailable(
                f"Caddy took the routes, but {self.last_good} cannot be written: {error.strerror}",
                expected="a writable file, from which a restarted Caddy serves without us",
                remedy="Free some space, or give the folder to the user that runs Gitstead",
            ) from error


def _parsed(body: bytes) -> Config | None:
    try:
        config: Config | None = json.loads(body)
    except ValueError as error:
        raise CaddyUnavailable(
            f"the admin socket answered something that is not a configuration: {body[:80]!r}",
            expected="Caddy's JSON",
            remedy="See which program listens there",
        ) from error
    return config


def _words(answer: Answer) -> str:
    try:
        text = str(json.loads(answer.body)["error"])
    except (ValueError, KeyError, TypeError):
        text = answer.body.decode("utf-8", "replace").strip()
    return text[:_LONGEST_TEXT] or f"status {answer.status}"


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _write_durably(path: Path, body: bytes) -> None:
    """Whole, on disk before the rename, readable by the group of its folder: Caddy runs it at its start."""
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            if os.fstat(file.fileno()).st_gid != path.parent.stat().st_gid:
                os.fchown(file.fileno(), -1, path.parent.stat().st_gid)
            os.fchmod(file.fileno(), 0o640)
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
