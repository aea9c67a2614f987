"""One run of the demo: make what is missing, run `up` on it, say when all apps answered, go on or end.

Called by the command `demo`. Decides nothing about projects: those are the reconciler's business.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from reconciler.adapters.docker_engine import DockerEngine
from reconciler.demo.folder import DemoFolder, open_folder, stopped
from reconciler.demo.host_file import write_host_file
from reconciler.demo.repositories import make_repositories
from reconciler.demo.reset import remove_demo
from reconciler.demo.scripts import write_scripts
from reconciler.demo.watching import Settled, Watcher
from reconciler.demo.welcome import goodbye, shown, welcome
from reconciler.errors import EngineUnavailable, HostUnfit
from reconciler.host.base_image import ensure_base_image
from reconciler.service import serve
from reconciler.settings import Settings

BASE_IMAGES = ("static", "python")
LARGEST_LOG = 10_000_000

Say = Callable[[str], None]


@dataclass
class Demo:
    """One run on `folder`. `base` are the settings of the host: ports to begin with, engine, log level."""

    folder: DemoFolder
    base: Settings
    say: Say
    once: bool = False
    deadline_s: float = 600.0
    _settled: Settled | None = field(default=None, init=False)

    def run(self) -> int:
        """Until Ctrl-C or, with `once`, until all answered and everything is removed; the exit status.

        Raises HostUnfit where the machine or the folder will not do, and what starting Caddy raises.
        """
        is_new = open_folder(self.folder, throwaway=self.once)
        if not self.once:
            self._serve(is_new=is_new)
            self.say(goodbye(self.folder))
            return 0
        try:
            self._serve(is_new=is_new)
            return self._verdict()
        finally:
            self._tear_down()

    def _serve(self, *, is_new: bool) -> None:
        with stopped(self.folder):  # a demo that runs goes by the files that are written here
            self._make(is_new=is_new)
            settings = write_host_file(self.folder, self.base, self.say)
            write_scripts(self.folder)
        self._need_engine(settings)
        watcher = Watcher(settings, self.say)
        with self._log() as log:
            self.say(f"Starting. The reconciler's log is {shown(self.folder.log)}")
            try:
                serve(settings, web=True, say=self.say, ready=lambda: self._watch(watcher), log_to=log)
            finally:
                watcher.stop.set()

    def _watch(self, watcher: Watcher) -> None:
        """In a thread beside the reconciler: wait for the apps, then go on telling, or end the run."""
        try:
            self._settled = watcher.until_settled(self.deadline_s)
            if self._settled is None:
                return
            self._tell_failures(watcher, self._settled)
            if not self.once:
                self.say(welcome(self.folder, watcher.settings, self._settled.statuses))
                watcher.follow()
        finally:
            if self.once:
                os.kill(os.getpid(), signal.SIGTERM)

    def _tell_failures(self, watcher: Watcher, settled: Settled) -> None:
        for name, reason in settled.failures.items():
            self.say(f"\n{name} did not come up: {reason}")
            lines = [] if name == "page" else watcher.build_log(name)
            if lines:
                self.say("  The end of its build log:")
            for line in lines:
                self.say(f"    {line}")

    def _verdict(self) -> int:
        if self._settled is None:
            self.say("Stopped before every app had answered.")
            return 1
        if self._settled.failures:
            self.say(f"Failed: {', '.join(self._settled.failures)} did not answer.")
            return 1
        self.say(f"All apps and the status page answered after {self._settled.took_s:.0f}s.")
        return 0

    def _make(self, *, is_new: bool) -> None:
        if is_new:
            self.say(f"Making a demo in {self.folder.path}")
        made = make_repositories(self.folder)
        if made:
            self.say(f"Made the repositories {', '.join(made)}")
        elif not is_new:
            self.say(f"Continuing the demo in {self.folder.path}")
        for path in (self.folder.runtime, self.folder.log.parent):
            path.mkdir(exist_ok=True)

    def _need_engine(self, settings: Settings) -> None:
        """Docker must answer, and have the base images: making them here shows what is done."""
        engine = DockerEngine(settings.docker_host, instance="demo")
        try:
            missing = [each for each in BASE_IMAGES if engine.image_id(f"gitstead/base-{each}:latest") is None]
        except EngineUnavailable as error:
            raise HostUnfit(
                f"Docker does not answer: {error.what}",
                expected="a Docker engine",
                remedy="See gitstead doctor; gitstead doctor --fix installs and starts one",
            ) from error
        finally:
            engine.close()
        for name in missing:
            ensure_base_image(name, self.say)

    @contextmanager
    def _log(self) -> Iterator[TextIO]:
        """The reconciler's log; the one before is kept beside it once it is large."""
        path = self.folder.log
        if path.exists() and path.stat().st_size > LARGEST_LOG:
            path.replace(path.with_suffix(".1.log"))
        with path.open("a", buffering=1, encoding="utf-8") as log:
            yield log

    def _tear_down(self) -> None:
        """What `--once` made goes; a demo that was there before stays, stopped."""
        if not self.folder.is_throwaway:
            self.say(goodbye(self.folder))
            return
        self.say("Tearing everything down")
        remove_demo(self.folder, self.base, self.say)
