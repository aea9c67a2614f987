"""Ports of this very host: who listens, what can be bound, and what no longer hinders."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.adapters import host_ports
from tests.caddy_support import free_port


@pytest.fixture(params=["127.0.0.1", "0.0.0.0", "::"])  # noqa: S104 - a foreign listener on every address
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    address: str = request.param
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        try:
            listener.bind((address, 0))
        except OSError:
            pytest.skip(f"this host has no {address}")
        listener.listen()
        yield listener


def test_a_listener_on_any_address_is_seen_and_keeps_the_port_from_us(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert port in host_ports.listening()
    assert not host_ports.bind_test(port)
    assert host_ports.owner_of(port) == Path("/proc/self/comm").read_text().strip()


def test_the_kernel_and_its_tables_name_the_same_listeners(listener: socket.socket) -> None:
    """The tables are the way where netlink is not to be had."""
    port = listener.getsockname()[1]
    assert port in host_ports.listening(Path("/proc"))
    assert port in host_ports.listening()


def test_a_free_port_can_be_bound_again_and_again() -> None:
    port = free_port()
    assert host_ports.bind_test(port)
    assert host_ports.bind_test(port)
    assert port not in host_ports.listening()
    assert host_ports.owner_of(port) == ""


def test_connections_that_linger_after_their_listener_do_not_hinder() -> None:
    """Row 35: TIME_WAIT is no obstacle."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            served, _ = listener.accept()
            served.close()  # the side that closes first lingers
            assert client.recv(1) == b""
    assert any(line.split()[1].endswith(f":{port:04X}") for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    assert host_ports.bind_test(port)


@pytest.mark.parametrize("port", [-1, 0, 65536, 70000])
def test_numbers_that_are_no_port_cannot_be_bound(port: int) -> None:
    """Row 36."""
    assert not host_ports.bind_test(port)


def test_a_host_without_ipv6_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rows = (
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1\n"
        "   1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 4243 1\n"
    )
    (tmp_path / "net" / "tcp").write_text(head + rows)
    assert host_ports.listening(tmp_path) == {8080}
    assert host_ports.owner_of(8080, tmp_path) == ""
