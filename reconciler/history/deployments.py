"""The state changes of deployments: each operation on a deployment's row, as one step.

Called by the recorder inside a transaction. Every step is checked against TRANSITIONS, and the same
step taken again changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from sqlite3 import Connection

from reconciler.errors import StepRefused
from reconciler.history.rows import DEPLOYMENT_COLUMNS, deployment_of, deployment_values
from reconciler.model.condition import Reason
from reconciler.model.naming import Identity
from reconciler.model.operation import (
    AdoptDeployment,
    AdvanceDeployment,
    AssignRelease,
    EndDeployment,
    MarkLive,
    OpenDeployment,
    Operation,
    RetireProject,
)
from reconciler.model.release import ENDED, OPEN, TRANSITIONS, Commit, Deployment, State

_REPAIRS_KEPT = 20
_UPSERT = (
    f"INSERT INTO deployments ({', '.join(DEPLOYMENT_COLUMNS)})"  # noqa: S608 (column names of ours)
    f" VALUES ({', '.join('?' * len(DEPLOYMENT_COLUMNS))}) ON CONFLICT (project, number) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in DEPLOYMENT_COLUMNS if name not in ("project", "number"))
)


@dataclass
class _Project:
    """The row of `projects`: which deployments matter for planning, by number, 0 = none."""

    name: str
    last_number: int = 0
    live: int = 0
    open: int = 0
    last_ended: int = 0
    previous_live: int = 0
    adopted: int = 0
    repairs: str = "[]"


def open_deployment(connection: Connection, operation: OpenDeployment, now: float) -> None:
    """Raises StepRefused where the number was used before, or another deployment is under way."""
    project = _project(connection, operation.project)
    there = _find(connection, operation.project, operation.deployment)
    if there is not None and there.is_open and there.source_key == operation.source_key:
        return
    if there is not None or operation.deployment <= project.last_number:
        raise _refused(operation, "be opened", f"a number above {project.last_number}, the last that was used")
    if project.open:
        raise _refused(operation, "be opened", f"the end of d{project.open}, which is under way")
    project.last_number = project.open = operation.deployment
    deployment = Deployment(
        project=operation.project,
        number=operation.deployment,
        state=State.QUEUED,
        cause=operation.cause.kind,
        cause_text=operation.cause.text,
        commit=operation.commit,
        source_key=operation.source_key,
        content_key=operation.content_key,
        config_digest=operation.config_digest,
        spec_blob=operation.spec_blob,
        platform_revision=operation.platform_revision,
        created_at=now,
        changed_at=now,
        deadline_at=_deadline(now, operation.deadline_s),
        previous=operation.previous,
        attempt=operation.attempt,
        config=operation.config,
        run=operation.run,
        drift_fields=operation.drift_fields,
        branch=operation.branch,
        build_type=operation.build_type,
    )
    _save_project(connection, project)
    _save(connection, deployment, {State.QUEUED: now})


def assign_release(connection: Connection, operation: AssignRelease, now: float) -> int:
    """Enter `starting` with a release; returns its number: a pair that was a release before keeps its own.

    Raises StepRefused where the number belongs to another pair of image and config.
    """
    deployment = _existing(connection, operation)
    number = _release(connection, operation, now)
    if deployment.is_open and (deployment.release, deployment.image_id) == (number, operation.image_id):
        return number
    _may(operation, deployment, State.STARTING)
    changed = replace(
        deployment,
        state=State.STARTING,
        release=number,
        image_id=operation.image_id,
        content_key=operation.content_key,
        changed_at=now,
        deadline_at=_deadline(now, operation.deadline_s),
    )
    _save(connection, changed, {State.STARTING: now})
    _touch(connection, operation.project)
    return number


def advance(connection: Connection, operation: AdvanceDeployment, now: float) -> None:
    """Raises StepRefused for a state that TRANSITIONS does not allow, or that has an operation of its own."""
    deployment = _existing(connection, operation)
    if deployment.state is operation.state:
        return
    if operation.state not in OPEN:
        raise _refused(operation, f"advance to {operation.state}", "MarkLive or EndDeployment for that")
    _may(operation, deployment, operation.state)
    changed = replace(
        deployment, state=operation.state, changed_at=now, deadline_at=_deadline(now, operation.deadline_s)
    )
    _save(connection, changed, {operation.state: now})
    _touch(connection, operation.project)


def mark_live(connection: Connection, operation: MarkLive, now: float) -> None:
    """The deployment serves; the one that did is retired and may be stopped after `drain_s`."""
    deployment = _existing(connection, operation)
    if deployment.state is State.LIVE:
        return
    _may(operation, deployment, State.LIVE)
    project = _project(connection, operation.project)
    if project.live:
        _retire(connection, project, now, drain_until=now + operation.drain_s)
    project.live = deployment.number
    project.open = 0
    project.adopted = 0
    project.last_ended = project.last_ended if project.last_ended > deployment.number else 0
    changed = replace(deployment, state=State.LIVE, changed_at=now, live_at=now, deadline_at=0.0)
    _save(connection, changed, {State.LIVE: now})
    _save_project(connection, project)


def end(connection: Connection, operation: EndDeployment, now: float) -> None:
    """Raises StepRefused where the deployment is live or ended otherwise."""
    deployment = _existing(connection, operation)
    if deployment.state is operation.state:
        return
    if operation.state is State.RETIRED or operation.state not in ENDED:
        raise _refused(operation, f"end as {operation.state}", "failed, cancelled, superseded or interrupted")
    _may(operation, deployment, operation.state)
    _end(
        connection,
        replace(
            deployment,
            state=operation.state,
            reason=str(operation.reason),
            message=operation.message,
            hint=operation.hint,
            retryable=operation.retryable,
        ),
        now,
    )


def retire_project(connection: Connection, operation: RetireProject, now: float) -> None:
    """Nothing of the project runs any more."""
    project = _project(connection, operation.project)
    if not (project.live or project.previous_live or project.last_ended or project.adopted):
        return
    if project.live:
        _retire(connection, project, now, drain_until=0.0)
    project.live = project.previous_live = project.last_ended = project.adopted = 0
    _save_project(connection, project)


def adopt(connection: Connection, operation: AdoptDeployment, now: float) -> None:
    """What runs becomes the live deployment, under the numbers that its labels carry.

    Raises StepRefused where the deployment is under way in this store.
    """
    identity = operation.identity
    project = _project(connection, identity.project)
    there = _find(connection, identity.project, identity.deployment)
    if there is not None and there.state is State.LIVE:
        return
    if there is not None and there.is_open:
        raise _refused(operation, f"be adopted while it is {there.state}", "the end of that attempt first")
    if project.live:
        _retire(connection, project, now, drain_until=now)
    adopted = _adopted(there or _found(identity, now), identity, now)
    project.live = identity.deployment
    project.last_number = max(project.last_number, identity.deployment)
    project.last_ended = project.last_ended if project.last_ended > identity.deployment else 0
    project.adopted = 1
    _save_project(connection, project)
    _save(connection, adopted, {State.LIVE: now})
    connection.execute(
        "INSERT OR IGNORE INTO releases VALUES (?, ?, ?, ?, ?, ?)",
        (
            *(identity.project, identity.release, identity.image_id),
            *(identity.config_digest, identity.content_key, now),
        ),
    )


def _found(identity: Identity, now: float) -> Deployment:
    """What the labels alone say."""
    return Deployment(
        project=identity.project,
        number=identity.deployment,
        state=State.LIVE,
        cause="change",
        cause_text="",
        commit=Commit(identity.source_commit),
        source_key=identity.source_key,
        config_digest=identity.config_digest,
        spec_blob=identity.spec_blob,
        platform_revision=identity.platform_revision,
        created_at=now,
        changed_at=now,
    )


def _adopted(deployment: Deployment, identity: Identity, now: float) -> Deployment:
    return replace(
        deployment,
        state=State.LIVE,
        cause="change",
        cause_text=f"adopted {identity.container_name}, found by its labels",
        source_key=identity.source_key,
        config_digest=identity.config_digest,
        spec_blob=identity.spec_blob,
        platform_revision=identity.platform_revision,
        release=identity.release,
        image_id=identity.image_id,
        content_key=identity.content_key,
        changed_at=now,
        live_at=now,
        ended_at=0.0,
        drain_until=0.0,
        deadline_at=0.0,
        reason=str(Reason.ADOPTED),
        message="",
        hint="",
        retryable=False,
    )


def interrupt(connection: Connection, now: float) -> list[Deployment]:
    """End every deployment that is under way, since nobody works on it; returns them as they are now."""
    rows = connection.execute(
        "SELECT deployments.* FROM projects JOIN deployments"
        " ON deployments.project = projects.name AND deployments.number = projects.open WHERE projects.open > 0"
    ).fetchall()
    ended: list[Deployment] = []
    for deployment in map(deployment_of, rows):
        interrupted = replace(
            deployment,
            state=State.INTERRUPTED,
            reason=str(Reason.INTERRUPTED),
            message=f"the reconciler ended while this was {deployment.state}",
            hint="It is planned again by itself",
            retryable=True,
        )
        ended.append(_end(connection, interrupted, now))
    return ended


def add_repair(connection: Connection, project_name: str, at: float) -> None:
    """Remember a start for drift; the last 20 are kept."""
    project = _project(connection, project_name)
    repairs = [*json.loads(project.repairs), at][-_REPAIRS_KEPT:]
    project.repairs = json.dumps(repairs)
    _save_project(connection, project)


def _project(connection: Connection, name: str) -> _Project:
    row = connection.execute("SELECT * FROM projects WHERE name = ?", (name,)).fetchone()
    if row is None:
        return _Project(name)
    return _Project(**{field: row[field] for field in _Project.__dataclass_fields__})


def _save_project(connection: Connection, project: _Project) -> None:
    connection.execute(
        "INSERT INTO projects (name, last_number, live, open, last_ended, previous_live, adopted, repairs)"
        " VALUES (:name, :last_number, :live, :open, :last_ended, :previous_live, :adopted, :repairs)"
        " ON CONFLICT (name) DO UPDATE SET last_number = :last_number, live = :live, open = :open,"
        " last_ended = :last_ended, previous_live = :previous_live, adopted = :adopted, repairs = :repairs",
        vars(project),
    )
    _touch(connection, project.name)


def _touch(connection: Connection, project_name: str) -> None:
    """Readers read again what has a higher number than they saw."""
    connection.execute(
        "UPDATE projects SET touched = (SELECT max(touched) + 1 FROM projects) WHERE name = ?", (project_name,)
    )


def _find(connection: Connection, project_name: str, number: int) -> Deployment | None:
    row = connection.execute(
        "SELECT * FROM deployments WHERE project = ? AND number = ?", (project_name, number)
    ).fetchone()
    return deployment_of(row) if row else None


def _existing(connection: Connection, operation: Operation) -> Deployment:
    deployment = _find(connection, operation.project, operation.deployment)
    if deployment is None:
        raise _refused(operation, operation.verb, "a deployment that was opened before")
    return deployment


def _save(connection: Connection, deployment: Deployment, entered: Mapping[State, float]) -> None:
    connection.execute(_UPSERT, deployment_values(deployment))
    for state, at in entered.items():
        connection.execute(
            "UPDATE deployments SET entered = json_set(entered, ?, ?) WHERE project = ? AND number = ?",
            (f"$.{state}", at, deployment.project, deployment.number),
        )


def _retire(connection: Connection, project: _Project, now: float, *, drain_until: float) -> None:
    """The live one of `project` serves no longer; the caller stores the project's row."""
    live = _find(connection, project.name, project.live)
    project.previous_live = project.live
    if live is not None:
        retired = replace(live, state=State.RETIRED, changed_at=now, ended_at=now, drain_until=drain_until)
        _save(connection, retired, {State.RETIRED: now})


