"""Runs Caddy as our child where no Caddy of the host is used: `gitstead up` and `gitstead demo`.

Called by `bootstrap`. It must not touch a Caddy that it did not start.

The child has a session of its own: it survives a kill of the reconciler and goes on serving, since apps
outlive us; a clean stop of `up` ends it by `stop`. The next `up` takes over the one that still runs
instead of starting a second, which would share the port without an error and get half the visitors.
It is known by the socket's peer and a mark in that process's environment, so no kill can leave a Caddy
that is ours but not recognised. `caddy/last-good.json` is what it starts from, never `--resume`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Literal

from reconciler.adapters.caddy_socket import address_in_use, exchange, peer_pid
from reconciler.adapters.process_marks import environment_of, exits, marked_pids
from reconciler.adapters.processes import find_program, inherited, start_daemon
from reconciler.errors import CaddyUnavailable, HostUnfit, NotOurs

MARK = "GITSTEAD_CADDY"
START_TIMEOUT_S = 15.0
STOP_GRACE_S = 3.0
_LONGEST_SOCKET_PATH = 100
_POLL_S = 0.01
_PATIENCE_S = 1.0

How = Literal["reused", "started", "started from nothing"]


class CaddyProcess:
    """The one child of a state folder. `folder` holds socket, last-good, logs and Caddy's own data."""

    def __init__(self, folder: Path, *, admin_socket: Path, last_good: Path, listen: tuple[str, int]) -> None:
        """`listen` is the address of the apps' visitors, which nothing else may hold at the start."""
        self.folder = folder
        self.socket = admin_socket
        self.last_good = last_good
        self.listen = listen
        self.pid = 0
        self.problem = ""

    def ensure(self) -> How:
        """Have a Caddy of ours behind the socket: the one that runs, else a new one.

        "started from nothing" tells that last-good was missing or could not be used: the routes come back
        with the first pass, and `problem` says what was wrong with it. Raises `NotOurs` where a stranger
        listens on our socket, `CaddyUnavailable` where the address is taken or Caddy ends at once,
        `HostUnfit` where there is no Caddy program or the socket's path is too long.
        """
        self._prepare_folder()
        running = self._marked()
        peer = self._listener(patient=bool(running))
        if peer is not None and not self._is_ours(peer):
            raise NotOurs(
                f"process {peer} listens on {self.socket}, and Gitstead did not start it",
                expected="no listener, or a Caddy of this state folder",
                remedy="End it, or name its socket as caddy_admin in host.yaml to use it",
            )
        for stray in running:
            if stray != peer:
                _end(stray, gently=peer is None)
        if peer is not None:
            self.pid = peer
            return "reused"
        _refuse_taken(self.listen)
        return self._start()

    def alive(self) -> bool:
        """Whether our child runs and its admin socket takes connections."""
        return bool(self.pid) and not _has_ended(self.pid) and peer_pid(self.socket) == self.pid

    def stop(self) -> None:
        """End every Caddy of this state folder: SIGTERM, then SIGKILL after 3 s (open streams would hold it)."""
        running = self._marked()
        gently = peer_pid(self.socket) in (None, *running)
        for pid in running:
            _end(pid, gently=gently)
        self.pid = 0
        if peer_pid(self.socket) is None:
            self.socket.unlink(missing_ok=True)

    def _listener(self, *, patient: bool) -> int | None:
        """Who listens on the socket; a Caddy that runs gets a moment, since ending it would be felt."""
        deadline = time.monotonic() + (_PATIENCE_S if patient else 0.0)
        while (peer := peer_pid(self.socket)) is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return peer

    def _prepare_folder(self) -> None:
        if len(os.fsencode(self.socket)) > _LONGEST_SOCKET_PATH:
            raise HostUnfit(
                f"path {self.socket} of Caddy's admin socket is too long for the system",
                expected=f"at most {_LONGEST_SOCKET_PATH} bytes",
                remedy="Choose a state folder with a shorter path",
            )
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        except OSError as error:
            raise HostUnfit(
                f"folder {self.folder} cannot be prepared: {error.strerror}",
                expected="a folder of the user who runs Gitstead",
            ) from error

    def _start(self) -> How:
        self.problem = ""
        kept = self._last_good()
        if kept is not None:
            try:
                self._launch(kept)
                return "started"
            except CaddyUnavailable as error:
                # A configuration that Caddy refuses must not keep it down: the first pass puts the routes back.
                self.problem = f"{self.last_good} cannot be used: {error.what}"
        self._launch({})
        return "started from nothing"

    def _last_good(self) -> dict[str, Any] | None:
        try:
            config = json.loads(self.last_good.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self.problem = f"{self.last_good} cannot be used: {error}"
            return None
        if not (isinstance(config, dict) and config):
            self.problem = f"{self.last_good} cannot be used: it holds no configuration"
            return None
        return config

    def _launch(self, config: dict[str, Any]) -> None:
        """Start with `config` under our own admin section and wait until the socket answers."""
        boot = self.folder / "boot.json"
        boot.write_text(json.dumps(self._logging() | config | {"admin": self._admin()}))
        boot.chmod(0o600)
        log = self.folder / "start.log"
        log.write_text("")
        environment = inherited(
            {
                MARK: str(self.folder.resolve()),
                "XDG_DATA_HOME": str(self.folder / "data"),
                "XDG_CONFIG_HOME": str(self.folder / "config"),
            }
        )
        argv = [_program(environment), "run", "--config", str(boot)]
        self.pid = start_daemon(argv, env=environment, log_path=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_up():
            if _has_ended(self.pid) or time.monotonic() > deadline:
                _end(self.pid, gently=True)
                raise CaddyUnavailable(
                    f"Caddy did not start: {_last_words(log)}",
                    expected=f"its admin socket within {START_TIMEOUT_S:g} s",
                    remedy=f"See {log}",
                )
            time.sleep(_POLL_S)

    def _is_up(self) -> bool:
        """Whether it has taken its configuration: the admin socket is there before that, and says `null`."""
        if peer_pid(self.socket) != self.pid:
            return False
        try:
            return exchange(self.socket, "GET", "/config/", headers={}).body.strip() not in (b"", b"null")
        except CaddyUnavailable:
            return False

    def _admin(self) -> dict[str, Any]:
        return {"listen": f"unix/{self.socket}|0600", "config": {"persist": False}}

    def _logging(self) -> dict[str, Any]:
        file = {"output": "file", "filename": str(self.folder / "caddy.log"), "roll_size_mb": 10, "roll_keep": 2}
        return {"logging": {"logs": {"default": {"writer": file}}}}

    def _marked(self) -> list[int]:
        return [pid for pid, value in marked_pids(MARK).items() if value == str(self.folder.resolve())]

    def _is_ours(self, pid: int) -> bool:
        return environment_of(pid).get(MARK) == str(self.folder.resolve())


def _program(environment: dict[str, str]) -> str:
    beside = Path(sys.executable).with_name("caddy")
    return str(beside) if os.access(beside, os.X_OK) else find_program("caddy", environment)


def _refuse_taken(listen: tuple[str, int]) -> None:
    if address_in_use(*listen):
        raise CaddyUnavailable(
            f"address {listen[0]}:{listen[1]} is in use by another program",
            expected="a free address for the apps' visitors",
            remedy="End that program, or set another http_port in host.yaml",
        )


def _has_ended(pid: int) -> bool:
    """Whether a process has ended; if it was our own child, its status is collected."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _end(pid: int, *, gently: bool) -> None:
    """Gently lets requests finish, but a Caddy that ends so unlinks its socket's path, whose ever it is by now."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if MARK in environment_of(pid):  # the number may have gone to another process by now
            if gently:
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            if not (gently and exits(pidfd, time.monotonic() + STOP_GRACE_S)):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                exits(pidfd, time.monotonic() + STOP_GRACE_S)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)
        _has_ended(pid)


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][-400:] if lines else "it said nothing"
