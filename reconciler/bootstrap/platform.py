"""One reconciler on one state folder, with all its threads.

Called by `service`. Builds the adapters and hands them down; decides nothing about projects.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from reconciler.adapters.bounds import current
from reconciler.adapters.caddy_admin import CaddyAdmin
from reconciler.adapters.docker_engine import DockerEngine
from reconciler.adapters.engine_events import EngineEvents
from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.image_builder import ImageBuilder
from reconciler.adapters.process_marks import end_marked, marked_pids
from reconciler.adapters.secret_box import SecretBox, ensure_keys
from reconciler.adapters.upstream_files import UpstreamFiles
from reconciler.apply.build import Builds
from reconciler.apply.effects import Effects
from reconciler.apply.executor import Executor
from reconciler.apply.failpoints import Failpoints
from reconciler.apply.jobs import Jobs
from reconciler.apply.output import Outputs
from reconciler.apply.probe import Probes
from reconciler.bootstrap.limits import Limits, build_limits
from reconciler.bootstrap.state import open_mirrors
from reconciler.desired.base_names import BASE_NAMES
from reconciler.heartbeat import HeartbeatFile
from reconciler.history.recorder import Recorder
from reconciler.history.retention import forget_old
from reconciler.history.store import Store, open_store
from reconciler.history.wake import WakeListener
from reconciler.host.base_image import base_reference, base_version, ensure_base_image
from reconciler.loop.disk_watch import DiskWatch
from reconciler.loop.good_specs import GoodSpecs
from reconciler.loop.polling import Poller
from reconciler.loop.queue import DirtyQueue
from reconciler.loop.runs import Runs, let_go
from reconciler.loop.sources import Sources
from reconciler.loop.triggers import EngineMarks, HostWatch, Requests
from reconciler.loop.watch import LocalWatch
from reconciler.loop.worker import Parts, Worker, patience_s
from reconciler.masking import Masker
from reconciler.model.effects import LogSink
from reconciler.model.host import Host
from reconciler.model.operation import PLATFORM
from reconciler.observe import Observer
from reconciler.settings import Settings

log = structlog.get_logger(__name__)


@dataclass
class Platform:
    """One reconciler with its threads; made by `build`, run by `gitstead up`."""

    parts: Parts
    worker: Worker
    jobs: Jobs
    store: Store
    events: EngineEvents
    requests: Requests
    watch: LocalWatch
    host_watch: HostWatch
    poller: Poller
    queue: DirtyQueue
    heartbeat: HeartbeatFile
    mirrors: Mirrors
    disk: DiskWatch

    def run(self) -> None:
        """Until `stop`: in this thread, with its helpers beside it; then everything is closed."""
        for part in (self.events, self.requests, self.host_watch, self.poller, self.disk):
            part.start()
        try:
            self.worker.run()
        finally:
            for ending in (self.events, self.requests, self.host_watch, self.poller, self.disk):
                ending.stop()
            self.mirrors.close()
            self.watch.close()
            self.jobs.close()
            self.store.close()
            self.heartbeat.remove()

    def stop(self) -> None:
        self.worker.stop()


@dataclass(frozen=True)
class Ground:
    """What everything else stands on: the store, the adapters, the queue and the jobs of one reconciler."""

    store: Store
    recorder: Recorder
    failpoints: Failpoints
    engine: DockerEngine
    caddy: CaddyAdmin
    upstreams: UpstreamFiles
    mirrors: Mirrors
    queue: DirtyQueue
    jobs: Jobs
    limits: Limits
    masker: Masker
    secrets: SecretBox

    def open_log(self, project_name: str, deployment: int) -> LogSink:
        return self.store.logs.open_log(project_name, deployment, now=time.time())


def build(settings: Settings, host: Host, masker: Masker | None = None) -> Platform:
    """Everything for one reconciler. Settles what a killed one left (invariant 4) before it returns.

    `masker` learns every secret that is opened; what is kept of one project is masked with its own alone.
    """
    ground = _ground(settings, host, masker or Masker())
    effects = _effects(settings, host, ground)
    _settle(ground, effects.builds, host.instance)
    limits, heartbeat = ground.limits, _heartbeat(settings, host, ground)
    sources, poller = _sources(settings, host, ground, heartbeat)
    parts = Parts(
        host=host,
        queue=ground.queue,
        sources=sources,
        poller=poller,
        watch=LocalWatch(lambda repo: ground.queue.mark(f"repo:{repo}", "push")),
        observer=_observer(ground),
        engine=ground.engine,
        recorder=ground.recorder,
        queries=ground.store.queries,
        runs=Runs(
            executor=Executor(effects, ground.recorder, ground.failpoints),
            recorder=ground.recorder,
            mirrors=ground.mirrors,
            platform_repo=settings.platform_repo,
            app_repo_of=sources.app_repo_of,
            clock=time.time,
            on_ended=limits.disk.ask,
        ),
        heartbeat=heartbeat,
        full_look_s=settings.full_look_s,
        apply_workers=settings.apply_workers,
    )
    return Platform(
        parts=parts,
        worker=Worker(parts),
        jobs=ground.jobs,
        store=ground.store,
        events=EngineEvents(ground.engine, EngineMarks(ground.queue)),
        requests=_requests(settings, ground, poller),
        watch=parts.watch,
        host_watch=HostWatch(ground.caddy, ground.upstreams, ground.queue),
        poller=poller,
        queue=ground.queue,
        heartbeat=heartbeat,
        mirrors=ground.mirrors,
        disk=limits.disk,
    )


def _ground(settings: Settings, host: Host, masker: Masker) -> Ground:
    ensure_keys(settings.keys)
    failpoints = Failpoints(settings.failpoint)
    queue, secrets = DirtyQueue(), SecretBox(settings.keys, masker)
    store = open_store(
        state_db=settings.state_db,
        logs_db=settings.logs_db,
        inbox_db=settings.inbox_db,
        create=True,
        masker_of=secrets.masker_of,
    )
    recorder = failpoints.around(store.recorder)
    return Ground(
        store=store,
        recorder=recorder,
        failpoints=failpoints,
        engine=DockerEngine(settings.docker_host, instance=host.instance),
        caddy=CaddyAdmin(
            settings.admin_socket,
            instance=host.instance,
            listen=(settings.listen_host, settings.http_port),
            last_good=settings.last_good_caddy,
        ),
        upstreams=UpstreamFiles(settings.upstreams),
        mirrors=open_mirrors(settings, secrets=secrets, remembers=True),
        queue=queue,
        jobs=Jobs(
            recorder,
            clock=time.time,
            on_change=lambda project: queue.mark(project, "job ended", request_id=_current_request()),
            failpoints=failpoints,
        ),
        limits=build_limits(
            settings,
            instance=host.instance,
            on_measured=lambda: queue.mark(PLATFORM, "the disk was measured"),
            tell=lambda text: _tell_platform(recorder, text),
            daily=lambda: _forget_old(store),
        ),
        masker=masker,
        secrets=secrets,
    )


def _requests(settings: Settings, ground: Ground, poller: Poller) -> Requests:
    return Requests(
        ground.store.inbox,
        WakeListener(settings.wake_socket),
        ground.recorder,
        queries=ground.store.queries,
        queue=ground.queue,
        poller=poller,
        clock=time.time,
    )


def _heartbeat(settings: Settings, host: Host, ground: Ground) -> HeartbeatFile:
    return HeartbeatFile(
        settings.heartbeat,
        instance=host.instance,
        facts=ground.limits.facts,
        mask=ground.masker.mask_values,
        uses=ground.mirrors.credential_uses,
    )


def _observer(ground: Ground) -> Observer:
    return Observer(
        ground.engine,
        ground.caddy,
        ground.upstreams,
        ground.jobs.snapshot,
        time.time,
        disk=ground.limits.disk.latest,
        disk_problem=ground.limits.disk.shortage,
    )


def _forget_old(store: Store) -> None:
    log.info("history.forgotten", deployments=forget_old(store.database, store.logs, time.time()))


def _tell_platform(recorder: Recorder, text: str) -> None:
    recorder.record_event(PLATFORM, "collected", text, now=time.time(), reason=text)


def _effects(settings: Settings, host: Host, ground: Ground) -> Effects:
    folder, engine = settings.state / "builds", ground.engine
    return Effects(
        engine=engine,
        caddy=ground.caddy,
        upstreams=ground.upstreams,
        records=ground.recorder,
        jobs=ground.jobs,
        builds=Builds(
            instance=host.instance,
            mirrors=ground.mirrors,
            builder=ImageBuilder(
                settings.docker_host,
                scratch=folder,
                on_built=engine.forget_images,
                secrets_folder=settings.build_secrets,
            ),
            folder=folder,
            open_log=ground.open_log,
            ensure_base=_base_images(engine),
            base_version=base_version,
            clock=time.time,
            secrets=ground.secrets,
            masker_of=ground.secrets.masker_of,
            prepare=ground.limits.builds.prepare,
        ),
        outputs=Outputs(ground.secrets.masker_of, engine, ground.open_log, time.time),
        probes=Probes((loopback(settings.listen_host), settings.http_port), host.verify_token),
        secrets=ground.secrets,
        clock=time.time,
        prune_cache=ground.limits.disk.prune_cache,
    )


def _sources(settings: Settings, host: Host, ground: Ground, heartbeat: HeartbeatFile) -> tuple[Sources, Poller]:
    """The two know each other: sources ask the poller for what is needed now, which refreshes the sources."""
    sources = Sources(
        ground.mirrors,
        GoodSpecs(ground.recorder, ground.store.queries),
        platform=(settings.platform_repo, settings.platform_branch),
        instance=host.instance,
        ask=lambda repo: poller.ask(repo, wait_s=patience_s(repo)),
        secrets=ground.secrets,
        base_name=BASE_NAMES[settings.bases],
    )
    poller = Poller(
        sources,
        interval_s=settings.poll_s,
        on_news=lambda repo: ground.queue.mark(f"news:{repo}", "news"),
        on_asked=heartbeat.git_checked,
        clock=time.time,
    )
    return sources, poller


def loopback(listen_host: str) -> str:
    """The address at which we reach our own listener."""
    return "127.0.0.1" if listen_host in ("", "0.0.0.0", "::", "localhost") else listen_host  # noqa: S104


def _current_request() -> str:
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def _base_images(engine: DockerEngine) -> Callable[[str, Callable[[str], None]], None]:
    """Makes a base image of ours where it is missing; two builds that need it wait for one making."""
    lock = threading.Lock()

    def ensure(name: str, say: Callable[[str], None]) -> None:
        with current().holding(lock):
            if engine.image_id(base_reference(name)) is None:
                ensure_base_image(name, say)
                engine.forget_images()

    return ensure


def _settle(ground: Ground, builds: Builds, instance: str) -> None:
    """What a killed reconciler left: open rows, builders, half-written files."""
    for deployment in ground.recorder.interrupt_open(time.time()):
        log.warning("deployment.interrupted", project=deployment.project, deployment=deployment.number)
    for job_id in {job_id for job_id in marked_pids().values() if job_id.startswith(f"{instance}/")}:
        end_marked(job_id)
    ground.store.logs.settle(time.time())
    builds.sweep()
    ground.upstreams.sweep()
    ground.mirrors.sweep()
    let_go(ground.mirrors, ground.store.queries.history())
