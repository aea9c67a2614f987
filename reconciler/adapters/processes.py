"""The one way to run a program: an argv list, never a shell, with a deadline, ended as a whole group.

Called by every adapter that needs a program (buildx, apt, debootstrap, …) and by `host` and `demo`.
It must not interpret what a program prints, and must not write secrets: no caller puts one into an argv.

Three ways: `run` collects bounded output, `stream` hands over each line while the program works,
`start_daemon` leaves a long-lived child in a session of its own. The first two end with the `bounds` of the job
that they work for. Children of the first two die with us
where util-linux's `setpriv` is present. What a SIGKILL leaves behind all the same is found by the mark
`GITSTEAD_JOB` in its environment: see `process_marks`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reconciler.adapters.bounds import Cancellation, current
from reconciler.errors import HostUnfit, ProgramFailed, ProgramTimedOut

Stream = Literal["stdout", "stderr"]
OnLine = Callable[[Stream, bytes], None]

MARK = "GITSTEAD_JOB"
GRACE_S = 1.0
LINE_LIMIT = 1024 * 1024
OUTPUT_LIMIT = 4 * 1024 * 1024
_READ = 65536
_PASSED_ON = (
    "PATH HOME USER LOGNAME LANG LC_ALL TZ TMPDIR XDG_RUNTIME_DIR XDG_CONFIG_HOME "
    "http_proxy https_proxy no_proxy all_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY "
    "SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS GIT_SSL_CAINFO "
    "PIP_CERT PIP_INDEX_URL PIP_EXTRA_INDEX_URL NPM_CONFIG_REGISTRY npm_config_registry"
)
_NAMES = frozenset(_PASSED_ON.split())
_PASSED_ON_PREFIXES = ("DOCKER_", "BUILDX_", "BUILDKIT_")


@dataclass(frozen=True)
class Finished:
    """How a program ended. `stdout` and `stderr` are the last bytes of each; empty after `stream`."""

    argv: tuple[str, ...]
    status: int
    duration_s: float
    stdout: bytes = b""
    stderr: bytes = b""
    cancelled: bool = False

    @property
    def text(self) -> str:
        """Standard output as text, without the newline at its end."""
        return self.stdout.decode("utf-8", "replace").rstrip("\n")

    @property
    def last_words(self) -> str:
        """The last lines that the program said, standard error first: the reason, as a rule."""
        said = (self.stderr.strip() or self.stdout.strip()).decode("utf-8", "replace")
        return " | ".join(line.strip() for line in said.splitlines()[-3:] if line.strip())[-600:]


class _Group:
    """A process group that is signalled only while its leader is not reaped, so never a stranger's."""

    def __init__(self, leader: subprocess.Popen[bytes]) -> None:
        self.leader = leader
        self.timed_out = False
        self._lock = threading.Lock()
        self._reaped = False
        self._timers: list[threading.Timer] = []

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        with self._lock:
            if self._reaped:
                return
            self._timers.append(timer)
            timer.start()

    def expire(self) -> None:
        self.timed_out = True
        self.end()

    def end(self) -> None:
        self.signal(signal.SIGTERM)
        self.after(GRACE_S, self.kill)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        with self._lock:
            if not self._reaped:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.leader.pid, number)

    def reap(self) -> int:
        """End what the leader left running, then collect its status. Call once the leader has exited."""
        self.kill()
        with self._lock:
            status = self.leader.wait()
            self._reaped = True
            for timer in self._timers:
                timer.cancel()
        return status


