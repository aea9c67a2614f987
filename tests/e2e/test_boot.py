"""Stores that are lost, machines that start again, and the users that a server gives to Caddy and the page."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.caddy_support import admin_request, caddy_program
from tests.engine_support import second_engine
from tests.inside_support import inside
from tests.platform_support import Platform, app_files, docker, inspect, remove_instance, wait_for

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]


# ---- the store -------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", [True, False], ids=["stopped", "killed"])
def test_what_runs_is_adopted_untouched_when_the_store_was_deleted(platform: Platform, *, clean: bool) -> None:
    """Invariant 10: the same containers, not even started again; numbers go on, and the next push as always."""
    platform.deploy("shop", "blog")
    platform.repos["shop"].push(app_files("v2"))
    platform.answers("shop", "v2")
    platform.healthy("shop")
    wait_for(lambda: len(platform.containers("shop", running=True)) == 1, "d1 is stopped")
    everything, running = platform.containers(), platform.ids()
    if clean:
        platform.stop()
    else:
        platform.kill()
    for folder in ("state", "inbox"):
        shutil.rmtree(platform.state / folder)
    platform.start()
    for name, release in (("shop", "r2"), ("blog", "r1")):
        wait_for(lambda: platform.condition(name, "Adopted").startswith(release), "it is adopted")  # noqa: B023
    platform.healthy("shop")
    platform.looks()
    assert platform.ids() == running
    assert platform.containers() == everything, "what was kept for a rollback is kept"
    assert platform.get("shop.localhost") == (200, "v2")
    assert [each.number for each in platform.deployments("shop")] == [2]
    assert "Adopted" in platform.cli("status", "shop").stdout
    platform.repos["shop"].push(app_files("v3"))
    platform.answers("shop", "v3")
    assert platform.healthy("shop").deployment == 3
    platform.converged()


def test_an_adopted_app_is_repaired_like_any_other(platform: Platform) -> None:
    platform.deploy("shop")
    platform.kill()
    shutil.rmtree(platform.state / "state")
    docker("kill", platform.containers("shop")[0])
    platform.start()
    platform.answers("shop", "v1")
    docker("rm", "-f", platform.containers("shop")[0])
    platform.answers("shop", "v1")
    platform.healthy("shop")


def test_a_store_of_zero_bytes_is_refused_and_what_runs_is_left_alone(platform: Platform) -> None:
    """Trap 32: it opens as an empty database, and no state never means remove."""
    platform.deploy("shop")
    running = platform.ids()
    platform.stop()
    (platform.state / "state" / "state.db").write_bytes(b"")
    platform.start()
    assert platform.wait_ended() == 1
    assert "state.db is empty" in platform.log()
    assert "Traceback" not in platform.log()
    assert platform.ids() == running


def test_a_new_state_folder_is_another_instance_that_touches_nothing_of_the_old_one(platform: Platform) -> None:
    platform.deploy("shop")
    old, running = platform.instance, platform.ids()
    platform.kill()
    platform.end_caddy()
    kept = platform.state.rename(platform.folder / "old-state")
    try:
        platform.start()
        platform.answers("shop", "v1")
        platform.healthy("shop")
        assert platform.instance != old
        assert {name: (inspect(name)["Id"], inspect(name)["State"]["StartedAt"]) for name in running} == running
    finally:
        remove_instance(old)
        shutil.rmtree(kept)


# ---- the machine -----------------------------------------------------------------------------


SITE: dict[str, Any] = {"build": {"type": "static"}}


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_apps_and_routes_are_back_after_a_reboot_without_the_reconciler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 14: Docker starts what was live and not what is kept, Caddy starts from last-good.json."""
    with second_engine() as engine, inside(engine, monkeypatch) as platform:
        shop = platform.app("shop", files={"index.html": "v1"})
        platform.push_spec("shop", **SITE)
        platform.start()
        platform.answers("shop", "v1")
        platform.healthy("shop")
        shop.push({"index.html": "v2"})
        platform.answers("shop", "v2")
        platform.healthy("shop")
        wait_for(lambda: len(platform.containers(running=True)) == 1, "d1 is stopped")
        [live] = platform.containers(running=True)
        container_id, release = inspect(live)["Id"], platform.healthy("shop").release
        platform.kill()
        platform.end_caddy()
        engine.stop()

        engine.start()
        platform.enter(engine)
        with _caddy([*platform.prefix], platform.state / "caddy" / "last-good.json", platform.folder):
            wait_for(lambda: platform.get("shop.localhost") == (200, "v2"), "the app is back by itself")
            assert platform.containers(running=True) == [live], "what is kept stays stopped"
            assert inspect(live)["Id"] == container_id
            started_at = inspect(live)["State"]["StartedAt"]

            platform.settings["GITSTEAD_CADDY_ADMIN"] = str(platform.admin_socket)
            platform.start()
            platform.wait_started()
            platform.looks()
            assert platform.healthy("shop").release == release
            assert inspect(live)["State"]["StartedAt"] == started_at, "the reconciler found nothing to do"
            platform.stop()


