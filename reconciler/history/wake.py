"""Wakes the reconciler after a request was left: one empty datagram to a socket beside the inbox.

Sent by `requests`, waited for by the loop. Nothing is carried in it: what is asked stands in the
inbox, and a lost datagram costs a second (design section 1).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

from reconciler.errors import StoreUnusable

SOCKET_MODE = 0o660
_LONGEST_ADDRESS = 100
_BYTES_AT_ONCE = 64


class WakeListener:
    """The receiving end. Replaces a socket that an earlier process left behind.

    Raises StoreUnusable where the socket cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            path.unlink(missing_ok=True)
            with _address(path) as address:
                self._socket.bind(address)
            path.chmod(SOCKET_MODE)
            if os.geteuid() == 0:
                folder = path.parent.stat()
                os.chown(path, folder.st_uid, folder.st_gid)
        except OSError as error:
            self._socket.close()
            raise StoreUnusable(
                f"the wake socket {path} cannot be made: {error.strerror or error}",
                expected="a folder that we may write, without a folder of that name in it",
                remedy="Check the inbox folder's owner and mode",
            ) from error

    def wait(self, timeout_s: float) -> bool:
        """Block until woken (True) or for `timeout_s` seconds (False); many wake-ups count as one."""
        readable, _, _ = select.select([self._socket], [], [], timeout_s)
        if not readable:
            return False
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(_BYTES_AT_ONCE)
        return True

    def close(self) -> None:
        """Remove the socket. Call it from the thread that waits."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


def wake(path: Path) -> bool:
    """Send the datagram; False where nobody listens, which is no error. Also ends a `wait` from another thread."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        try:
            with _address(path) as address:
                sender.sendto(b"", address)
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """The path, or a short way to the same place where it is longer than a socket address may be."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
