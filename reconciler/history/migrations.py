"""The tables of the three stores, as named migrations.

Called when a store is opened. A migration that was released is never changed; a change is a new one.
"""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from reconciler.history.database_file import Schema

_state = Migrations("state")
_logs = Migrations("logs")
_inbox = Migrations("inbox")

STATE = Schema(name="state", application_id=0x47535401, migrations=_state)
LOGS = Schema(name="logs", application_id=0x47535402, migrations=_logs, synchronous="NORMAL")
INBOX = Schema(name="inbox", application_id=0x47535403, migrations=_inbox, file_mode=0o660, hostile=True)


@_state()
def m001_projects(database: Database) -> None:
    """Projects with what planning asks of them, and their releases."""
    database.executescript("""
        CREATE TABLE projects (
            name TEXT PRIMARY KEY,
            last_number INTEGER NOT NULL DEFAULT 0,
            live INTEGER NOT NULL DEFAULT 0,
            open INTEGER NOT NULL DEFAULT 0,
            last_ended INTEGER NOT NULL DEFAULT 0,
            previous_live INTEGER NOT NULL DEFAULT 0,
            adopted INTEGER NOT NULL DEFAULT 0,
            repairs TEXT NOT NULL DEFAULT '[]',
            touched INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE INDEX projects_touched ON projects (touched);
        CREATE TABLE releases (
            project TEXT NOT NULL REFERENCES projects (name),
            number INTEGER NOT NULL,
            image_id TEXT NOT NULL,
            config_digest TEXT NOT NULL,
            content_key TEXT NOT NULL,
            created_at REAL NOT NULL,
            PRIMARY KEY (project, number),
            UNIQUE (project, image_id, config_digest)
        ) STRICT;
    """)


@_state()
def m002_deployments(database: Database) -> None:
    """One row for each attempt to roll a release out; at most one of a project is open, one live."""
    database.executescript("""
        CREATE TABLE deployments (
            id INTEGER PRIMARY KEY,
            project TEXT NOT NULL REFERENCES projects (name),
            number INTEGER NOT NULL,
            state TEXT NOT NULL,
            cause TEXT NOT NULL,
            cause_text TEXT NOT NULL,
            commit_sha TEXT NOT NULL,
            commit_tree TEXT NOT NULL DEFAULT '',
            author TEXT NOT NULL DEFAULT '',
            subject TEXT NOT NULL DEFAULT '',
            committed_at REAL NOT NULL DEFAULT 0,
            source_key TEXT NOT NULL,
            config_digest TEXT NOT NULL,
            spec_blob TEXT NOT NULL,
            platform_revision TEXT NOT NULL,
            created_at REAL NOT NULL,
            changed_at REAL NOT NULL,
            deadline_at REAL NOT NULL DEFAULT 0,
            release INTEGER NOT NULL DEFAULT 0,
            image_id TEXT NOT NULL DEFAULT '',
            content_key TEXT NOT NULL DEFAULT '',
            previous INTEGER NOT NULL DEFAULT 0,
            live_at REAL NOT NULL DEFAULT 0,
            ended_at REAL NOT NULL DEFAULT 0,
            drain_until REAL NOT NULL DEFAULT 0,
            reason TEXT NOT NULL DEFAULT '',
            message TEXT NOT NULL DEFAULT '',
            hint TEXT NOT NULL DEFAULT '',
            retryable INTEGER NOT NULL DEFAULT 0,
            attempt INTEGER NOT NULL DEFAULT 1,
            config TEXT NOT NULL DEFAULT '{}',
            run TEXT NOT NULL DEFAULT '',
            drift_fields TEXT NOT NULL DEFAULT '[]',
            entered TEXT NOT NULL DEFAULT '{}',
            UNIQUE (project, number)
        ) STRICT;
        CREATE UNIQUE INDEX one_open ON deployments (project)
            WHERE state IN ('queued', 'building', 'starting', 'checking', 'switching');
        CREATE UNIQUE INDEX one_live ON deployments (project) WHERE state = 'live';
        CREATE INDEX deployments_draining ON deployments (project, number) WHERE drain_until > 0;
    """)


@_state()
def m003_journal(database: Database) -> None:
    """What was done: operations and jobs."""
    database.executescript("""
        CREATE TABLE operations (
            id INTEGER PRIMARY KEY,
            request_id TEXT NOT NULL,
            project TEXT NOT NULL,
            deployment INTEGER NOT NULL,
            operation TEXT NOT NULL,
            resource TEXT NOT NULL,
            cause TEXT NOT NULL,
            cause_text TEXT NOT NULL,
            sentence TEXT NOT NULL,
            begun_at REAL NOT NULL,
            ended_at REAL NOT NULL DEFAULT 0,
            outcome TEXT NOT NULL DEFAULT '',
            result TEXT NOT NULL DEFAULT '',
            reason TEXT NOT NULL DEFAULT '',
            message TEXT NOT NULL DEFAULT '',
            retryable INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE INDEX operations_of ON operations (project, deployment);
        CREATE INDEX operations_open ON operations (id) WHERE outcome = '';
        CREATE TABLE jobs (
            id INTEGER PRIMARY KEY,
            project TEXT NOT NULL,
            deployment INTEGER NOT NULL,
            kind TEXT NOT NULL,
            state TEXT NOT NULL,
            subject TEXT NOT NULL,
            started_at REAL NOT NULL,
            deadline_at REAL NOT NULL,
            ended_at REAL NOT NULL DEFAULT 0,
            image_id TEXT NOT NULL DEFAULT '',
            reason TEXT NOT NULL DEFAULT '',
            message TEXT NOT NULL DEFAULT '',
            hint TEXT NOT NULL DEFAULT '',
            retryable INTEGER NOT NULL DEFAULT 0,
            UNIQUE (project, deployment, kind, started_at)
        ) STRICT;
        CREATE INDEX jobs_running ON jobs (id) WHERE state = 'running';
        CREATE INDEX jobs_built ON jobs (project, id) WHERE kind = 'build' AND state = 'succeeded';
    """)


