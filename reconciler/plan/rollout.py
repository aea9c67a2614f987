"""The state machine of an open deployment: queued → building → starting → checking → switching → live.

One pass of `planner`; pure. Each call looks at the whole truth and says what to do now; what it
started before and what became of it is observed state. Nothing here waits.
"""

from __future__ import annotations

from typing import TypedDict

from reconciler.model.condition import Reason
from reconciler.model.job import Job
from reconciler.model.naming import Identity, image_name
from reconciler.model.observed import Container
from reconciler.model.operation import (
    AdvanceDeployment,
    AssignRelease,
    CancelJob,
    Cause,
    CreateContainer,
    CreateNetwork,
    EndDeployment,
    MarkLive,
    Operation,
    SetRestartPolicy,
    StartBuild,
    StartContainer,
    StartProbe,
    StartVerify,
    WriteUpstream,
)
from reconciler.model.release import Deployment, Release, State
from reconciler.plan.view import View, identity

STARTING_S = 120.0
MARGIN_S = 60.0
VERIFY_S = 20.0
QUEUED_S = 3600.0
LIVE_POLICY = "unless-stopped"
KEPT_POLICY = "no"


def advance(view: View, deployment: Deployment, *, may_build: bool) -> tuple[Operation, ...]:
    """What moves `deployment` on now; empty while it waits for a job, a slot or Caddy."""
    if view.desired is not None and view.desired.commit is not None and not view.is_wanted(deployment):
        return _supersede(view, deployment)
    if deployment.deadline_at and view.now >= deployment.deadline_at:
        return _too_long(view, deployment)
    if deployment.state in (State.QUEUED, State.BUILDING):
        return _build(view, deployment, may_build=may_build)
    if deployment.state is State.STARTING:
        return start(view, deployment)
    if deployment.state is State.CHECKING:
        return _check(view, deployment)
    return _switch(view, deployment)


def cause_of(deployment: Deployment) -> Cause:
    return Cause(deployment.cause, deployment.cause_text)


class About(TypedDict):
    """The three fields that every operation on a deployment begins with."""

    project: str
    deployment: int
    cause: Cause


def about(view: View, deployment: Deployment) -> About:
    return About(project=view.project, deployment=deployment.number, cause=cause_of(deployment))


def _supersede(view: View, deployment: Deployment) -> tuple[Operation, ...]:
    end = EndDeployment(
        project=view.project,
        deployment=deployment.number,
        cause=Cause("change", "Git asks for something newer"),
        state=State.SUPERSEDED,
        reason=Reason.SUPERSEDED,
        message="a newer commit or spec took its place",
    )
    return (*cancel_jobs(view, deployment, end.cause), end)


def _too_long(view: View, deployment: Deployment) -> tuple[Operation, ...]:
    cause = Cause("drift", f"{deployment.state} outlived its deadline")
    message = f"it was {deployment.state} for {view.now - deployment.changed_at:.0f}s, longer than its deadline"
    end = failed(
        view, deployment, Reason.DEADLINE_EXCEEDED, message, hint="It is tried again by itself", retryable=True
    )
    return (*cancel_jobs(view, deployment, cause), end)


def cancel_jobs(view: View, deployment: Deployment, cause: Cause) -> tuple[Operation, ...]:
    """Cancel what still runs for `deployment`."""
    return tuple(
        CancelJob(project=view.project, deployment=deployment.number, cause=cause, kind=kind)
        for kind in ("build", "probe", "verify")
        if (job := view.job(deployment.number, kind)) is not None and job.state == "running"
    )


def failed(
    view: View, deployment: Deployment, reason: Reason, message: str, *, hint: str, retryable: bool
) -> EndDeployment:
    return EndDeployment(
        project=view.project,
        deployment=deployment.number,
        cause=cause_of(deployment),
        state=State.FAILED,
        reason=reason,
        message=message,
        hint=hint,
        retryable=retryable,
    )


def failed_job(view: View, deployment: Deployment, job: Job) -> EndDeployment:
    return failed(view, deployment, Reason(job.reason), job.message, hint=job.hint, retryable=job.retryable)


# ---- build ---------------------------------------------------------------------------------


def _build(view: View, deployment: Deployment, *, may_build: bool) -> tuple[Operation, ...]:
    job = view.job(deployment.number, "build")
    if job is not None and job.state == "failed":
        return (failed_job(view, deployment, job),)
    if job is not None and job.state == "running":
        return ()
    image_id = job.image_id if job is not None else view.built_image(deployment.content_key)
    if image_id is not None and (job is not None or view.can_reuse):
        return roll_out(view, deployment, image_id)
    return start_build(view, deployment) if may_build else ()