@contextlib.contextmanager
def _caddy(prefix: list[str], config: Path, folder: Path, *, umask: int = 0o027) -> Iterator[None]:
    """Caddy as its unit starts it: `caddy run` on that file."""
    env = {**os.environ, "XDG_DATA_HOME": str(folder / "caddy-data"), "XDG_CONFIG_HOME": str(folder / "caddy-config")}
    with (folder / "caddy-unit.log").open("ab") as log:
        process = subprocess.Popen(
            [*prefix, caddy_program(), "run", "--config", str(config)], stdout=log, stderr=log, env=env, umask=umask
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)


# ---- users -----------------------------------------------------------------------------------

CADDY, PAGE = 64101, 64102
GITSTEAD_GROUP, PAGE_GROUP = 64201, 64202
IDS = {"root": 0, "caddy": CADDY, "gitstead-web": PAGE}
GROUPS = {"gitstead": GITSTEAD_GROUP, "gitstead-web": PAGE_GROUP}


def as_user(user: int, group: int, *, also: tuple[str, ...] = ()) -> list[str]:
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs", *also]


def unit(name: str) -> str:
    return (ROOT / "systemd" / f"{name}.service").read_text()


def make_folders_of_units(state: Path) -> None:
    """What the units' own `install -d` lines make, with numbers in place of names that this machine lacks."""
    lines = re.findall(
        r"install -d -m (\d+) -o (\S+) -g (\S+) /var/lib/gitstead/(\S+)",
        unit("caddy") + unit("gitstead-reconciler"),
    )
    assert {name for *_, name in lines} == {"caddy", "state", "inbox"}
    for mode, owner, group, name in lines:
        (state / name).mkdir(parents=True)
        os.chown(state / name, IDS[owner], GROUPS[group])
        (state / name).chmod(int(mode, 8))


@dataclass
class Server:
    """A platform whose Caddy, page and reconciler run as the units run them."""

    platform: Platform
    admin: Path

    @contextlib.contextmanager
    def caddy(self) -> Iterator[None]:
        prefix = as_user(CADDY, GITSTEAD_GROUP)
        with _caddy(prefix, self.platform.state / "caddy" / "last-good.json", self.admin.parent):
            wait_for(lambda: self.admin.exists(), "Caddy's admin socket")
            yield

    @contextlib.contextmanager
    def page(self) -> Iterator[None]:
        env = self.platform.environment() | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
        argv = [sys.executable, "-m", "gunicorn", "-c", "python:web.gunicorn_conf", "web.wsgi:app"]
        with (self.platform.folder / "page.log").open("ab") as log:
            process = subprocess.Popen(
                [*as_user(PAGE, PAGE_GROUP), *argv], env=env, stdout=log, stderr=log, cwd=ROOT, umask=0o007
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=10)

    def api(self, path: str) -> Mapping[str, object]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.platform.status_port}{path}", timeout=5) as answer:
            return dict(json.load(answer))

    def is_listed_healthy(self, name: str) -> bool:
        with contextlib.suppress(OSError):
            projects = self.api("/api/projects")["projects"]
            assert isinstance(projects, list)
            return [each["health"] for each in projects if each["project"] == name] == ["Healthy"]
        return False

    def may(self, user: int, group: int, code: str) -> bool:
        """Whether a line of Python on `state` (a Path) goes without an error for that user."""
        program = f"from pathlib import Path; import socket; state = Path({str(self.platform.state)!r}); {code}"
        argv = [*as_user(user, group), sys.executable, "-c", program]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0 or "Error" in done.stderr, done.stderr
        return done.returncode == 0


