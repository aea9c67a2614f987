"""The state machine of an open deployment: queued → building → starting → checking → switching → live.

One pass of `planner`; pure. Each call looks at the whole truth and says what to do now; what it
started before and what became of it is observed state. Nothing here waits.
"""

from __future__ import annotations

from typing import TypedDict

from reconciler.model.condition import Reason
from reconciler.model.naming import Identity, image_name
from reconciler.model.operation import (
    AdvanceDeployment,
    AssignRelease,
    Cause,
    MarkLive,
    Operation,
    RemoveContainer,
    SetRestartPolicy,
    StartBuild,
    StartProbe,
    StartVerify,
    WriteUpstream,
)
from reconciler.model.release import Deployment, Release, State
from reconciler.plan import ending
from reconciler.plan.creation import LIVE_POLICY, NEW_POLICY, create, new_identity, port_is_taken, start_operation
from reconciler.plan.ending import cause_of
from reconciler.plan.gates import is_cancelled
from reconciler.plan.view import View, built_as, identity

STARTING_S = 120.0
MARGIN_S = 60.0
VERIFY_S = 20.0
QUEUED_S = 3600.0


def advance(view: View, deployment: Deployment, *, may_build: bool) -> tuple[Operation, ...]:
    """What moves `deployment` on now; empty while it waits for a job, a slot or Caddy.

    One that is being switched is not superseded: visitors are at its container, within seconds it
    is live or has failed, and then the newer one begins.
    """
    if view.desired is None:
        return ending.cancelled(view, deployment, Reason.SPEC_INVALID, "its spec can no longer be used")
    if deployment.state is not State.SWITCHING and is_cancelled(view, deployment):
        return ending.cancelled(view, deployment, Reason.CANCELLED, "a person cancelled it")
    if view.desired.commit is not None and not view.is_wanted(deployment) and deployment.state is not State.SWITCHING:
        return ending.superseded(view, deployment)
    if deployment.deadline_at and view.now >= deployment.deadline_at and not has_passed(view, deployment):
        return ending.too_late(view, deployment)
    if deployment.state in (State.QUEUED, State.BUILDING):
        return _build(view, deployment, may_build=may_build)
    if deployment.state is State.STARTING:
        return start(view, deployment)
    if deployment.state is State.CHECKING:
        return _check(view, deployment)
    return _switch(view, deployment)


class About(TypedDict):
    """The three fields that every operation on a deployment begins with."""

    project: str
    deployment: int
    cause: Cause


def about(view: View, deployment: Deployment) -> About:
    return About(project=view.project, deployment=deployment.number, cause=cause_of(deployment))


def has_passed(view: View, deployment: Deployment) -> bool:
    """Whether its container answered and only the switch is left: then Caddy is waited for, without a deadline."""
    container = view.container_of(deployment.number)
    job = view.job(deployment.number, "probe")
    if deployment.state is not State.CHECKING or container is None or container.state != "running" or job is None:
        return False
    return job.state == "succeeded" and job.subject == _subject(identity(container))


# ---- build ---------------------------------------------------------------------------------


def _build(view: View, deployment: Deployment, *, may_build: bool) -> tuple[Operation, ...]:
    job = view.job(deployment.number, "build")
    if job is not None and job.state == "failed":
        return ending.failed_job(view, deployment, job)
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
        build_type=built_as(wanted),
        dockerfile=wanted.dockerfile,
        content_key=deployment.content_key,
        tag=image_name(view.host.instance, view.project, deployment.content_key),
        timeout_s=wanted.spec.build.timeout_s,
        args=wanted.spec.build.args,
        secrets=wanted.spec.build.secrets,
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
        return _start_again(view, deployment)
    if container.state == "removing":
        return ()
    if container.state not in ("created", "exited", "dead"):
        return _probe(view, deployment, identity(container))
    if container.state == "dead" or port_is_taken(view, container):
        removal = RemoveContainer(**about(view, deployment), container_id=container.id, container=container.name)
        return (removal, *_start_again(view, deployment))
    return (
        start_operation(container, cause_of(deployment)),
        *_probe(view, deployment, identity(container)),
    )


