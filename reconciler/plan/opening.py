"""Whether a new deployment is to be opened, and the sentence that says why.

One pass of `planner`; pure. A deployment is opened when what serves is not what Git asks for,
or when somebody changed the live container in a way that only a fresh one puts right.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.condition import Reason
from reconciler.model.desired import DesiredProject
from reconciler.model.operation import Cause, OpenDeployment, Operation
from reconciler.model.plan import Waiting
from reconciler.model.release import Commit, Deployment, State
from reconciler.plan.backoff import delay_s
from reconciler.plan.causes import describe_change
from reconciler.plan.containers import beyond_repair, drifted_fields
from reconciler.plan.gates import confirmation, is_retried
from reconciler.plan.rollout import QUEUED_S, roll_out, start_build
from reconciler.plan.view import View, built_as, keys_of, wanted_keys

SETTLE_S = 60.0
SETTLE_AGAIN_S = 86400.0


@dataclass(frozen=True)
class Opening:
    """`due_at` is when it may happen at last (0: never by itself); `not_converging` names fields.

    While `waiting` for a person, `held` are the operations that follow. `lacks_disk`: it needs a build, and the
    host has no room for one.
    """

    operations: tuple[Operation, ...] = ()
    waiting: Waiting | None = None
    held: tuple[Operation, ...] = ()
    due_at: float = 0.0
    not_converging: tuple[str, ...] = ()
    lacks_disk: bool = False


def open_deployment(view: View, *, may_build: bool) -> Opening:
    """The operations that begin a deployment now, if one is needed and may begin."""
    wanted = view.desired
    if wanted is None or wanted.commit is None or wanted.dockerfile is None:
        return Opening()
    found = _cause(view, wanted)
    if found is None:
        return Opening()
    cause, fields = found
    settled_at = _settled_at(view, fields)
    if view.now < settled_at:
        return Opening(not_converging=fields, due_at=settled_at)
    due = _due_at(view)
    if due is None or view.now < due:
        return Opening(due_at=due or 0.0)
    last = view.past.last_ended
    if last is not None and is_retried(view, last) and last.commit.sha == wanted.commit.sha:
        cause = Cause("request", f"d{last.number} is tried again as a person asked: {cause.text}")
    begun = _begin(view, wanted, wanted.commit, cause=cause, fields=fields, may_build=may_build)
    waiting = confirmation(view)
    if waiting is not None:
        return Opening(waiting=waiting, held=begun)
    if view.world.observed.disk_problem and _needs_build(view):
        return Opening(lacks_disk=True)
    return Opening(begun)


def _needs_build(view: View) -> bool:
    return not view.can_reuse or view.built_image(view.content_key) is None


def failed_attempt(view: View) -> Deployment | None:
    """The deployment of exactly what is asked now that failed, or that a person ended, where it is still to be done.

    A new commit, another text of the spec or other base images are something else to try, even
    where they change nothing of what would run: that is how a person asks for another try. So is a retry.
    """
    last, wanted = view.past.last_ended, view.desired
    if last is None or not _ended_badly(last) or wanted is None or wanted.commit is None or is_retried(view, last):
        return None
    asked = (*wanted_keys(wanted), wanted.spec.blob, wanted.commit.sha, view.content_key)
    tried = (*keys_of(last), last.spec_blob, last.commit.sha, last.content_key)
    return last if tried == asked and _cause(view, wanted) is not None else None


def _ended_badly(last: Deployment) -> bool:
    return last.state is State.FAILED or (last.state is State.CANCELLED and last.reason == Reason.CANCELLED)


def is_tried_again(last: Deployment) -> bool:
    """Whether time alone leads to another try. What ran before is worth one: Git is not to blame."""
    return last.state is State.FAILED and (last.retryable or last.cause == "drift")


def _cause(view: View, wanted: DesiredProject) -> tuple[Cause, tuple[str, ...]] | None:
    live = view.past.live
    if live is None:
        return Cause("change", f"first deployment of {_short(wanted)}"), ()
    if wanted_keys(wanted) != keys_of(live):
        return Cause("change", _change_text(wanted, live)), ()
    fields = drifted_fields(view, live, live.run or wanted.spec.run)
    if fields:
        return Cause("drift", f"container of d{live.number} was changed by hand: {'; '.join(fields)}"), fields
    broken = beyond_repair(view, live)
    return (Cause("drift", f"d{live.number} cannot be put back: {broken}"), ()) if broken else None


def _short(wanted: DesiredProject) -> str:
    commit = wanted.commit or Commit("")
    subject = f' "{commit.subject}"' if commit.subject else ""
    return f"{wanted.spec.source.branch}@{commit.sha[:7]}{subject}"


def _change_text(wanted: DesiredProject, live: Deployment) -> str:
    parts: list[str] = []
    if wanted.source_key != live.source_key:
        parts.append(f"{live.commit.sha[:7] or 'unknown'} → {_short(wanted)}")
    if wanted.config_digest != live.config_digest:
        parts += describe_change(live.config, dict(wanted.config), wanted.spec)
    return "; ".join(parts) or "the run settings changed"


def _settled_at(view: View, fields: tuple[str, ...]) -> float:
    """Until when the same difference is left alone, since a deployment for it just went live (invariant 11).

    Once more after a minute; what comes back then as well is not put right a third time that day.
    """
    live = view.past.live
    if live is None or not _is_same_drift(live, fields):
        return 0.0
    return live.live_at + (SETTLE_S if live.attempt == 1 else SETTLE_AGAIN_S)


def _is_same_drift(live: Deployment, fields: tuple[str, ...]) -> bool:
    found, put_right = ({each.split(" ", 1)[0] for each in some} for some in (fields, live.drift_fields))
    return bool(found) and live.cause == "drift" and found == put_right


def _due_at(view: View) -> float | None:
    """When the same thing may be tried again after it ended badly; None = not by itself."""
    last = failed_attempt(view)
    if last is None:
        return view.now
    if not is_tried_again(last):
        return None
    return last.ended_at + delay_s(last.attempt, f"{view.project}/{last.source_key}")


def _attempt(view: View, fields: tuple[str, ...]) -> int:
    """1 for something new; one more for what failed, or what came back within a day."""
    last, live = failed_attempt(view), view.past.live
    if last is not None:
        return last.attempt + 1
    if live is not None and _is_same_drift(live, fields) and view.now < live.live_at + SETTLE_AGAIN_S:
        return live.attempt + 1
    return 1


def _begin(
    view: View, wanted: DesiredProject, commit: Commit, *, cause: Cause, fields: tuple[str, ...], may_build: bool
) -> tuple[Operation, ...]:
    opening = OpenDeployment(
        project=view.project,
        deployment=view.next_number,
        cause=cause,
        previous=view.past.live.number if view.past.live else 0,
        commit=commit,
        source_key=wanted.source_key,
        content_key=view.content_key,
        config_digest=wanted.config_digest,
        config=dict(wanted.config),
        run=wanted.spec.run,
        spec_blob=wanted.spec.blob,
        platform_revision=view.world.desired.revision,
        deadline_s=QUEUED_S,
        attempt=_attempt(view, fields),
        drift_fields=fields,
        branch=wanted.spec.source.branch,
        build_type=built_as(wanted),
    )
    deployment = as_opened(opening, view.now)
    image_id = view.built_image(deployment.content_key) if view.can_reuse else None
    if image_id is not None:
        return (opening, *roll_out(view, deployment, image_id))
    return (opening, *(start_build(view, deployment) if may_build else ()))


def as_opened(opening: OpenDeployment, now: float) -> Deployment:
    """The row that `opening` makes, so that the same plan can go on with it."""
    return Deployment(
        project=opening.project,
        number=opening.deployment,
        state=State.QUEUED,
        cause=opening.cause.kind,
        cause_text=opening.cause.text,
        commit=opening.commit,
        source_key=opening.source_key,
        content_key=opening.content_key,
        config_digest=opening.config_digest,
        config=opening.config,
        run=opening.run,
        spec_blob=opening.spec_blob,
        platform_revision=opening.platform_revision,
        created_at=now,
        changed_at=now,
        deadline_at=now + opening.deadline_s,
        previous=opening.previous,
        attempt=opening.attempt,
        drift_fields=opening.drift_fields,
        branch=opening.branch,
        build_type=opening.build_type,
    )