@pytest.fixture
def server(platform: Platform) -> Server:
    """Folders and capabilities as in `systemd/`."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("giving up root needs root and setpriv")
    make_folders_of_units(platform.state)
    sockets = platform.folder / "run-caddy"
    sockets.mkdir(mode=0o750)
    os.chown(sockets, CADDY, GITSTEAD_GROUP)
    admin = sockets / "admin.sock"
    base = json.loads((ROOT / "caddy" / "base.json").read_text())
    assert base["admin"]["listen"] == "unix//run/caddy/admin.sock|0660"
    base["admin"]["listen"] = f"unix/{admin}|0660"
    first = platform.state / "caddy" / "last-good.json"
    first.write_text(json.dumps(base))
    first.chmod(0o644)
    (platform.folder / "run").mkdir(mode=0o755)
    caps = re.search(r"^CapabilityBoundingSet=(.+)$", unit("gitstead-reconciler"), re.MULTILINE)
    assert caps
    kept = ",".join(f"+{each.removeprefix('CAP_').lower()}" for each in caps[1].split())
    masked = (sys.executable, "-c", "import os, sys; os.umask(0o27); os.execvp(sys.argv[1], sys.argv[1:])")
    platform.prefix = (*as_user(0, GITSTEAD_GROUP, also=(f"--bounding-set=-all,{kept}",)), *masked)
    platform.settings |= {"GITSTEAD_CADDY_ADMIN": str(admin)}
    return Server(platform, admin)


def test_caddy_and_the_page_run_as_users_of_their_own(server: Server) -> None:
    """Each with what it needs and nothing else; Caddy comes back from what it may read itself."""
    platform = server.platform
    with server.caddy(), server.page():
        platform.deploy("shop")
        platform.repos["shop"].push(app_files("v2"))
        platform.answers("shop", "v2")
        platform.healthy("shop")
        wait_for(lambda: server.is_listed_healthy("shop"), "the page lists it")
        assert server.api("/healthz")["ok"] is True
        asked = subprocess.run(
            [*as_user(PAGE, PAGE_GROUP), sys.executable, "-m", "reconciler", "sync"],
            env=platform.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert asked.returncode == 0, asked.stderr
        assert "asked" in asked.stdout

        powers = {
            "read the store": "(state / 'state/state.db').read_bytes()",
            "write the store": "(state / 'state/state.db').open('r+b')",
            "make files beside the store": "(state / 'state/x').write_text('')",
            "read keys": "(state / 'keys/verify-token').read_text()",
            "list mirrors": "list((state / 'mirrors').iterdir())",
            "read upstream files": "(state / 'upstreams/shop/current').read_text()",
            "write upstream files": "(state / 'upstreams/shop/current').write_text('x')",
            "write the inbox": "(state / 'inbox/inbox.db').open('r+b')",
            "use Caddy's admin": f"s = socket.socket(socket.AF_UNIX); s.connect({str(server.admin)!r})",
            "use Docker": "s = socket.socket(socket.AF_UNIX); s.connect('/var/run/docker.sock')",
            "replace what Caddy starts from": "(state / 'caddy/x').write_text('')",
        }
        page = {what for what, code in powers.items() if server.may(PAGE, PAGE_GROUP, code)}
        assert page == {"read the store", "read upstream files", "write the inbox"}
        caddy = {what for what, code in powers.items() if server.may(CADDY, GITSTEAD_GROUP, code)}
        assert caddy == {"read upstream files", "use Caddy's admin"}

    platform.stop()
    running = platform.ids()
    with server.page():
        wait_for(lambda: server.is_listed_healthy("shop"), "the page reads the store of a stopped reconciler")
    with server.caddy():
        wait_for(lambda: platform.get("shop.localhost") == (200, "v2"), "Caddy is back from last-good.json")
        assert platform.ids() == running


def test_a_caddy_that_its_unit_started_empty_is_given_its_routes(server: Server) -> None:
    platform = server.platform
    with server.caddy():
        platform.deploy("shop")
        route = f"/id/gitstead-{platform.instance}"
        assert admin_request(server.admin, "DELETE", route).status == 200
        platform.answers("shop", "v1")
    begun = time.time()
    platform.condition("shop", "CaddyUnavailable")
    assert platform.containers("shop", running=True), "nothing is concluded from its silence"
    with server.caddy():
        platform.answers("shop", "v1")
        platform.healthy("shop")
        assert time.time() - begun < 60
