"""Forgets what is old: deployments with their journal, jobs and logs, beyond what anybody goes back to.

Called by the reconciler once a day. Must never forget what serves, is under way, is kept for a rollback or was
told last.
"""

from __future__ import annotations

import json

from reconciler.history.database import Database
from reconciler.history.logs import BuildLogs

KEPT_DEPLOYMENTS = 50
KEPT_S = 90 * 86400.0
KEPT_RETIRED_S = 366 * 86400.0  # the longest rollback window, and a day

_OLD = """
    SELECT deployments.project, deployments.number FROM deployments
    JOIN projects ON projects.name = deployments.project
    WHERE deployments.ended_at > 0 AND deployments.ended_at < ?1
    AND (deployments.state <> 'retired' OR deployments.ended_at < ?2)
    AND deployments.number NOT IN (projects.live, projects.open, projects.last_ended, projects.previous_live)
    AND (SELECT count(*) FROM deployments AS newer
         WHERE newer.project = deployments.project AND newer.number > deployments.number) >= ?3
"""
_THESE = "(project, deployment) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))"


def forget_old(database: Database, logs: BuildLogs, now: float) -> int:
    """How many deployments were forgotten: older than 90 days, and not among the newest 50 of their project.

    Those that served stay a year, as long as a rollback window may be. Rows of repairs go after 90 days.
    """
    with database.transaction() as connection:
        found = connection.execute(_OLD, (now - KEPT_S, now - KEPT_RETIRED_S, KEPT_DEPLOYMENTS)).fetchall()
        old = [(row["project"], row["number"]) for row in found]
        listed = json.dumps(old)
        for table in ("operations", "jobs"):
            connection.execute(f"DELETE FROM {table} WHERE {_THESE}", (listed,))  # noqa: S608 - no text of others
            connection.execute(
                f"DELETE FROM {table} WHERE deployment = 0 AND ended_at > 0 AND ended_at < ?",  # noqa: S608
                (now - KEPT_S,),
            )
        connection.execute(f"DELETE FROM deployments WHERE {_THESE.replace('deployment', 'number')}", (listed,))  # noqa: S608
    logs.forget(old)
    return len(old)
