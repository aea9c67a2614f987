"""HTTP over Caddy's admin socket, and who is behind it.

Called by `caddy_admin` and `caddy_process` alone. It must not decide anything: it hands back what was
answered, and tells "nobody there" from "cut off in the middle".
"""

from __future__ import annotations

import errno
import http.client
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import CaddyUnavailable

READ_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 30.0
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True)
class Answer:
    """What the admin API said; `etag` is "" where it sent none."""

    status: int
    body: bytes
    etag: str


class ConnectionLost(CaddyUnavailable):
    """Cut, reset or timed out: whether a write was done is known only after reading again."""

    @property
    def reason(self) -> str:
        return CaddyUnavailable.__name__


def exchange(
    admin_socket: Path, method: str, endpoint: str, *, body: bytes | None = None, headers: Mapping[str, str]
) -> Answer:
    """One request on a connection of its own, since Caddy swaps the listener at each change.

    Raises `ConnectionLost`, or plain `CaddyUnavailable` where nobody listens or lets us in.
    """
    is_read = method == "GET"
    connection = _UnixConnection(admin_socket, timeout_s=READ_TIMEOUT_S if is_read else WRITE_TIMEOUT_S)
    try:
        connection.request(method, endpoint, body, dict(headers))
        response = connection.getresponse()
        return Answer(response.status, response.read(), response.getheader("Etag", ""))
    except (FileNotFoundError, ConnectionRefusedError, PermissionError) as error:
        raise CaddyUnavailable(
            f"Caddy's admin socket {admin_socket} cannot be used: {error.strerror}",
            expected="a running Caddy that listens there and lets us in",
            remedy="Start Caddy; routes that it has go on serving meanwhile",
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionLost(
            f"Caddy's admin socket {admin_socket} gave no answer to {method} {endpoint}: {error!r}",
            expected="an answer",
            remedy="It is tried again by itself",
        ) from error
    finally:
        connection.close()


def peer_pid(admin_socket: Path) -> int | None:
    """The process that listens on the socket; None where none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(admin_socket))
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:
            return None
    pid: int = _CREDENTIALS.unpack(raw)[0]
    return pid


def address_in_use(host: str, port: int) -> bool:
    """Whether somebody listens on a TCP address of this host.

    Asked before Caddy is made to listen: SO_REUSEPORT would let two Caddys share an address without an
    error, each with half the visitors.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, *, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