def _start_again(view: View, deployment: Deployment) -> tuple[Operation, ...]:
    if view.has_image(deployment.image_id):
        return _first_start(view, deployment, deployment.release, deployment.image_id)
    message = f"the image of r{deployment.release} was removed while it was being started"
    hint = "It is built again by itself"
    return ending.failed(view, deployment, Reason.START_FAILED, message, hint=hint, retryable=True)


def _first_start(view: View, deployment: Deployment, release: int, image_id: str) -> tuple[Operation, ...]:
    if view.name_is_taken(deployment.number):
        message = f"the name of its container, d{deployment.number}, belongs to somebody else's"
        hint = "It is tried again under the next number"
        return ending.failed(view, deployment, Reason.NOT_OURS, message, hint=hint, retryable=True)
    port = view.world.ports.lease()
    if port is None:
        message = no_port(view)
        hint = "Widen `ports` in the host file"
        return ending.failed(view, deployment, Reason.START_FAILED, message, hint=hint, retryable=True)
    who = new_identity(view, deployment, release=release, image_id=image_id, port=port)
    return (
        *create(view, deployment, who, restart_policy=NEW_POLICY, cause=cause_of(deployment)),
        *_probe(view, deployment, who),
    )


def no_port(view: View) -> str:
    first, last = view.host.ports
    return f"no host port from {first} to {last} is free"


# ---- check and switch ----------------------------------------------------------------------


def _subject(who: Identity) -> str:
    return f"{who.container_name}:{who.port}"


def _probe(view: View, deployment: Deployment, who: Identity) -> tuple[Operation, ...]:
    health = view.spec.health
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
    if container is None or container.state not in ("running", "restarting"):
        return ending.failed_container(view, deployment, container)
    job = view.job(deployment.number, "probe")
    if job is None or job.subject != _subject(identity(container)):
        return _probe(view, deployment, identity(container))
    if job.state == "failed":
        return ending.failed_job(view, deployment, job)
    if job.state == "running" or view.world.observed.routes is None:
        return ()
    return _point(view, deployment, identity(container))


def _point(view: View, deployment: Deployment, who: Identity) -> tuple[Operation, ...]:
    shared = about(view, deployment)
    deadline_s = VERIFY_S + MARGIN_S
    return (
        AdvanceDeployment(**shared, state=State.SWITCHING, deadline_s=deadline_s),
        WriteUpstream(**shared, port=who.port),
        *(_verify(view, deployment, who) if view.is_routed else ()),
    )


def _verify(view: View, deployment: Deployment, who: Identity) -> tuple[Operation, ...]:
    return (
        StartVerify(
            project=view.project,
            deployment=deployment.number,
            cause=cause_of(deployment),
            host=view.spec.domains[0],
            port=who.port,
            path=view.spec.health.path,
            timeout_s=VERIFY_S,
            subject=_subject(who),
        ),
    )


def _switch(view: View, deployment: Deployment) -> tuple[Operation, ...]:
    container = view.container_of(deployment.number)
    if container is None or container.state not in ("running", "restarting"):
        return ending.failed_container(view, deployment, container)
    who = identity(container)
    shared = about(view, deployment)
    if view.upstream != who.port:
        return (WriteUpstream(**shared, port=who.port),)
    job = view.job(deployment.number, "verify")
    if job is None or job.subject != _subject(who):
        return _verify(view, deployment, who) if view.is_routed else ()
    if job.state == "failed":
        return ending.failed_job(view, deployment, job)
    if job.state == "running":
        return ()
    return (
        MarkLive(**shared, previous=view.past.live.number if view.past.live else 0, drain_s=view.drain_s),
        SetRestartPolicy(**shared, container_id=container.id, container=container.name, policy=LIVE_POLICY),
    )
