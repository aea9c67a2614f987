"""Unchanged means untouched (invariant 11): passes with nothing to do write nothing, counted from outside."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine_support import docker, new_instance, remove_everything, tiny_image
from tests.platform_support import Platform, wait_for
from tests.platform_support import platform as make_platform
from tests.relay_support import Relay

pytestmark = pytest.mark.real
NAMES = ("app-a", "app-b", "app-c", "app-d", "app-e")
LOOKS = 6


@dataclass
class Watch:
    """What can be seen of every write without asking the process itself."""

    platform: Platform
    relay: Relay
    stores: dict[str, sqlite3.Connection]

    def seen(self) -> dict[str, object]:
        state = self.platform.state
        return {
            "engine": len(self.relay.writes),
            "caddy": [each for each in self.admin_requests() if each[0] not in ("GET", "HEAD")],
            "git": _files(state / "mirrors"),
            "upstreams": _files(state / "upstreams"),
            "last-good": _files(state / "caddy", "last-good*"),
            "store": {name: _content(state, name) for name in ("state/state.db", "state/logs.db", "inbox/inbox.db")},
            "versions": {name: one.execute("PRAGMA data_version").fetchone()[0] for name, one in self.stores.items()},
        }

    def admin_requests(self) -> list[tuple[str, str]]:
        """Caddy's own log of what its admin API was asked."""
        lines = (self.platform.state / "caddy" / "caddy.log").read_text().splitlines()
        rows = [json.loads(line) for line in lines if '"received request"' in line]
        return [(row["method"], row["uri"]) for row in rows]


def _files(folder: Path, pattern: str = "**/*") -> dict[str, tuple[int, int]]:
    found = ((path, path.stat()) for path in sorted(folder.glob(pattern)))
    return {str(path): (status.st_mtime_ns, status.st_size) for path, status in found}


def _content(state: Path, name: str) -> dict[str, str]:
    """Digests of a database and its write-ahead log; the shared memory beside it is no write."""
    paths = [path for path in (state / name, state / f"{name}-wal") if path.exists()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    """Five projects that all run, of one repository, looked at all the time."""
    folder = Path(tempfile.mkdtemp(prefix="gs-"))
    folder.chmod(0o755)
    with Relay(folder / "engine.sock", Path("/var/run/docker.sock")) as relay, make_platform(folder) as platform:
        platform.settings = {
            "GITSTEAD_DOCKER_HOST": relay.url,
            "GITSTEAD_FULL_LOOK_S": "0.3",
            "GITSTEAD_POLL_S": "0.3",
        }
        source = {"repo": str(platform.app("shared").bare)}
        platform.platform_repo.push({f"projects/{name}.yaml": platform.spec(name, source=source) for name in NAMES})
        platform.start()
        for name in NAMES:
            platform.healthy(name)
        platform.converged()
        stores = {name: _reader(platform.state / name / f"{name}.db") for name in ("state", "inbox")}
        with closing(stores["state"]), closing(stores["inbox"]):
            yield Watch(platform, relay, stores)


def _reader(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)


def looked(platform: Platform, count: int, *, meanwhile: Callable[[], object] | None = None) -> None:
    """Until `count` further looks have been made."""
    times: set[float] = set()

    def question() -> bool:
        if meanwhile is not None:
            meanwhile()
        times.add((platform.beat() or {}).get("looked_at", 0))
        return len(times) > count

    wait_for(question, f"{count} looks")


def test_looks_at_an_unchanged_world_write_nothing_anywhere(watch: Watch) -> None:
    """Full looks and polls each 0.3 s over five running projects: Docker, Caddy, Git and the store stay as they are."""
    platform, relay = watch.platform, watch.relay
    before, asked, admin = watch.seen(), len(relay.requests), len(watch.admin_requests())
    ran = platform.ids()
    looked(platform, LOOKS)
    assert watch.seen() == before
    assert platform.ids() == ran
    assert any("/containers/json" in path for _, path in relay.requests[asked:]), "the engine was looked at"
    assert len(watch.admin_requests()) > admin, "Caddy was looked at"


def test_a_wish_to_look_now_writes_nothing_but_its_own_request(watch: Watch) -> None:
    before = watch.seen()
    content = {name: _content(watch.platform.state, name) for name in ("state/state.db", "state/logs.db")}
    watch.platform.looks(3)
    after = watch.seen()
    for part in before.keys() - {"store", "versions"}:
        assert after[part] == before[part], part
    for name in ("state/state.db", "state/logs.db"):
        assert _content(watch.platform.state, name) == content[name]


def test_events_of_somebody_elses_containers_lead_to_looks_and_to_no_write(watch: Watch) -> None:
    stranger = new_instance()
    try:
        with tiny_image() as image:
            before = watch.seen()
            name = f"stranger-{stranger}"
            label = f"gitstead.instance={stranger}"
            docker("run", "-d", "--name", name, "--label", label, image, "sleep", "1000")
            docker("kill", name)
            docker("start", name)
            docker("rm", "-f", name)
            looked(watch.platform, 2)
            assert watch.seen() == before
    finally:
        remove_everything(stranger)


def test_a_start_over_what_runs_already_writes_to_nothing_but_the_store(watch: Watch) -> None:
    """A restart of the reconciler alone: no container, route, file or mirror is touched."""
    platform = watch.platform
    ran = platform.ids()
    platform.kill()
    before = watch.seen()
    platform.start()
    platform.wait_started()
    looked(platform, LOOKS)
    after = watch.seen()
    for part in ("engine", "caddy", "upstreams", "last-good"):
        assert after[part] == before[part], part
    assert platform.ids() == ran
    for name in NAMES:
        assert len(platform.deployments(name)) == 1
        assert platform.events(name) == []
