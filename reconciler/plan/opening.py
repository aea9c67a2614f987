"""Whether a new deployment is to be opened, and the sentence that says why.

One pass of `planner`; pure. A deployment is opened when what serves is not what Git asks for,
or when somebody changed the live container in a way that only a fresh one puts right.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.desired import DesiredProject
from reconciler.model.operation import Cause, OpenDeployment, Operation
from reconciler.model.release import Deployment, State
from reconciler.plan.backoff import delay_s
from reconciler.plan.causes import describe_change
from reconciler.plan.containers import drifted_fields
from reconciler.plan.rollout import QUEUED_S, roll_out, start_build
from reconciler.plan.view import View, keys_of, wanted_keys

SETTLE_S = 60.0


@dataclass(frozen=True)
class Opening:
    """`due_at` is when it may happen at last (0: never by itself); `not_converging` names fields."""

    operations: tuple[Operation, ...] = ()
    due_at: float = 0.0
    not_converging: tuple[str, ...] = ()


def open_deployment(view: View, *, may_build: bool) -> Opening:
    """The operations that begin a deployment now, if one is needed and may begin."""
    wanted = view.desired
    if wanted is None or wanted.commit is None or wanted.dockerfile is None:
        return Opening()
    found = _cause(view, wanted)
    if found is None:
        return Opening()
    cause, fields = found
    if fields and _came_back(view, fields):
        return Opening(not_converging=fields)
    due = _due_at(view, wanted)
    if due is None or view.now < due:
        return Opening(due_at=due or 0.0)
    return Opening(_begin(view, wanted, cause=cause, fields=fields, may_build=may_build))


def _cause(view: View, wanted: DesiredProject) -> tuple[Cause, tuple[str, ...]] | None:
    live = view.past.live
    if live is None:
        return Cause("change", f"first deployment of {_short(wanted)}"), ()
    if wanted_keys(wanted) != keys_of(live):
        return Cause("change", _change_text(wanted, live)), ()
    run = live.run or wanted.spec.run
    fields = drifted_fields(view, live, run)
    if fields:
        return Cause("drift", f"container of d{live.number} was changed by hand: {'; '.join(fields)}"), fields
    if view.container_of(live.number) is None and not view.has_image(live.image_id):
        return Cause("drift", f"container and image of r{live.release} are gone"), ()
    return None


def _short(wanted: DesiredProject) -> str:
    commit = wanted.commit
    if commit is None:
        return "nothing"
    subject = f' "{commit.subject}"' if commit.subject else ""
    return f"{wanted.spec.source.branch}@{commit.sha[:7]}{subject}"


def _change_text(wanted: DesiredProject, live: Deployment) -> str:
    parts: list[str] = []
    if wanted.source_key != live.source_key:
        parts.append(f"{live.commit.sha[:7] or 'unknown'} → {_short(wanted)}")
    if wanted.config_digest != live.config_digest:
        parts += describe_change(live.config, dict(wanted.config), wanted.spec)
    return "; ".join(parts) or "the run settings changed"


def _came_back(view: View, fields: tuple[str, ...]) -> bool:
    """Invariant 11: the same difference right after a deployment for it went live."""
    live = view.past.live
    if live is None or live.cause != "drift":
        return False
    same = {each.split(" ", 1)[0] for each in fields} == {each.split(" ", 1)[0] for each in live.drift_fields}
    return same and view.now - live.live_at < SETTLE_S


def _due_at(view: View, wanted: DesiredProject) -> float | None:
    """When the same thing may be tried again after it ended badly; None = not by itself."""
    last = view.past.last_ended
    if last is None or keys_of(last) != wanted_keys(wanted) or last.state is not State.FAILED:
        return view.now
    if not last.retryable:
        return None
    return last.ended_at + delay_s(last.attempt, f"{view.project}/{last.source_key}")


def _begin(
    view: View, wanted: DesiredProject, *, cause: Cause, fields: tuple[str, ...], may_build: bool
) -> tuple[Operation, ...]:
    commit = wanted.commit
    if commit is None:
        return ()
    last = view.past.last_ended
    again = last is not None and keys_of(last) == wanted_keys(wanted) and last.state is State.FAILED
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
        attempt=last.attempt + 1 if again and last else 1,
        drift_fields=fields,
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
    )
