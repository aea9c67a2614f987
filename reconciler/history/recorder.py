"""Writes history: the journal of operations, the steps of deployments, jobs, failures and events.

Called by the executor, the jobs and the loop, from several threads. It decides nothing and reads no
clock. A method returns when what it wrote is durable (synchronous FULL), and writes nothing where
nothing changes (invariant 11).
"""

from __future__ import annotations

from dataclasses import replace
from sqlite3 import Connection

from reconciler.history import deployments
from reconciler.history.rows import clean
from reconciler.history.standing import Standing
from reconciler.model.condition import Reason
from reconciler.model.effects import Done
from reconciler.model.job import Job
from reconciler.model.operation import (
    PLATFORM,
    AdoptDeployment,
    AdvanceDeployment,
    AssignRelease,
    EndDeployment,
    MarkLive,
    OpenDeployment,
    Operation,
    RetireProject,
)
from reconciler.model.release import Deployment

EVENT_MERGE_S = 600.0
EVENTS_KEPT = 1000
_CLOSE = "UPDATE operations SET outcome = 'ok', result = ?, ended_at = ? WHERE id = ? AND outcome = ''"


class Recorder(Standing):
    """Implements `model.effects.Journal`. Safe from any thread.

    Raises StoreBusy (tried again by the caller's backoff), StoreUnusable, and StepRefused for a step
    that a deployment may not take. The steps of a deployment may be repeated: the second changes nothing.
    """

    def begin(self, operation: Operation, *, request_id: str, now: float, after: Done | None = None) -> int:
        """Write the intent and return the row's id; `after` is closed by the same write, since each costs a sync."""
        values = (
            *(request_id, operation.project, operation.deployment, operation.name, operation.resource),
            operation.cause.kind,
            self._text(operation.project, operation.cause.text),
            self._text(operation.project, operation.sentence),
            now,
        )
        with self._database.transaction() as connection:
            if after is not None:
                self._close(connection, after)
            cursor = connection.execute(
                "INSERT INTO operations (request_id, project, deployment, operation, resource,"
                " cause, cause_text, sentence, begun_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            return int(cursor.lastrowid or 0)

    def succeed(self, row_id: int, *, result: str, now: float) -> None:
        """Close the row: done."""
        with self._database.transaction() as connection:
            self._close(connection, Done(row_id, result, now))

    def fail(self, row_id: int, *, reason: str, message: str, retryable: bool, now: float) -> None:
        """Close the row: failed, with what a person should read."""
        with self._database.transaction() as connection:
            text = self._text(_project_of(connection, row_id), message)
            connection.execute(
                "UPDATE operations SET outcome = 'failed', reason = ?, message = ?, retryable = ?, ended_at = ?"
                " WHERE id = ? AND outcome = ''",
                (clean(reason, 100), text, int(retryable), now, row_id),
            )

    def open_deployment(self, operation: OpenDeployment, now: float) -> None:
        """Enter `queued`. StepRefused where the number was used, or another deployment is under way."""
        name = operation.project
        cause = replace(operation.cause, text=self._text(name, operation.cause.text))
        commit = replace(operation.commit, subject=self._text(name, operation.commit.subject))
        with self._database.transaction() as connection:
            deployments.open_deployment(connection, replace(operation, cause=cause, commit=commit), now)

    def assign_release(self, operation: AssignRelease, now: float) -> int:
        """Enter `starting`; returns the release's number: a pair that was a release before keeps its own."""
        with self._database.transaction() as connection:
            return deployments.assign_release(connection, operation, now)

    def advance(self, operation: AdvanceDeployment, now: float) -> None:
        """Enter `building`, `checking` or `switching`."""
        with self._database.transaction() as connection:
            deployments.advance(connection, operation, now)

    def mark_live(self, operation: MarkLive, now: float) -> None:
        """Enter `live`; the one that served is retired and drains; the project is no longer adopted."""
        with self._database.transaction() as connection:
            deployments.mark_live(connection, operation, now)

    def end(self, operation: EndDeployment, now: float) -> None:
        """End without going live."""
        with self._database.transaction() as connection:
            message, hint = (self._text(operation.project, text) for text in (operation.message, operation.hint))
            deployments.end(connection, _with_texts(operation, message, hint), now)

    def retire_project(self, operation: RetireProject, now: float) -> None:
        """Nothing of the project runs any more."""
        with self._database.transaction() as connection:
            deployments.retire_project(connection, operation, now)

    def adopt(self, operation: AdoptDeployment, now: float) -> None:
        """Write down as live what runs under our labels; the project is marked adopted."""
        with self._database.transaction() as connection:
            deployments.adopt(connection, operation, now)

    def interrupt_open(self, now: float) -> list[Deployment]:
        """At start: nobody works on what is open (invariant 4). Closes deployments, journal and job rows."""
        message = "the reconciler ended before this did"
        with self._database.transaction() as connection:
            interrupted = deployments.interrupt(connection, now)
            connection.execute(
                "UPDATE operations SET outcome = 'interrupted', reason = ?, message = ?, ended_at = ?"
                " WHERE outcome = ''",
                (str(Reason.INTERRUPTED), message, now),
            )
            connection.execute(
                "UPDATE jobs SET state = 'failed', reason = ?, message = ?, retryable = 1, ended_at = ?"
                " WHERE state = 'running'",
                (str(Reason.INTERRUPTED), message, now),
            )
        return interrupted

    def job_started(self, job: Job) -> None:
        """A row for the job; telling it twice changes nothing."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO jobs (project, deployment, kind, state, subject, started_at, deadline_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*_key(job), job.state, clean(job.subject), job.started_at, job.deadline_at),
            )

    def job_ended(self, job: Job) -> None:
        """Its outcome; a job that was never told of gets its row now."""
        outcome = (
            *(job.state, clean(job.subject), job.ended_at, job.image_id, clean(job.reason, 100)),
            *(self._text(job.key.project, job.message), self._text(job.key.project, job.hint)),
            *(int(job.retryable), job.steps, job.cached),
        )
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO jobs (project, deployment, kind, started_at, deadline_at,"
                " state, subject, ended_at, image_id, reason, message, hint, retryable, steps, cached)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (project, deployment, kind, started_at) DO UPDATE SET"
                " state = excluded.state, subject = excluded.subject, ended_at = excluded.ended_at,"
                " image_id = excluded.image_id, reason = excluded.reason, message = excluded.message,"
                " hint = excluded.hint, retryable = excluded.retryable, steps = excluded.steps,"
                " cached = excluded.cached WHERE jobs.state = 'running'",
                (*_key(job), job.started_at, job.deadline_at, *outcome),
            )

    def record_failure(
        self, project_name: str, resource: str, *, reason: str, message: str, retryable: bool, now: float
    ) -> int:
        """One more failed operation of the project ("" = the platform); returns how many in a row."""
        text = self._text(project_name, message)
        with self._database.transaction() as connection:
            row = connection.execute(
                "INSERT INTO failures VALUES (?, ?, ?, ?, ?, 1, ?) ON CONFLICT (project) DO UPDATE SET"
                " resource = excluded.resource, reason = excluded.reason, message = excluded.message,"
                " retryable = excluded.retryable, attempts = attempts + 1, at = excluded.at RETURNING attempts",
                (project_name, clean(resource, 300), clean(reason, 100), text, int(retryable), now),
            ).fetchone()
        return int(row["attempts"])

    def clear_failure(self, project_name: str) -> bool:
        """An operation of the project went well; False where nothing had failed."""
        if not self._is_there("SELECT 1 FROM failures WHERE project = ?", (project_name,)):
            return False
        return self._write("DELETE FROM failures WHERE project = ?", (project_name,))

    def record_repair(self, project_name: str, now: float) -> None:
        """A start for drift, which backs off when it comes again and again."""
        with self._database.transaction() as connection:
            deployments.add_repair(connection, project_name, now)

    def record_event(self, project_name: str, kind: str, text: str, *, now: float, reason: str = "") -> bool:
        """Something for the project's history; False where it was counted onto an equal one.

        Equal = same project, kind and reason within ten minutes of the last: one row with a count, so
        that a crash loop is no flood. The newest 1,000 of a project are kept.
        """
        values, text = (project_name, clean(kind, 100), clean(reason, 100)), self._text(project_name, text)
        with self._database.transaction() as connection:
            merged = connection.execute(
                "UPDATE events SET count = count + 1, last_at = ?, text = ? WHERE id = (SELECT id FROM events"
                " WHERE project = ? AND kind = ? AND reason = ? AND last_at > ? ORDER BY last_at DESC LIMIT 1)",
                (now, text, *values, now - EVENT_MERGE_S),
            ).rowcount
            if merged:
                return False
            connection.execute(
                "INSERT INTO events (project, kind, reason, text, first_at, last_at) VALUES (?, ?, ?, ?, ?, ?)",
                (*values, text, now, now),
            )
            connection.execute(
                "DELETE FROM events WHERE project = ?1 AND last_at <= (SELECT last_at FROM events"
                " WHERE project = ?1 ORDER BY last_at DESC LIMIT 1 OFFSET ?2)",
                (project_name, EVENTS_KEPT),
            )
        return True

    def _close(self, connection: Connection, done: Done) -> None:
        text = self._text(_project_of(connection, done.row_id), done.result)
        connection.execute(_CLOSE, (text, done.at, done.row_id))

    def _text(self, project_name: str, text: str) -> str:
        return clean(self._masker_of(project_name).mask(text))


def _project_of(connection: Connection, row_id: int) -> str:
    """Whose operation it is."""
    row = connection.execute("SELECT project FROM operations WHERE id = ?", (row_id,)).fetchone()
    return str(row["project"]) if row else PLATFORM


def _key(job: Job) -> tuple[str, int, str]:
    return job.key.project, job.key.deployment, job.key.kind


def _with_texts(operation: EndDeployment, message: str, hint: str) -> EndDeployment:
    return EndDeployment(**(vars(operation) | {"message": message, "hint": hint}))