def start_build(view: View, deployment: Deployment) -> tuple[Operation, ...]:
    """Start the build job and enter `building`."""
    wanted = view.desired
    if wanted is None or wanted.dockerfile is None or wanted.commit is None:
        return ()
    shared = about(view, deployment)
    build = StartBuild(
        **shared,
        repo=wanted.spec.source.repo,
        path=wanted.spec.source.path,
        commit=deployment.commit.sha,
        build_type=wanted.spec.build.type,
        dockerfile=wanted.dockerfile,
        content_key=deployment.content_key,
        tag=image_name(view.host.instance, view.project, deployment.content_key),
        timeout_s=wanted.spec.build.timeout_s,
    )
    if deployment.state is State.BUILDING:
        return (build,)
    deadline_s = wanted.spec.build.timeout_s + MARGIN_S
    return (AdvanceDeployment(**shared, state=State.BUILDING, deadline_s=deadline_s), build)


# ---- start ---------------------------------------------------------------------------------


def roll_out(view: View, deployment: Deployment, image_id: str) -> tuple[Operation, ...]:
    """The image is there: number the release, create and start its container, probe it."""
    release = release_number(view, image_id, deployment.config_digest)
    assign = AssignRelease(
        project=view.project,
        deployment=deployment.number,
        cause=cause_of(deployment),
        release=release,
        image_id=image_id,
        content_key=deployment.content_key,
        config_digest=deployment.config_digest,
        deadline_s=STARTING_S,
    )
    return (assign, *_first_start(view, deployment, release, image_id))


def release_number(view: View, image_id: str, config_digest: str) -> int:
    """The number of this pair: the one that it had before, else the next."""
    known: dict[tuple[str, str], int] = {
        (each.image_id, each.config_digest): each.number for each in (*view.past.releases, *_labelled(view))
    }
    return known.get((image_id, config_digest), max(known.values(), default=0) + 1)


def _labelled(view: View) -> tuple[Release, ...]:
    identities = (identity(each) for each in view.containers)
    return tuple(Release(each.release, each.image_id, each.config_digest) for each in identities)


def start(view: View, deployment: Deployment) -> tuple[Operation, ...]:
    """Go on in `starting`: an earlier run stopped somewhere between create and start."""
    container = view.container_of(deployment.number)
    if container is None:
        return _first_start(view, deployment, deployment.release, deployment.image_id)
    begin = () if container.state == "running" else (start_operation(container, cause_of(deployment)),)
    return (*begin, *_probe(view, deployment, identity(container)))


def _first_start(view: View, deployment: Deployment, release: int, image_id: str) -> tuple[Operation, ...]:
    port = view.world.ports.lease()
    if port is None:
        first, last = view.host.ports
        message = f"no host port from {first} to {last} is free"
        return (
            failed(
                view, deployment, Reason.START_FAILED, message, hint="Widen `ports` in the host file", retryable=True
            ),
        )
    who = new_identity(view, deployment, release=release, image_id=image_id, port=port)
    return (
        *create(view, deployment, who, restart_policy="on-failure:3"),
        *_probe(view, deployment, who),
    )


def new_identity(view: View, deployment: Deployment, *, release: int, image_id: str, port: int) -> Identity:
    return Identity(
        instance=view.host.instance,
        project=view.project,
        process="web",
        index=1,
        deployment=deployment.number,
        release=release,
        image_id=image_id,
        content_key=deployment.content_key,
        source_key=deployment.source_key,
        config_digest=deployment.config_digest,
        platform_revision=deployment.platform_revision,
        spec_blob=deployment.spec_blob,
        source_commit=deployment.commit.sha,
        port=port,
    )


def create(
    view: View, deployment: Deployment, who: Identity, *, restart_policy: str, cause: Cause | None = None
) -> tuple[Operation, ...]:
    """Network, container, start; nothing where it is not known what the container should be."""
    run = deployment.run or (view.desired.spec.run if view.desired and view.is_wanted(deployment) else None)
    if run is None:
        return ()
    why = cause or cause_of(deployment)
    network = CreateNetwork(project=view.project, deployment=who.deployment, cause=why, network=view.network)
    return (
        *(() if view.has_network else (network,)),
        CreateContainer(
            project=view.project,
            deployment=who.deployment,
            cause=why,
            identity=who,
            image=who.image_id,
            network=view.network,
            run=run,
            restart_policy=restart_policy,
        ),
        StartContainer(
            project=view.project, deployment=who.deployment, cause=why, container_id="", container=who.container_name
        ),
    )


