"""One run of one project: apply its part of the plan, and write down what that means.

Called by `loop.worker` in its apply threads. Owns the ports that plans in flight give out, the refs
that keep commits reachable, and the rows of failures and drift.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from reconciler.adapters.git_repository import Mirrors
from reconciler.apply.executor import Applied, Executor
from reconciler.errors import GitsteadError, Retryable
from reconciler.history.recorder import Recorder
from reconciler.model.disk import shown
from reconciler.model.operation import (
    AdoptDeployment,
    CreateContainer,
    EndDeployment,
    MarkLive,
    OpenDeployment,
    Operation,
    RemoveContainer,
    RemoveImage,
    RetireProject,
    StartBuild,
)
from reconciler.model.plan import ProjectPlan
from reconciler.model.release import History
from reconciler.plan.collection import NOT_NEEDED

log = structlog.get_logger(__name__)


@dataclass
class Runs:
    """`platform_repo` is the platform repository's address; `app_repo_of` gives a project's. `on_ended` is called
    when a deployment went live, or ended without.
    """

    executor: Executor
    recorder: Recorder
    mirrors: Mirrors
    platform_repo: str
    app_repo_of: Callable[[str], str]
    clock: Callable[[], float]
    on_ended: Callable[[], None] = lambda: None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _in_flight: dict[str, ProjectPlan] = field(default_factory=dict)

    def reserve(self, plan: ProjectPlan) -> None:
        """Until the run is over, its ports and its build slot are nobody else's."""
        with self._lock:
            self._in_flight[plan.project] = plan

    def reserved(self) -> tuple[frozenset[int], int]:
        """The ports and the number of build slots that plans in flight take."""
        with self._lock:
            operations = [each for plan in self._in_flight.values() for each in plan.operations]
        ports = frozenset(each.identity.port for each in operations if isinstance(each, CreateContainer))
        return ports, sum(isinstance(each, StartBuild) for each in operations)

    def apply(self, plan: ProjectPlan, request_id: str) -> bool:
        """Carry the plan out; whether all of it went well. Raises nothing."""
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                return self._apply(plan, request_id)
            except GitsteadError as error:
                log.warning("run.failed", project=plan.project, reason=error.reason, message=str(error))
            except Exception:  # a fault of ours in one project must not end the worker of the others
                log.exception("run.crashed", project=plan.project)
            finally:
                with self._lock:
                    self._in_flight.pop(plan.project, None)
        return False

    def _apply(self, plan: ProjectPlan, request_id: str) -> bool:
        applied = self.executor.apply(plan, request_id=request_id)
        self._tell_history(plan.project, applied)
        for operation in applied.done:
            self._keep_commits(operation)
            _log_outcome(operation)
        if any(isinstance(each, MarkLive | EndDeployment) for each in applied.done):
            self.on_ended()
        if applied.failed is None or applied.error is None:
            if not plan.partial:
                self.recorder.clear_failure(plan.project)
            return True
        self.recorder.record_failure(
            plan.project,
            applied.failed.resource,
            reason=applied.error.reason,
            message=str(applied.error),
            retryable=isinstance(applied.error, Retryable),
            now=self.clock(),
        )
        return False

    def _tell_history(self, project_name: str, applied: Applied) -> None:
        """What no row of a deployment tells: what was put back, and that the project was removed."""
        causes = {each.cause.text: "drift" for each in applied.done if each.cause.kind == "drift"}
        causes |= {each.cause.text: "removed" for each in applied.done if isinstance(each, RetireProject)}
        images = [each for each in applied.done if isinstance(each, RemoveImage) and each.cause == NOT_NEEDED]
        if images:
            many = f"{len(images)} image{'' if len(images) == 1 else 's'}"
            causes[f"collected {many}, {shown(sum(each.freed_bytes for each in images))}"] = "collected"
        for text, kind in causes.items():
            self.recorder.record_event(project_name, kind, text, now=self.clock(), reason=text)

    def _keep_commits(self, operation: Operation) -> None:
        """Invariant 3: both commits of what is live, kept or under way stay reachable."""
        try:
            if isinstance(operation, OpenDeployment):
                self._keep(operation, operation.commit.sha, operation.platform_revision)
            elif isinstance(operation, CreateContainer | AdoptDeployment):
                self._keep(operation, operation.identity.source_commit, operation.identity.platform_revision)
            elif isinstance(operation, EndDeployment | RemoveContainer):
                self.mirrors.forget(operation.project, operation.deployment)
            elif isinstance(operation, MarkLive):
                self._keep_only(operation.project, {operation.deployment, operation.previous})
            elif isinstance(operation, RetireProject):
                self._keep_only(operation.project, set())
        except GitsteadError as error:
            log.warning("commits.not_kept", project=operation.project, reason=error.reason, message=str(error))

    def _keep_only(self, project_name: str, numbers: set[int]) -> None:
        """What a kill left pinned goes as well: no operation names it any more."""
        for name, number in self.mirrors.kept():
            if name == project_name and number not in numbers:
                self.mirrors.forget(name, number)

    def _keep(self, operation: Operation, app_sha: str, platform_revision: str) -> None:
        self.mirrors.keep(
            operation.project,
            operation.deployment,
            app=(self.app_repo_of(operation.project), app_sha),
            platform=(self.platform_repo, platform_revision.rpartition("@")[2]),
        )


def _log_outcome(operation: Operation) -> None:
    """The one line of a deployment that people search for."""
    if isinstance(operation, MarkLive):
        log.info("deployment.live", project=operation.project, deployment=operation.deployment)
    elif isinstance(operation, EndDeployment):
        log.warning(
            f"deployment.{operation.state}",
            project=operation.project,
            deployment=operation.deployment,
            reason=operation.reason,
            message=operation.message,
        )


def let_go(mirrors: Mirrors, history: History) -> None:
    """At start: unpin the commits of deployments that ended while nobody was there to do it.

    What this history does not know stays pinned, and all of a project that was adopted. Raises nothing.
    """
    try:
        for project_name, number in mirrors.kept():
            past = history.of(project_name)
            needed = {each.number for each in (past.live, past.open, past.previous_live) if each is not None}
            if number <= past.last_number and number not in needed and not past.adopted:
                mirrors.forget(project_name, number)
    except GitsteadError as error:
        log.warning("commits.not_let_go", reason=error.reason, message=str(error))
