"""A small platform in a real store, for tests of the web: filled through the real recorder and heartbeat.

Used by tests of web and browser. No part of the web itself; nothing here pretends to be a store.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask
from flask.testing import FlaskClient

from reconciler.heartbeat import HeartbeatFile
from reconciler.history.log_sink import BuildLogSink
from reconciler.history.store import open_store
from reconciler.model.condition import Condition, Health, Reason
from reconciler.model.desired import Desired
from reconciler.model.job import Job, JobKey
from reconciler.model.naming import Identity
from reconciler.model.observed import Engine, Observed, Routes
from reconciler.model.operation import (
    AdvanceDeployment,
    AssignRelease,
    Cause,
    CreateContainer,
    EndDeployment,
    MarkLive,
    OpenDeployment,
    Operation,
)
from reconciler.model.release import Commit, State
from reconciler.model.spec import Diagnostic, Location, PlatformSpec, RunSpec
from reconciler.model.status import ProjectStatus
from reconciler.settings import Settings
from web.app import create_app

SHA = "3f9c1e2a77ab0120c0ffee00b71d0049c41d0a70"
REVISION = f"main@{SHA}"
CHANGE = Cause("change", "push to main of /srv/git/blog.git")
_ON_THE_WAY = (State.CHECKING, State.SWITCHING)


class World:
    """One state folder with its stores, and the time at which the next thing happens."""

    def __init__(self, folder: Path, *, status_port: int = 8600) -> None:
        self.settings = Settings(state=folder / "state", runtime=folder / "run", status_port=status_port)
        self.store = open_store(
            state_db=self.settings.state_db,
            logs_db=self.settings.logs_db,
            inbox_db=self.settings.inbox_db,
            create=True,
        )
        self.recorder = self.store.recorder
        self.now = time.time()
        self.facts: dict[str, str] = {}
        self._heartbeat = HeartbeatFile(self.settings.heartbeat, instance="k3v9qa", facts=lambda: self.facts)

    def close(self) -> None:
        self.store.close()

    def beat(
        self, *, at: float = 0.0, engine: str = "", caddy: str = "", diagnostics: tuple[Diagnostic, ...] = ()
    ) -> None:
        """The reconciler looked at the world, just now or at `at`."""
        self._heartbeat.git_checked(at or time.time())
        self._heartbeat.beat(
            Desired(REVISION, PlatformSpec(), complete=True, diagnostics=diagnostics),
            Observed(
                at or time.time(),
                engine=None if engine else Engine(),
                engine_problem=engine,
                routes=None if caddy else Routes("0" * 64),
                caddy_problem=caddy,
            ),
        )

    def app(self, **options: int) -> Flask:
        return create_app(self.settings, **options)

    def client(self) -> FlaskClient:
        return self.app().test_client()

    # ---- deployments -----------------------------------------------------------------------

    def open(
        self,
        project: str,
        number: int,
        *,
        subject: str = "Fix cart total",
        author: str = "Ana",
        cause: Cause = CHANGE,
        took_s: float = 0.2,
    ) -> None:
        """Deployment `number` enters `queued`."""
        operation = OpenDeployment(
            project=project,
            cause=cause,
            deployment=number,
            previous=number - 1,
            commit=Commit(SHA, "tree", author, subject, self.now),
            source_key=f"source-{number}",
            content_key=f"content-{number}",
            config_digest="config",
            config={"run.memory": "256m"},
            run=RunSpec(env={"LOG_LEVEL": "info"}),
            spec_blob="b" * 40,
            platform_revision=REVISION,
            deadline_s=60.0,
            branch="main",
            build_type="node (Next.js)",
        )
        self._carry_out(operation, lambda: self.recorder.open_deployment(operation, self.now), took_s=took_s)

    def advance(self, project: str, number: int, state: State, *, took_s: float = 0.4) -> None:
        operation = AdvanceDeployment(project=project, cause=CHANGE, deployment=number, state=state, deadline_s=60.0)
        self._carry_out(operation, lambda: self.recorder.advance(operation, self.now), took_s=took_s)

    def start(self, project: str, number: int, *, took_s: float = 0.6) -> None:
        """The image is known; the deployment enters `starting` and its container is created."""
        release = AssignRelease(
            project=project,
            cause=CHANGE,
            deployment=number,
            release=number,
            image_id=f"sha256:{number:064x}",
            content_key=f"content-{number}",
            config_digest="config",
            deadline_s=60.0,
        )
        self._carry_out(release, lambda: self.recorder.assign_release(release, self.now), took_s=0.01)
        create = CreateContainer(
            project=project,
            cause=CHANGE,
            deployment=number,
            identity=identity(project, number),
            image=release.image_id,
            network=f"gs-k3v9qa-{project}",
            run=RunSpec(),
        )
        self._carry_out(create, lambda: None, took_s=took_s)

    def go_live(self, project: str, number: int) -> None:
        operation = MarkLive(project=project, cause=CHANGE, deployment=number, previous=number - 1, drain_s=30.0)
        self._carry_out(operation, lambda: self.recorder.mark_live(operation, self.now), took_s=0.01)

    def fail(self, project: str, number: int, *, message: str, hint: str, reason: Reason = Reason.BUILD_FAILED) -> None:
        operation = EndDeployment(
            project=project,
            cause=CHANGE,
            deployment=number,
            state=State.FAILED,
            reason=reason,
            message=message,
            hint=hint,
        )
        self._carry_out(operation, lambda: self.recorder.end(operation, self.now), took_s=0.01)

    def deploy(self, project: str, number: int, *, subject: str = "Fix cart total") -> None:
        """A whole deployment, from `queued` to `live`."""
        self.open(project, number, subject=subject)
        self.advance(project, number, State.BUILDING, took_s=9.3)
        self.start(project, number)
        for state in _ON_THE_WAY:
            self.advance(project, number, state)
        self.go_live(project, number)

    def build_log(self, project: str, number: int) -> BuildLogSink:
        return self.store.logs.open_log(project, number, now=self.now)

    def built(self, project: str, number: int, *, seconds: float, steps: int = 0, cached: int = 0) -> None:
        """The job of a build that went well."""
        ended = Job(
            JobKey(project, number, "build"),
            "succeeded",
            f"content-{number}",
            self.now,
            self.now + 1200,
            ended_at=self.now + seconds,
            steps=steps,
            cached=cached,
        )
        self.recorder.job_ended(ended)

    def _carry_out(self, operation: Operation, write: Callable[[], object], *, took_s: float) -> None:
        """Journalled as the executor does; the clock of this world moves on by `took_s`."""
        row_id = self.recorder.begin(operation, request_id="req-1", now=self.now)
        write()
        self.now += took_s
        self.recorder.succeed(row_id, result="", now=self.now)

    # ---- what people are told --------------------------------------------------------------

    def tell(self, project: str, health: Health = Health.HEALTHY, **values: object) -> None:
        """The status row of one project; by default what a healthy one says."""
        ready = Condition("Ready", "True", Reason.LIVE, "It answers at its address.")
        filled: dict[str, object] = {
            "conditions": (ready,),
            "release": 1,
            "deployment": 1,
            "commit": SHA,
            "subject": "Fix cart total",
            "author": "Ana",
            "since": self.now,
            "address": f"https://{project}.example.com",
            **values,
        }
        self.recorder.save_statuses([ProjectStatus(project, health, **filled)])  # type: ignore[arg-type]


def identity(project: str, number: int) -> Identity:
    return Identity(
        instance="k3v9qa",
        project=project,
        deployment=number,
        process="web",
        index=1,
        release=number,
        image_id=f"sha256:{number:064x}",
        config_digest="config",
        content_key=f"content-{number}",
        source_key=f"source-{number}",
        platform_revision=REVISION,
        spec_blob="b" * 40,
        source_commit=SHA,
        port=20000 + number,
    )


def complaint(
    message: str, *, where: tuple[str, int, int] = ("projects/blog.yaml", 7, 9), project: str = "blog"
) -> Diagnostic:
    return Diagnostic(Location(*where), message, project)


@contextmanager
def served(settings: Settings, *, deadline_s: float = 20.0) -> Iterator[str]:
    """The page behind a real gunicorn as in production; yields its address."""
    environ = {
        **os.environ,
        "GITSTEAD_STATE": str(settings.state),
        "GITSTEAD_RUNTIME": str(settings.runtime),
        "GITSTEAD_STATUS_PORT": str(settings.status_port),
        "GITSTEAD_STATUS_HOST": settings.status_host,
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "python:web.gunicorn_conf", "web.wsgi:app"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://{settings.status_host}:{settings.status_port}"
    try:
        poll_until(lambda: _answers(address), deadline_s=deadline_s, what=f"gunicorn answers at {address}")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=15)


def poll_until(holds: Callable[[], bool], *, deadline_s: float = 10.0, what: str = "the condition") -> None:
    """Return as soon as `holds()`; fail after the deadline."""
    until, pause = time.monotonic() + deadline_s, threading.Event()
    while not holds():
        assert time.monotonic() < until, f"not within {deadline_s:g} s: {what}"
        pause.wait(0.02)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


def get(address: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
    """One request over a connection of its own."""
    parts = urlsplit(address)
    connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=10)
    try:
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), headers=headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read().decode())
    finally:
        connection.close()


class LiveStream:
    """A server-sent event stream, read event by event over a real connection."""

    def __init__(self, address: str, *, last_id: str = "") -> None:
        parts = urlsplit(address)
        self._connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=15)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        self._connection.request("GET", target, headers={"Last-Event-ID": last_id} if last_id else {})
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.headers = dict(self._answer.getheaders())

    def next(self) -> dict[str, str]:
        """Fields of the next event; keep-alive comments and the retry field are passed over."""
        while True:
            fields: dict[str, str] = {}
            while line := self._answer.readline().decode().rstrip("\n"):
                name, _, value = line.partition(": ")
                fields[name] = value
            if "event" in fields:
                return fields
            assert not self._answer.isclosed(), "the stream ended"

    def until(self, event: str) -> dict[str, str]:
        """The next event of that kind."""
        while (found := self.next())["event"] != event:
            continue
        return found

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(address: str) -> bool:
    with suppress(OSError):
        return get(f"{address}/static/app.css").status == 200
    return False