def _end(connection: Connection, deployment: Deployment, now: float) -> Deployment:
    ended = replace(deployment, changed_at=now, ended_at=now, deadline_at=0.0)
    project = _project(connection, deployment.project)
    project.open = 0
    project.last_ended = max(deployment.number, project.last_ended)
    _save(connection, ended, {deployment.state: now})
    _save_project(connection, project)
    return ended


def _release(connection: Connection, operation: AssignRelease, now: float) -> int:
    pair = (operation.project, operation.image_id, operation.config_digest)
    known = connection.execute(
        "SELECT number FROM releases WHERE project = ? AND image_id = ? AND config_digest = ?", pair
    ).fetchone()
    if known:
        return int(known["number"])
    taken = connection.execute(
        "SELECT image_id FROM releases WHERE project = ? AND number = ?", (operation.project, operation.release)
    ).fetchone()
    if taken:
        raise _refused(
            operation, f"be release r{operation.release}", f"a free number: that one is image {taken['image_id'][:19]}"
        )
    connection.execute(
        "INSERT INTO releases VALUES (?, ?, ?, ?, ?, ?)",
        (*(operation.project, operation.release), *pair[1:], operation.content_key, now),
    )
    return operation.release


def _may(operation: Operation, deployment: Deployment, state: State) -> None:
    if state not in TRANSITIONS[deployment.state]:
        allowed = ", ".join(sorted(TRANSITIONS[deployment.state])) or "nothing: it has ended"
        raise _refused(operation, f"go from {deployment.state} to {state}", allowed)


def _refused(operation: Operation, step: str, expected: str) -> StepRefused:
    return StepRefused(
        f"d{operation.deployment} of {operation.project} cannot {step}",
        expected=expected,
        remedy="The next pass plans from what is there",
    )


def _deadline(now: float, deadline_s: float) -> float:
    return now + deadline_s if deadline_s else 0.0
