"""Caddy as our child: started once, taken over after a kill, never confused with a stranger's."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.adapters.caddy_admin import CaddyAdmin
from reconciler.adapters.caddy_process import CaddyProcess
from reconciler.adapters.caddy_socket import peer_pid
from reconciler.adapters.upstream_files import UpstreamFiles
from reconciler.errors import CaddyUnavailable, HostUnfit, NotOurs
from reconciler.model.host import Host
from reconciler.plan.routes import route_document
from tests.caddy_support import TOKEN, Backend, RealCaddy, free_port, get, short_folder, wait_until

pytestmark = pytest.mark.real


@dataclass
class State:
    """A state folder with its Caddy."""

    folder: Path
    port: int

    def process(self) -> CaddyProcess:
        caddy = self.folder / "caddy"
        return CaddyProcess(
            caddy,
            admin_socket=caddy / "admin.sock",
            last_good=caddy / "last-good.json",
            listen=("127.0.0.1", self.port),
        )

    def admin(self) -> CaddyAdmin:
        caddy = self.folder / "caddy"
        return CaddyAdmin(
            caddy / "admin.sock",
            instance="abc123",
            listen=("127.0.0.1", self.port),
            last_good=caddy / "last-good.json",
        )

    def route(self, backend: Backend) -> None:
        upstreams = UpstreamFiles(self.folder / "upstreams")
        upstreams.write("blog", backend.port)
        host = Host("abc123", str(upstreams.folder), TOKEN)
        self.admin().put(route_document(host, [("blog.localhost", "blog")]))


@pytest.fixture
def state() -> Iterator[State]:
    with short_folder() as folder:
        new = State(folder, free_port())
        try:
            yield new
        finally:
            new.process().stop()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_starts_from_nothing_and_lets_nobody_else_in(state: State) -> None:
    caddy = state.process()
    assert caddy.ensure() == "started from nothing"
    assert caddy.alive()
    assert stat.S_IMODE(caddy.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(caddy.folder.stat().st_mode) == 0o700
    assert state.admin().look().digest == ""


def test_a_clean_stop_ends_it(state: State) -> None:
    caddy = state.process()
    caddy.ensure()
    pid = caddy.pid
    caddy.stop()
    assert not caddy.alive()
    assert not is_running(pid)
    assert not caddy.socket.exists()


def test_it_starts_from_last_good_and_serves_before_any_pass(state: State) -> None:
    """Invariant 14."""
    with Backend("blog") as backend:
        caddy = state.process()
        caddy.ensure()
        state.route(backend)
        caddy.stop()
        assert state.process().ensure() == "started"
        wait_until(lambda: get(state.port, "blog.localhost").text == "blog")


@pytest.mark.parametrize("text", ["", '{"admin": {', "null", "[]", '{"apps": {"nonsense": {}}}'])
def test_a_last_good_that_cannot_be_used_does_not_keep_it_down(state: State, text: str) -> None:
    """Trap 14: Caddy itself exits 1 on a torn file, and stays down."""
    (state.folder / "caddy").mkdir()
    (state.folder / "caddy" / "last-good.json").write_text(text)
    caddy = state.process()
    assert caddy.ensure() == "started from nothing"
    assert caddy.alive()
    assert "last-good.json cannot be used" in caddy.problem


def test_a_last_good_of_a_folder_that_was_moved_gets_the_socket_of_today(state: State) -> None:
    (state.folder / "caddy").mkdir()
    old = {"admin": {"listen": "unix//nowhere/admin.sock|0600"}, "apps": {"http": {"servers": {}}}}
    (state.folder / "caddy" / "last-good.json").write_text(json.dumps(old))
    assert state.process().ensure() == "started"
    assert state.process().ensure() == "reused"


def test_a_running_one_is_taken_over_instead_of_starting_a_second(state: State) -> None:
    """Trap 15: two would share the port without an error."""
    first = state.process()
    first.ensure()
    second = state.process()
    assert second.ensure() == "reused"
    assert second.pid == first.pid
    assert second.alive()


def test_it_survives_a_kill_of_the_reconciler_and_is_taken_over(state: State) -> None:
    """Invariant 14 and crash-only: apps outlive us, and the next start finds it."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from reconciler.adapters.caddy_process import CaddyProcess\n"
        "folder = Path(sys.argv[1])\n"
        "caddy = CaddyProcess(folder, admin_socket=folder / 'admin.sock', last_good=folder / 'last-good.json',\n"
        "                     listen=('127.0.0.1', int(sys.argv[2])))\n"
        "caddy.ensure()\n"
        "print(caddy.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    argv = [sys.executable, "-c", script, str(state.folder / "caddy"), str(state.port)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    caddy = state.process()
    assert caddy.ensure() == "reused"
    assert caddy.pid == int(killed.stdout)
    caddy.stop()
    wait_until(lambda: not is_running(int(killed.stdout)))


