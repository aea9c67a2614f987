"""How an open deployment ends without going live.

Used by the passes that roll out, prune and react to failures; pure. Whatever the reason: its jobs
are cancelled and the old release has its traffic back before the row says that it is over.
"""

from __future__ import annotations

from reconciler.model.condition import Reason
from reconciler.model.job import Job
from reconciler.model.observed import Container
from reconciler.model.operation import CancelJob, Cause, EndDeployment, Operation, RemoveUpstream, WriteUpstream
from reconciler.model.release import CauseKind, Deployment, State
from reconciler.plan.view import View, identity

SIGNALLED = (128 + 9, 128 + 15)


def cause_of(deployment: Deployment) -> Cause:
    return Cause(deployment.cause, deployment.cause_text)


def failed(
    view: View, deployment: Deployment, reason: Reason, message: str, *, hint: str, retryable: bool
) -> tuple[Operation, ...]:
    end = EndDeployment(
        project=view.project,
        deployment=deployment.number,
        cause=cause_of(deployment),
        state=State.FAILED,
        reason=reason,
        message=message,
        hint=hint,
        retryable=retryable,
        container=_with_output(view, deployment),
    )
    return _ended(view, deployment, end)


def _with_output(view: View, deployment: Deployment) -> str:
    """The container of the deployment, once it has run: what it printed says why, and it is removed next."""
    container = view.container_of(deployment.number)
    return container.name if container is not None and container.state != "created" else ""


def failed_job(view: View, deployment: Deployment, job: Job) -> tuple[Operation, ...]:
    reason = Reason(job.reason) if job.reason in set(Reason) else Reason.OPERATION_FAILED
    return failed(view, deployment, reason, job.message, hint=job.hint, retryable=job.retryable)


def failed_container(view: View, deployment: Deployment, container: Container | None) -> tuple[Operation, ...]:
    """Its container does not run. Where the world did that, and not the app, it is tried again."""
    hint = f"See what it printed: gitstead logs {view.project} --build {deployment.number}"
    retryable = _was_ended_from_outside(container)
    return failed(view, deployment, Reason.START_FAILED, how_it_ended(container), hint=hint, retryable=retryable)


def _was_ended_from_outside(container: Container | None) -> bool:
    if container is None or container.state in ("paused", "removing", "dead"):
        return True
    return container.exit_code in SIGNALLED and not container.oom_killed


def too_late(view: View, deployment: Deployment) -> tuple[Operation, ...]:
    """Its state outlived the deadline."""
    message = f"it was {deployment.state} for {view.now - deployment.changed_at:.0f}s, longer than its deadline"
    hint = "It is tried again by itself"
    return failed(view, deployment, Reason.DEADLINE_EXCEEDED, message, hint=hint, retryable=True)


def superseded(view: View, deployment: Deployment) -> tuple[Operation, ...]:
    end = EndDeployment(
        project=view.project,
        deployment=deployment.number,
        cause=Cause("change", "Git asks for something newer"),
        state=State.SUPERSEDED,
        reason=Reason.SUPERSEDED,
        message="a newer commit or spec took its place",
    )
    return _ended(view, deployment, end)


def cancelled(view: View, deployment: Deployment, reason: Reason, message: str) -> tuple[Operation, ...]:
    kind: CauseKind = "request" if reason is Reason.CANCELLED else "change"
    end = EndDeployment(
        project=view.project,
        deployment=deployment.number,
        cause=Cause(kind, message),
        state=State.CANCELLED,
        reason=reason,
        message=message,
    )
    return _ended(view, deployment, end)


def _ended(view: View, deployment: Deployment, end: EndDeployment) -> tuple[Operation, ...]:
    jobs = tuple(
        CancelJob(project=view.project, deployment=deployment.number, cause=end.cause, kind=kind)
        for kind in ("build", "probe", "verify")
        if (job := view.job(deployment.number, kind)) is not None and job.state == "running"
    )
    return (*jobs, *_put_back(view, deployment, end), end)


def _put_back(view: View, deployment: Deployment, end: EndDeployment) -> tuple[Operation, ...]:
    """The upstream named the new container already: visitors go back to the one that serves, or to nobody."""
    live = view.past.live
    if deployment.state is not State.SWITCHING:
        return ()
    if live is None:
        return (RemoveUpstream(project=view.project, cause=end.cause),) if view.upstream is not None else ()
    container = view.container_of(live.number)
    if container is None or container.state != "running" or view.upstream == identity(container).port:
        return ()
    port = identity(container).port
    return (WriteUpstream(project=view.project, deployment=live.number, cause=end.cause, port=port),)


def how_it_ended(container: Container | None) -> str:
    """One clause on why a container does not run."""
    if container is None:
        return "its container was removed from outside while it was being checked"
    if container.state in ("paused", "removing"):
        return f"its container was {container.state} from outside"
    if container.oom_killed:
        return f"the app was ended for using more than its memory ({container.settings.memory_bytes // 2**20}m)"
    if container.exit_code in SIGNALLED:
        return f"the app was ended from outside (exit code {container.exit_code})"
    words = {127: " (command not found)", 126: " (command cannot be executed)", 139: " (crashed)"}
    detail = f": {container.error}" if container.error else ""
    return f"the app ended by itself with exit code {container.exit_code}{words.get(container.exit_code, '')}{detail}"
