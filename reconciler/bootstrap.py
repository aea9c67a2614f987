"""Builds every part of a running platform and hands each what it needs; the only place that does.

Called by `cli`. Decides nothing about projects. `Platform` is one reconciler on one state folder;
`prepare_state` makes the folder, the instance's name and its keys.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import string
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from reconciler.adapters.caddy_admin import CaddyAdmin
from reconciler.adapters.docker_engine import DockerEngine
from reconciler.adapters.engine_events import EngineEvents
from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.image_builder import ImageBuilder
from reconciler.adapters.process_marks import end_marked, marked_pids
from reconciler.adapters.upstream_files import UpstreamFiles
from reconciler.apply.build import Builds
from reconciler.apply.effects import Effects
from reconciler.apply.executor import Executor
from reconciler.apply.failpoints import Failpoints
from reconciler.apply.jobs import Jobs
from reconciler.apply.probe import Probes
from reconciler.errors import HostUnfit
from reconciler.heartbeat import Heartbeat
from reconciler.history.store import Store, open_store
from reconciler.history.wake import WakeListener
from reconciler.host.base_image import ensure_base_image
from reconciler.loop.good_specs import GoodSpecs
from reconciler.loop.polling import Poller
from reconciler.loop.queue import DirtyQueue
from reconciler.loop.runs import Runs
from reconciler.loop.sources import Sources
from reconciler.loop.triggers import HostWatch, Requests, on_engine_event
from reconciler.loop.watch import LocalWatch
from reconciler.loop.worker import Parts, Worker
from reconciler.model.host import Host
from reconciler.observe import Observer
from reconciler.settings import Settings

log = structlog.get_logger(__name__)
_ALPHABET = string.ascii_lowercase + string.digits


def prepare_state(settings: Settings) -> Host:
    """Make the state folder and what is made once in it; returns who we are on this host."""
    settings.state.mkdir(parents=True, exist_ok=True)
    settings.state.chmod(0o711)
    for name, mode in (("keys", 0o700), ("mirrors", 0o700), ("builds", 0o700), ("upstreams", 0o755)):
        (settings.state / name).mkdir(exist_ok=True)
        (settings.state / name).chmod(mode)
    instance = _once(settings.state / "instance", lambda: _random(6), mode=0o644)
    token = _once(settings.state / "keys" / "verify-token", lambda: secrets.token_urlsafe(24), mode=0o600)
    return Host(
        instance=instance,
        upstreams_folder=str(settings.upstreams.resolve()),
        verify_token=token,
        http_port=settings.http_port,
        ports=settings.ports,
        builds=settings.builds,
    )


def _random(length: int) -> str:
    return secrets.choice(string.ascii_lowercase) + "".join(secrets.choice(_ALPHABET) for _ in range(length - 1))


def _once(path: Path, make: Callable[[], str], *, mode: int) -> str:
    """The text of a file that is made once: complete or not at all, also after a kill."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    temporary = path.with_name(f"{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(make() + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return path.read_text().strip()


@contextlib.contextmanager
def only_reconciler(settings: Settings) -> Iterator[None]:
    """Hold the state folder for this process (invariant 7). Raises HostUnfit naming who has it."""
    path = settings.state / "reconciler.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise HostUnfit(
                f"another reconciler (process {file.read().strip() or 'unknown'}) runs on {settings.state}",
                expected="one reconciler per state folder",
                remedy="Stop it first, or choose another state folder",
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@dataclass
class Platform:
    """One reconciler with its threads; made by `build`, run by `gitstead up`."""

    worker: Worker
    jobs: Jobs
    store: Store
    events: EngineEvents
    requests: Requests
    watch: LocalWatch
    host_watch: HostWatch
    poller: Poller
    queue: DirtyQueue
    heartbeat: Heartbeat

    def run(self) -> None:
        """Until `stop`: in this thread, with its helpers beside it; then everything is closed."""
        for part in (self.events, self.requests, self.host_watch, self.poller):
            part.start()
        try:
            self.worker.run()
        finally:
            for ending in (self.events, self.requests, self.host_watch, self.poller):
                ending.stop()
            self.watch.close()
            self.jobs.close()
            self.store.close()
            self.heartbeat.remove()

    def stop(self) -> None:
        self.worker.stop()


def build(settings: Settings, host: Host) -> Platform:
    """Everything for one reconciler. Settles what a killed one left (invariant 4) before it returns."""
    clock = time.time
    failpoints = Failpoints(settings.failpoint)
    store = open_store(state_db=settings.state_db, logs_db=settings.logs_db, inbox_db=settings.inbox_db, create=True)
    engine = DockerEngine(settings.docker_host, instance=host.instance)
    listen = (settings.listen_host, settings.http_port)
    caddy = CaddyAdmin(settings.admin_socket, instance=host.instance, listen=listen, last_good=settings.last_good_caddy)
    upstreams = UpstreamFiles(settings.upstreams)
    mirrors = open_mirrors(settings)
    queue = DirtyQueue()
    jobs = Jobs(
        store.recorder,
        clock=clock,
        on_change=lambda project: queue.mark(project, "job ended", request_id=_current_request()),
        failpoints=failpoints,
    )
    builds = Builds(
        instance=host.instance,
        mirrors=mirrors,
        builder=ImageBuilder(settings.docker_host, on_built=engine.forget_images),
        folder=settings.state / "builds",
        open_log=lambda project, deployment: store.logs.open_log(project, deployment, now=clock()),
        ensure_base=_base_images(engine),
        clock=clock,
    )
    effects = Effects(
        engine=engine,
        caddy=caddy,
        upstreams=upstreams,
        records=store.recorder,
        jobs=jobs,
        builds=builds,
        probes=Probes((loopback(settings.listen_host), settings.http_port), host.verify_token),
        clock=clock,
    )
    _settle(store, builds, upstreams, mirrors, host.instance, clock())
    platform = (settings.platform_repo, settings.platform_branch)
    heartbeat = Heartbeat(settings.heartbeat, instance=host.instance)
    sources = Sources(
        mirrors,
        GoodSpecs(store.recorder, store.queries),
        platform=platform,
        instance=host.instance,
        on_unknown=lambda repo: queue.mark(f"repo:{repo}", "needed now"),
    )

    def on_news(repo: str) -> None:
        queue.mark(f"repo:{repo}", "news")

    poller = Poller(sources, interval_s=settings.poll_s, on_news=on_news, on_asked=heartbeat.git_checked, clock=clock)
    watch = LocalWatch(lambda repo: queue.mark(f"repo:{repo}", "push"))
    parts = Parts(
        host=host,
        queue=queue,
        sources=sources,
        poller=poller,
        watch=watch,
        observer=Observer(engine, caddy, upstreams, jobs.snapshot, clock),
        engine=engine,
        recorder=store.recorder,
        queries=store.queries,
        runs=Runs(
            executor=Executor(effects, store.recorder, failpoints),
            recorder=store.recorder,
            mirrors=mirrors,
            platform_repo=settings.platform_repo,
            app_repo_of=sources.app_repo_of,
            clock=clock,
        ),
        heartbeat=heartbeat,
        full_look_s=settings.full_look_s,
        apply_workers=settings.apply_workers,
    )
    requests = Requests(
        store.inbox,
        WakeListener(settings.wake_socket),
        store.recorder,
        queries=store.queries,
        queue=queue,
        poller=poller,
        clock=clock,
    )
    return Platform(
        worker=Worker(parts),
        jobs=jobs,
        store=store,
        events=EngineEvents(engine, on_engine_event(queue)),
        requests=requests,
        watch=watch,
        host_watch=HostWatch(caddy, upstreams, queue),
        poller=poller,
        queue=queue,
        heartbeat=heartbeat,
    )


def open_mirrors(settings: Settings) -> Mirrors:
    """The mirrors of this state folder, with what the host file allows."""
    return Mirrors(
        settings.mirrors,
        local_paths=settings.local_paths,
        known_hosts=settings.known_hosts,
        timeout_s=settings.git_timeout_s,
    )


def loopback(listen_host: str) -> str:
    """The address at which we reach our own listener."""
    return "127.0.0.1" if listen_host in ("", "0.0.0.0", "::", "localhost") else listen_host  # noqa: S104


def _current_request() -> str:
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def _base_images(engine: DockerEngine) -> Callable[[str, Callable[[str], None]], None]:
    """Makes a base image of ours where it is missing; two builds that need it wait for one making."""
    lock = threading.Lock()

    def ensure(name: str, say: Callable[[str], None]) -> None:
        bare = name.partition(":")[0]
        with lock:
            if engine.image_id(f"gitstead/base-{bare}:latest") is None:
                ensure_base_image(bare, say)
                engine.forget_images()

    return ensure


def _settle(
    store: Store, builds: Builds, upstreams: UpstreamFiles, mirrors: Mirrors, instance: str, now: float
) -> None:
    """What a killed reconciler left: open rows, builders, half-written files."""
    for deployment in store.recorder.interrupt_open(now):
        log.warning("deployment.interrupted", project=deployment.project, deployment=deployment.number)
    for job_id in {job_id for job_id in marked_pids().values() if job_id.startswith(f"{instance}/")}:
        end_marked(job_id)
    store.logs.settle(now)
    builds.sweep()
    upstreams.sweep()
    mirrors.sweep()
