"""Under a service manager: it hears when the reconciler is ready, that it lives, and that its end was asked for."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.platform_support import Platform, wait_for


@pytest.fixture
def manager(platform: Platform) -> Iterator[socket.socket]:
    """What systemd is to a unit of Type=notify."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path = str(platform.folder / "notify")
        listener.bind(path)
        listener.setblocking(False)
        platform.settings["NOTIFY_SOCKET"] = path
        yield listener


def test_it_hears_of_readiness_of_each_beat_and_of_the_end(platform: Platform, manager: socket.socket) -> None:
    heard: list[bytes] = []

    def hears(word: bytes) -> bool:
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(manager.recv(100))
        return word in heard

    platform.start(full_look_s="1")
    wait_for(lambda: hears(b"READY=1"), "readiness")
    wait_for(lambda: hears(b"WATCHDOG=1") and heard.count(b"WATCHDOG=1") > 2, "beats")
    assert platform.process is not None
    platform.process.send_signal(signal.SIGTERM)
    assert platform.wait_ended() == 0
    assert hears(b"STOPPING=1")
    assert heard[0] == b"READY=1"
    assert heard.index(b"STOPPING=1") == len(heard) - 1