def inherited(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The part of our environment that programs may see (paths, locale, proxies, certificates), and `extra`.

    An allow-list, so that a secret in our own environment never reaches a child by accident.
    """
    passed_on = {
        name: value for name, value in os.environ.items() if name in _NAMES or name.startswith(_PASSED_ON_PREFIXES)
    }
    passed_on.setdefault("PATH", os.defpath)
    return passed_on | dict(extra or {})


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    remedy: str = "",
) -> Finished:
    """Run a program to its end and collect the last 4 MiB of each stream. `env` is the whole environment.

    Raises `ProgramFailed` for a status other than 0 (unless `check` is off), `ProgramTimedOut` at the
    deadline, `HostUnfit` where the program is missing.
    """
    tails: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

    def keep(stream: Stream, data: bytes) -> None:
        tail = tails[stream]
        tail += data
        if len(tail) > OUTPUT_LIMIT:
            del tail[: len(tail) - OUTPUT_LIMIT]

    ended = _supervise(argv, keep, timeout_s=timeout_s, env=env, cwd=cwd)
    finished = Finished(ended.argv, ended.status, ended.duration_s, bytes(tails["stdout"]), bytes(tails["stderr"]))
    if check and finished.status != 0:
        raise ProgramFailed(
            f"{named(argv)} ended with status {finished.status}: {finished.last_words or 'it said nothing'}",
            expected="status 0",
            remedy=remedy,
        )
    return finished


def stream(
    argv: Sequence[str],
    on_line: OnLine,
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    cancellation: Cancellation | None = None,
    job_id: str = "",
) -> Finished:
    """Run a program and call `on_line(stream, line)`, in this thread, for each line as it comes.

    Lines come without their newline; one longer than 1 MiB comes in pieces. Any status is returned, and
    `cancelled` says whether somebody ended it; the deadline raises `ProgramTimedOut`. `job_id` marks the
    children, so it holds the instance as well: stores of two instances count alike.
    """
    pending: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

    def split(source: Stream, data: bytes) -> None:
        buffer = pending[source]
        buffer += data
        *lines, rest = bytes(buffer).split(b"\n")
        for line in lines:
            on_line(source, line)
        buffer[:] = rest
        if len(buffer) >= LINE_LIMIT:
            on_line(source, bytes(buffer))
            buffer.clear()

    marked = dict(inherited() if env is None else env)
    if job_id:
        marked[MARK] = job_id
    try:
        return _supervise(argv, split, timeout_s=timeout_s, env=marked, cwd=cwd, cancellation=cancellation)
    finally:
        for source, rest in pending.items():
            if rest:
                on_line(source, bytes(rest))


def _supervise(
    argv: Sequence[str],
    on_data: Callable[[Stream, bytes], None],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    cancellation: Cancellation | None = None,
) -> Finished:
    cancellation, bounds = cancellation or Cancellation(), current()
    bounds.check()
    began = time.monotonic()
    if cancellation.cancelled:
        return Finished(tuple(argv), -signal.SIGTERM, 0.0, cancelled=True)
    environment = dict(inherited() if env is None else env)
    group = _Group(_spawn(argv, environment, cwd))
    try:
        group.after(min(timeout_s, bounds.left_s, threading.TIMEOUT_MAX), group.expire)
        with cancellation.ending(group.end), bounds.cancellation.ending(group.end):
            _pump(group, on_data)
    finally:
        if group.leader.returncode is None:
            group.kill()
        status = group.reap()
        for pipe in (group.leader.stdout, group.leader.stderr):
            if pipe is not None:
                pipe.close()
    duration_s = time.monotonic() - began
    bounds.check()
    if group.timed_out and not cancellation.cancelled:
        raise ProgramTimedOut(
            f"{named(argv)} was ended after {duration_s:.1f} s",
            expected=f"an end within {timeout_s:g} s",
            remedy="It is tried again; raise its time limit if it needs longer",
        )
    return Finished(tuple(argv), status, duration_s, cancelled=cancellation.cancelled)


def _spawn(argv: Sequence[str], env: dict[str, str], cwd: Path | None) -> subprocess.Popen[bytes]:
    program = find_program(argv[0], env)
    # Safe with threads, unlike a preexec_fn. The signal comes when the *thread* that started the child
    # ends, and that thread stays in `_pump` until the child has ended.
    setpriv = shutil.which("setpriv", path=env.get("PATH"))
    prefix = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    try:
        return subprocess.Popen(  # noqa: S603 - an argv list, by design
            [*prefix, program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramFailed(
            f"{named(argv)} could not be started in {cwd or 'the current folder'}: {error.strerror}",
            expected="an executable file and an existing folder",
        ) from error


def _pump(group: _Group, on_data: Callable[[Stream, bytes], None]) -> None:
    leader = group.leader
    assert leader.stdout is not None  # noqa: S101 - tells mypy about PIPE
    assert leader.stderr is not None  # noqa: S101
    pidfd = os.pidfd_open(leader.pid)
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(leader.stdout, selectors.EVENT_READ, "stdout")
            selector.register(leader.stderr, selectors.EVENT_READ, "stderr")
            selector.register(pidfd, selectors.EVENT_READ, "exit")
            give_up = float("inf")
            while selector.get_map():
                ready = selector.select(max(0.0, give_up - time.monotonic()) if give_up < 1e18 else None)
                if not ready:
                    return  # a descendant left the group and still holds the pipe
                for key, _ in ready:
                    if key.data == "exit":
                        selector.unregister(pidfd)
                        group.kill()
                        give_up = time.monotonic() + GRACE_S
                        continue
                    data = os.read(key.fd, _READ)
                    if data:
                        on_data(key.data, data)
                    else:
                        selector.unregister(key.fileobj)
        finally:
            os.close(pidfd)


def find_program(name: str, env: Mapping[str, str]) -> str:
    """The program's path, looked up in `env`'s PATH; `HostUnfit` where it is missing."""
    found = shutil.which(name, path=env.get("PATH", os.defpath))
    if found is None:
        raise HostUnfit(
            f'program "{name}" was not found',
            expected=f"it in PATH={env.get('PATH', os.defpath)}",
            remedy="Run gitstead doctor, which names what is missing",
        )
    return found


def named(argv: Sequence[str]) -> str:
    """A command for people: its first words, since a long argv hides the message."""
    words = " ".join(argv)
    return f'"{words if len(words) <= 100 else words[:99] + "…"}"'


def start_daemon(argv: Sequence[str], *, env: Mapping[str, str], log_path: Path, dies_with_parent: bool = False) -> int:
    """Start a long-lived child in a session of its own, with both streams appended to a log; its pid.

    It outlives us, unless `dies_with_parent` (then SIGTERM comes when the calling *thread* ends: call it
    from the main thread). A parent that stays alive learns of its end with `os.waitpid`.
    """
    command = [find_program(argv[0], env), *argv[1:]]
    setpriv = shutil.which("setpriv", path=env.get("PATH"))
    if dies_with_parent and setpriv:
        command = [setpriv, "--pdeathsig", "TERM", "--", *command]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        command[0],
        command,
        dict(env),
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log_path), flags, 0o640),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
