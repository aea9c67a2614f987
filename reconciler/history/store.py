"""Opens the three stores together, for the process that writes them: the reconciler.

Called by `bootstrap`. Web and CLI make a `Queries`, a `LogReader` and an `Inbox` of their own instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import StoreUnusable
from reconciler.history.database import Database, private_folder
from reconciler.history.logs import BuildLogs
from reconciler.history.migrations import STATE
from reconciler.history.queries import Queries
from reconciler.history.recorder import Recorder
from reconciler.history.requests import Inbox
from reconciler.masking import Masker

STATE_FOLDER_MODE = 0o2750
INBOX_FOLDER_MODE = 0o2770


@dataclass(frozen=True)
class Store:
    """What the reconciler holds of history while it runs."""

    recorder: Recorder
    queries: Queries
    logs: BuildLogs
    inbox: Inbox
    database: Database

    @property
    def writes(self) -> int:
        """Rows written to any of the three files since they were opened."""
        return self.recorder.writes + self.logs.writes + self.inbox.writes

    def close(self, *, clean: bool = True) -> None:
        """Close all; after a clean close a reader without write permission needs no file beside a store."""
        self.queries.close()
        self.logs.close(clean=clean)
        self.inbox.close(clean=clean)
        self.database.close(clean=clean)


def open_store(
    *,
    state_db: Path,
    logs_db: Path,
    inbox_db: Path,
    create: bool = False,
    masker_of: Callable[[str], Masker] | None = None,
) -> Store:
    """The three files; `create` makes those that are missing, readable for their folder's group.

    `masker_of` gives by a project's name ("" = the platform) what hides secrets in its rows and logs; None hides none.
    Raises StoreUnusable for one that is empty, damaged, another application's or newer, and, without
    `create`, for one that is missing; StoreBusy for one that is locked.
    """
    masker_of = masker_of or (lambda _: Masker())
    if create:
        _make_folders(state_db, logs_db, inbox_db)
    with contextlib.ExitStack() as opened:
        database = Database(state_db, STATE, create=create)
        opened.callback(database.close)
        logs = BuildLogs(logs_db, masker_of=masker_of, create=create)
        opened.callback(logs.close)
        inbox = Inbox(inbox_db, create=create)
        opened.callback(inbox.close)
        store = Store(Recorder(database, masker_of), Queries(state_db), logs, inbox, database)
        opened.pop_all()
    return store


def _make_folders(state_db: Path, logs_db: Path, inbox_db: Path) -> None:
    try:
        private_folder(state_db.parent, STATE_FOLDER_MODE)
        private_folder(logs_db.parent, STATE_FOLDER_MODE)
        private_folder(inbox_db.parent, INBOX_FOLDER_MODE)
    except OSError as error:
        raise StoreUnusable(
            f"{error.filename} cannot be made: {error.strerror or error}",
            expected="a state folder that we may write",
            remedy="Check the owner of the state folder",
        ) from error