@_state()
def m004_events(database: Database) -> None:
    """What happened to a project: its last failure, and what its page tells."""
    database.executescript("""
        CREATE TABLE failures (
            project TEXT PRIMARY KEY,
            resource TEXT NOT NULL,
            reason TEXT NOT NULL,
            message TEXT NOT NULL,
            retryable INTEGER NOT NULL,
            attempts INTEGER NOT NULL,
            at REAL NOT NULL
        ) STRICT;
        CREATE TABLE events (
            id INTEGER PRIMARY KEY,
            project TEXT NOT NULL,
            kind TEXT NOT NULL,
            reason TEXT NOT NULL,
            text TEXT NOT NULL,
            first_at REAL NOT NULL,
            last_at REAL NOT NULL,
            count INTEGER NOT NULL DEFAULT 1
        ) STRICT;
        CREATE INDEX events_latest ON events (project, last_at);
        CREATE INDEX events_same ON events (project, kind, reason, last_at);
    """)


@_state()
def m005_standing(database: Database) -> None:
    """What holds until it is replaced: status rows, good specs, inventory, approvals, single facts."""
    database.executescript("""
        CREATE TABLE statuses (project TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
        CREATE TABLE good_specs (
            project TEXT PRIMARY KEY,
            blob TEXT NOT NULL,
            text BLOB NOT NULL,
            revision TEXT NOT NULL
        ) STRICT;
        CREATE TABLE inventory (
            container_id TEXT PRIMARY KEY,
            project TEXT NOT NULL,
            name TEXT NOT NULL,
            adopted INTEGER NOT NULL,
            added_at REAL NOT NULL
        ) STRICT;
        CREATE TABLE approvals (
            project TEXT NOT NULL,
            digest TEXT NOT NULL,
            by TEXT NOT NULL,
            at REAL NOT NULL,
            PRIMARY KEY (project, digest)
        ) STRICT;
        CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    """)


@_state()
def m006_builds(database: Database) -> None:
    """What a deployment was built from, and how much of a build came out of the cache."""
    database.executescript("""
        ALTER TABLE deployments ADD COLUMN branch TEXT NOT NULL DEFAULT '';
        ALTER TABLE deployments ADD COLUMN build_type TEXT NOT NULL DEFAULT '';
        ALTER TABLE jobs ADD COLUMN steps INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE jobs ADD COLUMN cached INTEGER NOT NULL DEFAULT 0;
    """)


@_logs()
def m001_logs(database: Database) -> None:
    """One row for each log; its sealed chunks; the lines of its open chunk."""
    database.executescript("""
        CREATE TABLE logs (
            id INTEGER PRIMARY KEY,
            project TEXT NOT NULL,
            deployment INTEGER NOT NULL,
            opened_at REAL NOT NULL,
            closed_at REAL NOT NULL DEFAULT 0,
            lines INTEGER NOT NULL DEFAULT 0,
            kept_bytes INTEGER NOT NULL DEFAULT 0,
            cut_lines INTEGER NOT NULL DEFAULT 0,
            cut_bytes INTEGER NOT NULL DEFAULT 0,
            UNIQUE (project, deployment)
        ) STRICT;
        CREATE TABLE chunks (
            id INTEGER PRIMARY KEY,
            log_id INTEGER NOT NULL REFERENCES logs (id) ON DELETE CASCADE,
            first_line INTEGER NOT NULL,
            last_line INTEGER NOT NULL,
            body BLOB NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX chunks_of ON chunks (log_id, last_line);
        CREATE TABLE open_lines (
            log_id INTEGER NOT NULL REFERENCES logs (id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            stream TEXT NOT NULL,
            at REAL NOT NULL,
            step TEXT NOT NULL,
            text TEXT NOT NULL,
            PRIMARY KEY (log_id, number)
        ) STRICT, WITHOUT ROWID;
    """)


@_logs()
def m002_steps(database: Database) -> None:
    """The steps of each log, in order of appearance, with the lines that are theirs."""
    database.executescript("""
        CREATE TABLE steps (
            log_id INTEGER NOT NULL REFERENCES logs (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            name TEXT NOT NULL,
            started_at REAL NOT NULL,
            ended_at REAL NOT NULL,
            outcome TEXT NOT NULL,
            clipped INTEGER NOT NULL,
            first_line INTEGER NOT NULL,
            last_line INTEGER NOT NULL,
            lines INTEGER NOT NULL,
            PRIMARY KEY (log_id, position)
        ) STRICT, WITHOUT ROWID;
    """)


@_inbox()
def m001_requests(database: Database) -> None:
    """What people ask for. `outcome` is '' until the reconciler has dealt with it."""
    database.executescript("""
        CREATE TABLE requests (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            project TEXT NOT NULL,
            payload TEXT NOT NULL,
            by TEXT NOT NULL,
            left_at REAL NOT NULL,
            outcome TEXT NOT NULL DEFAULT '',
            message TEXT NOT NULL DEFAULT '',
            ended_at REAL NOT NULL DEFAULT 0
        ) STRICT;
        CREATE INDEX requests_waiting ON requests (id) WHERE outcome = '';
    """)
