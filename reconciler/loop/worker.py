"""The reconciler's loop: take what is dirty, look at everything, plan, hand each project's part to a worker.

Started by `bootstrap`. One thread looks and plans; several apply, one run per project at a time
(invariant 7). Nothing here waits for a job: a job's end marks its project dirty.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from reconciler.adapters.docker_engine import DockerEngine
from reconciler.errors import GitsteadError
from reconciler.heartbeat import HeartbeatFile
from reconciler.history.queries import Queries
from reconciler.history.recorder import Recorder
from reconciler.loop.convergence import Convergence
from reconciler.loop.polling import Poller
from reconciler.loop.queue import ALL, DirtyQueue, Mark
from reconciler.loop.rest import Rest
from reconciler.loop.runs import Runs
from reconciler.loop.sources import Sources, is_local
from reconciler.loop.watch import LocalWatch
from reconciler.model.desired import Desired
from reconciler.model.host import Host
from reconciler.model.observed import Observed
from reconciler.model.plan import Plan, ProjectPlan
from reconciler.model.release import History
from reconciler.model.status import ProjectStatus
from reconciler.observe import Observer
from reconciler.plan.planner import plan as make_plan
from reconciler.plan.status import status_of

log = structlog.get_logger(__name__)

BEAT_S = 15.0
PAUSE_AFTER_ERROR_S = 1.0
LOCAL_PATIENCE_S = 1.0
ASK_AGAIN_S = 3.0


@dataclass(frozen=True)
class Parts:
    """What the loop is made of; built by `bootstrap`."""

    host: Host
    queue: DirtyQueue
    sources: Sources
    poller: Poller
    watch: LocalWatch
    observer: Observer
    engine: DockerEngine
    recorder: Recorder
    queries: Queries
    runs: Runs
    heartbeat: HeartbeatFile
    full_look_s: float
    apply_workers: int


class Worker:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(parts.apply_workers, thread_name_prefix="apply")
        self._convergence = Convergence()
        self._holders: dict[str, str] = {}
        self._ran_at: dict[str, float] = {}
        self._wake_at = 0.0
        self._full_look_due = 0.0
        self._rest: Rest | None = None

    def run(self) -> None:
        """Until `stop`: every mark leads to a look, a full look each `full_look_s`, a beat in between."""
        parts = self._parts
        self._holders = _told_holders(parts.queries.statuses())
        parts.queue.mark(ALL, "start")
        while not self._stop.is_set():
            if time.monotonic() >= self._full_look_due:
                parts.queue.mark(ALL, "interval")
            if not parts.queue.wait(self._pause_s()):
                parts.heartbeat.alive(parts.observer.clock())
                if self._wake_at and parts.observer.clock() >= self._wake_at:
                    parts.queue.mark("", "time")
                continue
            if not self._stop.is_set():
                self._take()
        self._pool.shutdown(wait=True)

    def stop(self) -> None:
        """End after the runs in flight."""
        self._stop.set()
        self._parts.queue.mark(ALL, "stop")

    def _pause_s(self) -> float:
        pauses = [BEAT_S, self._full_look_due - time.monotonic()]
        if self._wake_at:
            pauses.append(self._wake_at - self._parts.observer.clock())
        return max(min(pauses), 0.005)

    def _take(self) -> None:
        marks = self._parts.queue.take()
        request_id = next((mark.request_id for mark in marks.values() if mark.request_id), "") or new_request_id()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                self.look(marks, request_id)
            except GitsteadError as error:
                log.warning("look.failed", reason=error.reason, message=str(error))
                self._back_off(marks)
            except Exception:  # one pass that fails for a fault of ours must not end the loop
                log.exception("look.crashed")
                self._back_off(marks)

    def _back_off(self, marks: Mapping[str, Mark]) -> None:
        self._parts.queue.give_back(marks)
        self._stop.wait(PAUSE_AFTER_ERROR_S)

    def look(self, marks: Mapping[str, Mark], request_id: str) -> None:
        """One pass over everything: read, plan, hand out, tell. `marks` say which repositories to ask first.

        A look at all (`*`) believes nothing that was remembered; any other ends after the reading where nothing
        moved since a look that found nothing to do.
        """
        parts = self._parts
        rest, self._rest = self._rest, None
        if ALL in marks:
            rest = None
            parts.engine.forget_cache()
            self._full_look_due = time.monotonic() + parts.full_look_s
        busy = parts.queue.in_flight()
        self._refresh(marks)
        observed = parts.observer.observe(*parts.runs.reserved())
        if observed.routes is not None:
            self._holders = dict(observed.routes.hosts)
        desired = parts.sources.desired(self._holders)
        history = parts.queries.history()
        parts.heartbeat.beat(desired, observed)
        parts.watch.watch(parts.sources.local_addresses())
        if rest is None or busy or not rest.lasts(desired, observed, history):
            plan = make_plan(desired, observed, history, parts.host)
            self._hand_out(plan, marks, request_id, busy=busy)
            self._tell(plan, desired, observed, history)
            self._wake_at = _next_look(plan, observed)
            rest = (
                None
                if busy or _is_blind(observed)
                else Rest.of(plan, desired=desired, observed=observed, history=history)
            )
        self._rest = rest

    def _refresh(self, marks: Mapping[str, Mark]) -> None:
        """Ask the repositories that a push or a person named; news are known already."""
        for key in marks:
            if key.startswith("repo:"):
                repo = key.removeprefix("repo:")
                self._parts.poller.ask(repo, wait_s=patience_s(repo))

    def _hand_out(self, plan: Plan, marks: Mapping[str, Mark], request_id: str, *, busy: frozenset[str]) -> None:
        """Give each project's part to a worker, but for those in whose run this look fell: `busy` moved on
        while it was looked at, and is dirty again at the end of that run. No more than there are free
        workers, those first that ran longest ago: a plan that waited for a worker would be stale.
        """
        self._convergence.settle(plan, busy=busy)
        free = self._parts.apply_workers - len(self._parts.queue.in_flight())
        for each in sorted(plan.projects, key=lambda one: self._ran_at.get(one.project, 0.0)):
            if free <= 0:
                return
            if each.project in busy or not self._convergence.may_apply(each):
                continue
            mark = marks.get(each.project)
            run_id = mark.request_id if mark and mark.request_id else request_id
            if self._parts.queue.begin(each.project, run_id):
                free -= 1
                self._ran_at[each.project] = time.monotonic()
                self._parts.runs.reserve(each)
                self._pool.submit(self._run, each, run_id)

    def _run(self, each: ProjectPlan, run_id: str) -> None:
        try:
            clean = self._parts.runs.apply(each, run_id)
            self._convergence.applied(each, clean=clean)
        finally:
            self._parts.queue.finish(each.project, "applied")

    def _tell(self, plan: Plan, desired: Desired, observed: Observed, history: History) -> None:
        parts = self._parts
        verdicts = [self._convergence.with_condition(each) for each in plan.projects if each.verdict is not None]
        rows = [
            status_of(each, desired=desired, observed=observed, history=history, host=parts.host) for each in verdicts
        ]
        parts.recorder.save_statuses(rows)
        if desired.revision and observed.engine is not None:
            for project_name in parts.recorder.told_projects - {row.project for row in rows}:
                parts.recorder.forget_status(project_name)


def _next_look(plan: Plan, observed: Observed) -> float:
    """When time alone asks for a look; soon where something did not answer, since nobody tells of its return."""
    if not _is_blind(observed):
        return plan.wake_at
    ask_again = observed.at + ASK_AGAIN_S
    return min(plan.wake_at, ask_again) if plan.wake_at else ask_again


def _is_blind(observed: Observed) -> bool:
    return observed.engine is None or observed.routes is None


def _told_holders(statuses: Iterable[ProjectStatus]) -> dict[str, str]:
    """Who had which host when it was last told: it counts at a start at which Caddy does not answer."""
    hosts = ((urlsplit(each.address).hostname, each.project) for each in statuses if each.release)
    return {host: project for host, project in hosts if host}


def patience_s(repo: str) -> float:
    """How long a look may wait for a repository: a local one answers in milliseconds as a rule."""
    return LOCAL_PATIENCE_S if is_local(repo) else 0.0


def new_request_id() -> str:
    return secrets.token_hex(4)
