"""One platform that takes many kills: aimed at a place, killed there, started again, looked at from outside.

Used by every test of this folder. A stage is kept from one test to the next while it is whole, so that each
fault costs one start of the reconciler; a test that fails throws it away.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.apply.failpoints import AIM, FOLDER, REACHED
from reconciler.history.requests import Inbox
from tests.chaos.whole import is_adopted, problems
from tests.platform_support import Platform, platform, wait_for

WHOLE_S = 60.0
VISIT_S = 0.02
APP = "app"
GOOD, SICK = "ok", None


@dataclass
class Stage:
    """`project` is the one project, "" while there is none; `serving` is the version that should answer."""

    platform: Platform
    project: str = ""
    serving: str = ""
    pushed: int = 0
    named: int = 0
    updates: int = 0
    refused: bool = False

    # ---- what Git asks for ------------------------------------------------------------------

    def push_version(self, *, health: str | None = GOOD) -> str:
        """A new commit of the app; without `health` its check never passes. The version."""
        self.pushed += 1
        version = f"v{self.pushed}"
        had_health = (self.platform.repos[APP].clone / "ok").exists()
        files: dict[str, str | bytes | None] = {"index.html": version}
        if health is not None or had_health:
            files["ok"] = health
        self.platform.repos[APP].push(files, version)
        self.updates += 1
        return version

    def push_spec(self, **keys: Any) -> None:
        """The project's spec, with these top-level keys put in place of the usual ones."""
        usual: dict[str, Any] = {
            "source": {"repo": str(self.platform.repos[APP].bare)},
            "build": {"type": "static"},
            "run": {"memory": "64m"},
            "health": {"path": "/ok", "timeout": "60s", "interval": "1s"},
            "deploy": {"drain": "0s"},
        }
        self.platform.push_spec(self.project, **(usual | keys))

    def name_project(self) -> None:
        """A project that this platform never had."""
        self.named += 1
        self.project, self.updates = f"p{self.named}", -1

    # ---- states to begin in -----------------------------------------------------------------

    def leave(self) -> str:
        """Take the project out of Git; its name."""
        leaving, self.project, self.serving, self.refused = self.project, "", "", False
        self.platform.platform_repo.push({f"projects/{leaving}.yaml": None}, f"Remove {leaving}")
        return leaving

    def empty(self) -> None:
        """No project, and nothing of one."""
        if self.project:
            self.start()
            self.update_adopted()
            self.leave()
        self.be_whole()

    def update_adopted(self) -> None:
        """A release of this store's own: what was adopted is then known for certain, or removed."""
        if is_adopted(self):
            self.serving = self.push_version()
            self.be_whole()

    def live(self) -> None:
        """A project that serves the newest version."""
        if not self.project:
            self.name_project()
            self.serving = self.push_version()
            self.push_spec()
        elif self.refused:
            self.refused = False
            self.serving = self.push_version()
            self.push_spec()
        self.be_whole()
        self.update_adopted()

    def lose_store(self) -> None:
        """Kill where it runs, so that Caddy goes on, and delete the SQLite files."""
        if self.is_running():
            self.kill()
        for path in (self.platform.state / "state").iterdir():
            path.unlink()

    def be_whole(self, *, timeout_s: float = WHOLE_S) -> None:
        """Wait until nothing from outside looks wrong."""
        self.start()
        deadline = time.monotonic() + timeout_s
        while found := problems(self):
            assert self.is_running(), f"it ended by itself\n{self._story()}"
            assert time.monotonic() < deadline, f"not whole within {timeout_s:g}s: {found}\n{self._story()}"
            time.sleep(0.02)

    def _story(self) -> str:
        return f"reached {self.reached()}\n{self.platform.log()[-4000:]}"

    # ---- killing ----------------------------------------------------------------------------

    @property
    def aiming(self) -> Path:
        return self.platform.folder / "aiming"

    def aim(self, place: str) -> None:
        """From now on the reconciler ends itself at `place` (or `place#n`); "" for nowhere."""
        (self.aiming / REACHED).write_text("")
        (self.aiming / AIM).write_text(place)

    def reached(self) -> list[str]:
        """Every place that was reached since the last `aim`."""
        path = self.aiming / REACHED
        return path.read_text().split() if path.exists() else []

    def is_running(self) -> bool:
        process = self.platform.process
        return process is not None and process.poll() is None

    def start(self) -> None:
        if not self.is_running():
            self.platform.start()

    def wait_killed(self, *, timeout_s: float = WHOLE_S) -> None:
        """Wait for the aimed end; an AssertionError tells what was reached instead."""
        deadline = time.monotonic() + timeout_s
        while self.is_running():
            assert time.monotonic() < deadline, f"not killed within {timeout_s:g}s\n{self._story()}"
            time.sleep(0.01)
        assert self.platform.process is not None
        status = self.platform.process.returncode
        assert status == -signal.SIGKILL, f"it ended with {status}\n{self.platform.log()[-3000:]}"

    def kill(self) -> None:
        """SIGKILL from outside."""
        self.platform.kill()

    def kill_after(self, after_s: float) -> None:
        """SIGKILL at no place in particular."""
        assert self.platform.process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.platform.process.wait(timeout=after_s)
        assert self.is_running(), self._story()
        self.kill()

    def recover(self) -> float:
        """Start again, aimed at nothing, and wait until all is whole; how many seconds that took."""
        self.aim("")
        started_at = time.monotonic()
        self.start()
        self.be_whole()
        return time.monotonic() - started_at

    def ends_or_is_whole(self, *, timeout_s: float = WHOLE_S) -> bool:
        """Whether it was killed; False where all became whole without."""
        deadline = time.monotonic() + timeout_s
        while self.is_running():
            if not problems(self):
                return False
            assert time.monotonic() < deadline, f"neither killed nor whole\n{self._story()}"
            time.sleep(0.02)
        return True

    # ---- looking ----------------------------------------------------------------------------

    def answer(self) -> tuple[int, str]:
        return self.platform.get(f"{self.project}.localhost")

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Visitors come all the while, and each gets the version of before or the one of after."""
        host, allowed = f"{self.project}.localhost", {self.serving}
        odd: list[tuple[int, str]] = []
        done = threading.Event()

        def visit() -> None:
            while not done.wait(VISIT_S):
                seen = self.platform.get(host)
                if seen[0] != 200 or seen[1].strip() not in allowed | {self.serving}:
                    odd.append(seen)

        visitor = threading.Thread(target=visit)
        visitor.start()
        try:
            yield
        finally:
            done.set()
            visitor.join()
        assert not odd, f"{len(odd)} visitors got something else: {odd[:3]}"

    def look_again(self) -> None:
        """Have everything looked at once more, from the beginning."""
        before = time.time()
        inbox = Inbox(self.platform.state / "inbox" / "inbox.db")
        try:
            inbox.leave_request("sync", "", {}, by="chaos", now=before)
        finally:
            inbox.close(clean=False)
        wait_for(lambda: (self.platform.beat() or {}).get("looked_at", 0) > before, "a look")


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """A platform with an app repository and no project, not started yet."""
    folder = Path(tempfile.mkdtemp(prefix="gs-"))
    folder.chmod(0o755)
    for name in ("aiming", "tmp"):
        (folder / name).mkdir()
    try:
        with platform(folder, failpoint=f"{FOLDER}{folder / 'aiming'}") as made:
            made.settings["TMPDIR"] = str(folder / "tmp")
            made.app(APP, files={"index.html": "v0", "ok": GOOD})
            yield Stage(made)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
