"""Tells the service manager (systemd, Type=notify) how the reconciler fares: one datagram for each word.

Called by `service`. Silent where no service manager asked; a datagram that is lost fails nothing, since a
missing one is what the manager's own watchdog acts on.
"""

from __future__ import annotations

import contextlib
import socket


class ServiceManager:
    """`address` is the value of NOTIFY_SOCKET: a path, `@` and an abstract name, or "" for nobody."""

    def __init__(self, address: str) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def ready(self) -> None:
        """Everything has started."""
        self._tell("READY=1")

    def alive(self) -> None:
        """To be repeated within half of the unit's WatchdogSec."""
        self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun, and was asked for."""
        self._tell("STOPPING=1")

    def _tell(self, word: str) -> None:
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        with socket.socket(socket.AF_UNIX, kind) as sender, contextlib.suppress(OSError):
            sender.sendto(word.encode(), self._address)
