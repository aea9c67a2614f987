"""What the service manager hears: on a real datagram socket, by path and by abstract name."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.adapters.service_manager import ServiceManager
from reconciler.settings import load_settings


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket, and NOTIFY_SOCKET's value for it."""
    name = f"gitstead-test-{secrets.token_hex(6)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(5)
        if request.param == "path":
            listener.bind(str(tmp_path / "notify"))
            yield listener, str(tmp_path / "notify")
        else:
            listener.bind(f"\0{name}")
            yield listener, f"@{name}"


def test_each_word_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    teller = ServiceManager(load_settings({"NOTIFY_SOCKET": address, "GITSTEAD_STATE": "/nowhere"}).notify_socket)
    teller.ready()
    teller.alive()
    teller.stopping()
    assert [listener.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_without_a_service_manager_nothing_is_sent_and_nothing_fails() -> None:
    ServiceManager("").ready()


def test_a_service_manager_that_is_gone_fails_nothing(tmp_path: Path) -> None:
    ServiceManager(str(tmp_path / "gone")).alive()
    ServiceManager(f"@gitstead-test-{secrets.token_hex(6)}").alive()


def test_a_service_manager_that_does_not_read_stops_nobody(manager: tuple[socket.socket, str]) -> None:
    _, address = manager
    teller = ServiceManager(address)
    for _ in range(2000):
        teller.alive()