def start_operation(container: Container, cause: Cause) -> StartContainer:
    who = identity(container)
    return StartContainer(
        project=who.project, deployment=who.deployment, cause=cause, container_id=container.id, container=container.name
    )


# ---- check and switch ----------------------------------------------------------------------


def _subject(who: Identity) -> str:
    return f"{who.container_name}:{who.port}"


def _probe(view: View, deployment: Deployment, who: Identity) -> tuple[Operation, ...]:
    health = view.desired.spec.health if view.desired else None
    if health is None:
        return ()
    shared = about(view, deployment)
    probe = StartProbe(
        **shared,
        port=who.port,
        path=health.path,
        timeout_s=health.timeout_s,
        interval_s=health.interval_s,
        subject=_subject(who),
    )
    if deployment.state is State.CHECKING:
        return (probe,)
    deadline_s = health.timeout_s + MARGIN_S
    return (AdvanceDeployment(**shared, state=State.CHECKING, deadline_s=deadline_s), probe)


def _check(view: View, deployment: Deployment) -> tuple[Operation, ...]:
    container = view.container_of(deployment.number)
    if container is None or container.state in ("exited", "dead", "created", "removing"):
        return (
            *cancel_jobs(view, deployment, cause_of(deployment)),
            failed(
                view,
                deployment,
                Reason.START_FAILED,
                how_it_ended(container),
                hint="See what it printed: gitstead logs " + view.project,
                retryable=False,
            ),
        )
    job = view.job(deployment.number, "probe")
    if job is None or job.subject != _subject(identity(container)):
        return _probe(view, deployment, identity(container))
    if job.state == "failed":
        return (failed_job(view, deployment, job),)
    if job.state == "running" or view.world.observed.routes is None:
        return ()
    return _point(view, deployment, identity(container))


def how_it_ended(container: Container | None) -> str:
    """One clause on why a container does not run."""
    if container is None:
        return "its container was removed from outside while it was being checked"
    if container.oom_killed:
        return f"the app was ended for using more than its memory ({container.settings.memory_bytes // 2**20}m)"
    words = {127: " (command not found)", 126: " (command cannot be executed)", 137: " (killed)", 139: " (crashed)"}
    detail = f": {container.error}" if container.error else ""
    return f"the app ended by itself with exit code {container.exit_code}{words.get(container.exit_code, '')}{detail}"


def _point(view: View, deployment: Deployment, who: Identity) -> tuple[Operation, ...]:
    shared = about(view, deployment)
    deadline_s = VERIFY_S + MARGIN_S
    return (
        AdvanceDeployment(**shared, state=State.SWITCHING, deadline_s=deadline_s),
        WriteUpstream(**shared, port=who.port),
        *(_verify(view, deployment, who) if view.world.routes_ready and view.upstream is not None else ()),
    )


def _verify(view: View, deployment: Deployment, who: Identity) -> tuple[Operation, ...]:
    if view.desired is None:
        return ()
    return (
        StartVerify(
            project=view.project,
            deployment=deployment.number,
            cause=cause_of(deployment),
            host=view.desired.spec.domains[0],
            port=who.port,
            path=view.desired.spec.health.path,
            timeout_s=VERIFY_S,
            subject=_subject(who),
        ),
    )


def _switch(view: View, deployment: Deployment) -> tuple[Operation, ...]:
    container = view.container_of(deployment.number)
    if container is None or container.state not in ("running", "restarting"):
        message = how_it_ended(container)
        hint = "See what it printed: gitstead logs " + view.project
        return (failed(view, deployment, Reason.START_FAILED, message, hint=hint, retryable=False),)
    who = identity(container)
    shared = about(view, deployment)
    if view.upstream != who.port:
        return (WriteUpstream(**shared, port=who.port),)
    job = view.job(deployment.number, "verify")
    if job is None or job.subject != _subject(who):
        return _verify(view, deployment, who) if view.world.routes_ready else ()
    if job.state == "failed":
        return (failed_job(view, deployment, job),)
    if job.state == "running":
        return ()
    return (
        MarkLive(
            **shared,
            previous=view.past.live.number if view.past.live else 0,
            drain_s=view.desired.spec.deploy.drain_s if view.desired else 0.0,
        ),
        SetRestartPolicy(**shared, container_id=container.id, container=container.name, policy=LIVE_POLICY),
    )