def test_one_that_was_killed_is_noticed_and_started_again(state: State) -> None:
    caddy = state.process()
    caddy.ensure()
    pid = caddy.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not caddy.alive())
    caddy.ensure()
    assert caddy.alive()
    assert caddy.pid != pid


def test_one_that_lost_its_socket_is_replaced_and_not_doubled(state: State) -> None:
    """Traps 6 and 15: no admin socket means that nobody can steer it any more."""
    caddy = state.process()
    caddy.ensure()
    old = caddy.pid
    caddy.socket.unlink()
    assert not caddy.alive()
    caddy.ensure()
    assert caddy.alive()
    assert not is_running(old)


def test_a_strangers_caddy_on_our_socket_is_refused_and_left_running(state: State) -> None:
    """Trap 15: a second Caddy with the same socket path unlinks it and takes it over."""
    caddy = state.process()
    caddy.ensure()
    stranger = RealCaddy(caddy.folder)
    try:
        stranger.start()
        wait_until(lambda: peer_pid(caddy.socket) == stranger.pid, what="the stranger's taking over")
        assert not caddy.alive()
        with pytest.raises(NotOurs, match="Gitstead did not start it"):
            state.process().ensure()
        state.process().stop()
        assert stranger.answers()
    finally:
        stranger.kill()


def test_an_address_that_is_taken_is_said_before_anything_is_started(state: State) -> None:
    with socket.create_server(("127.0.0.1", state.port)):
        with pytest.raises(CaddyUnavailable, match="in use by another program"):
            state.process().ensure()
        assert state.process()._marked() == []


def test_a_path_too_long_for_a_socket_is_said_in_words(state: State) -> None:
    folder = state.folder / ("x" * 100)
    caddy = CaddyProcess(
        folder, admin_socket=folder / "admin.sock", last_good=folder / "last-good.json", listen=("127.0.0.1", 1)
    )
    with pytest.raises(HostUnfit, match="too long"):
        caddy.ensure()


def test_it_keeps_everything_in_its_own_folder(state: State) -> None:
    """Trap 14: no autosave that a later `--resume` would prefer to our own file."""
    with Backend("blog") as backend:
        caddy = state.process()
        caddy.ensure()
        state.route(backend)
        assert not list(state.folder.rglob("autosave.json"))
        log = caddy.folder / "caddy.log"
        wait_until(log.exists)
        names = {each.name for each in caddy.folder.iterdir()}
    assert names <= {"admin.sock", "boot.json", "last-good.json", "start.log", "caddy.log", "data", "config"}


def test_two_state_folders_do_not_touch_each_other(state: State) -> None:
    first = state.process()
    first.ensure()
    with short_folder() as folder:
        other = State(folder, free_port())
        try:
            other.process().ensure()
            other.process().stop()
        finally:
            other.process().stop()
    assert first.alive()


def test_a_stream_that_never_ends_does_not_hold_up_the_stop(state: State) -> None:
    with Backend("blog") as backend:
        caddy = state.process()
        caddy.ensure()
        state.route(backend)
        visitor = threading.Thread(target=lambda: _ignore_the_end(state.port))
        visitor.start()
        assert backend.entered.wait(5)
        pid = caddy.pid
        caddy.stop()
        assert not is_running(pid)
        visitor.join(5)


def _ignore_the_end(port: int) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - cut in any way
        get(port, "blog.localhost", "/slow")
