"""`gitstead up`: one reconciler, the status page, and a Caddy where none is named, kept running together.

Called by `cli` and `demo`. Supervises; what should run for projects is none of its business.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

import structlog

from reconciler.adapters.caddy_process import CaddyProcess
from reconciler.adapters.processes import inherited, start_daemon
from reconciler.adapters.service_manager import ServiceManager
from reconciler.bootstrap.platform import Platform, build
from reconciler.bootstrap.state import only_reconciler, prepare_state
from reconciler.errors import GitsteadError, HostUnfit
from reconciler.log_output import configure_logging
from reconciler.loop.queue import ALL
from reconciler.masking import Masker
from reconciler.settings import Settings

log = structlog.get_logger(__name__)
WATCH_S = 0.5
WEB_STOP_S = 5.0
WEB_PAUSE_S = 5.0

Say = Callable[[str], None]


@dataclass
class WebChild:
    """gunicorn with the status page; started again when it ends."""

    settings: Settings
    pid: int = 0
    started_at: float = 0.0

    def ensure(self) -> None:
        """Have it run, tried at most each five seconds; from the main thread alone, since the child ends
        with the thread that made it.
        """
        if self.pid and not self._has_ended():
            return
        now = time.monotonic()
        if self.pid and now - self.started_at < WEB_PAUSE_S:
            return
        if self.pid:
            log.warning("web.restarted", log=str(self.settings.state / "web.log"))
        self.started_at = now
        env = inherited(self.settings.environment())
        argv = [sys.executable, "-m", "gunicorn", "-c", "python:web.gunicorn_conf", "web.wsgi:app"]
        self.pid = start_daemon(argv, env=env, log_path=self.settings.state / "web.log", dies_with_parent=True)

    def stop(self) -> None:
        if not self.pid or self._has_ended():
            return
        os.kill(self.pid, signal.SIGTERM)
        ended = threading.Event()
        killer = threading.Timer(WEB_STOP_S, self._kill, args=(ended,))
        killer.start()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        ended.set()
        killer.cancel()
        self.pid = 0

    def _kill(self, ended: threading.Event) -> None:
        if not ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _has_ended(self) -> bool:
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
        except ChildProcessError:
            return True


@dataclass
class Pulse:
    """Passes the reconciler's beats on to the service manager, whose watchdog restarts a wedged one."""

    manager: ServiceManager
    platform: Platform
    told: int = 0

    def pass_on(self) -> None:
        if self.platform.heartbeat.beats != self.told:
            self.told = self.platform.heartbeat.beats
            self.manager.alive()


def serve(
    settings: Settings,
    *,
    web: bool,
    say: Say,
    ready: Callable[[], None] | None = None,
    log_to: TextIO | None = None,
) -> None:
    """Run until SIGINT or SIGTERM. `ready` is called, in a thread of its own, once everything has started.

    `log_to` takes the log in place of standard error. Raises HostUnfit where another reconciler has the
    state folder or the loop ended by itself, and what starting Caddy raises.
    """
    masker = Masker()
    configure_logging(level=settings.log_level, form=settings.log_format, stream=log_to, masker=masker)
    manager = ServiceManager(settings.notify_socket)
    host = prepare_state(settings)
    with only_reconciler(settings), _signals() as stopping:
        caddy = _caddy(settings)
        if caddy is not None:
            say(f"Caddy {caddy.ensure()}, visitors at http://{settings.listen_host}:{settings.http_port}")
        platform = build(settings, host, masker)
        child = WebChild(settings)
        loop = threading.Thread(target=platform.run, name="reconciler")
        loop.start()
        if web:
            child.ensure()
            say(f"Status page http://{settings.status_host}:{settings.status_port}")
        pulse = Pulse(manager, platform)
        manager.ready()
        if ready is not None:
            threading.Thread(target=ready, name="ready", daemon=True).start()
        try:
            while not stopping.wait(WATCH_S) and loop.is_alive():
                _keep_up(platform, caddy, child if web else None)
                pulse.pass_on()
        finally:
            manager.stopping()
            platform.stop()
            child.stop()
            loop.join()
            if caddy is not None:
                caddy.stop()
        if not stopping.is_set():
            raise HostUnfit(
                "the reconciler's loop ended by itself",
                expected="a loop that runs until it is stopped",
                remedy="The log says what happened; start it again",
            )


def _caddy(settings: Settings) -> CaddyProcess | None:
    """Our own Caddy, unless the host file names the socket of one that runs already."""
    if settings.caddy_admin is not None:
        return None
    folder: Path = settings.state / "caddy"
    return CaddyProcess(
        folder,
        admin_socket=settings.admin_socket,
        last_good=settings.last_good_caddy,
        listen=(settings.listen_host, settings.http_port),
    )


def _keep_up(platform: Platform, caddy: CaddyProcess | None, child: WebChild | None) -> None:
    if child is not None:
        child.ensure()
    if caddy is None or caddy.alive():
        return
    try:
        log.warning("caddy.restarted", how=caddy.ensure())
    except GitsteadError as error:
        log.warning("caddy.down", reason=error.reason, message=str(error))
    platform.queue.mark(ALL, "Caddy was started again")


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, with the earlier handlers put back afterwards."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
