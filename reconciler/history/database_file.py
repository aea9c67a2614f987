"""The file under a database: made whole or not at all, checked when opened, left readable when closed.

Called by `database` alone. While SQLite has a file open in this process, the file is never opened in
another way: closing that second descriptor would drop SQLite's locks.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlite_utils import Database as SqliteUtils
from sqlite_utils.migrations import Migrations

from reconciler.errors import StoreUnusable
from reconciler.history.faults import BUSY_TIMEOUT_S, REBUILD, translated

_SMALL_ENOUGH_TO_CHECK = 8 * 1024 * 1024
_LONGEST_HOSTILE_VALUE = 16 * 1024 * 1024
_LEAVE_WAL_TRIES = 3
_COMPANIONS = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Schema:
    """What a file of ours holds. `application_id` marks it, `file_mode` is given when it is made.

    A `hostile` file belongs to a user whom we do not trust: its texts may be garbled, its values huge.
    """

    name: str
    application_id: int
    migrations: Migrations
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    file_mode: int = 0o640
    hostile: bool = False


def inode(path: Path) -> tuple[int, int]:
    """Device and inode. Raises StoreUnusable where there is no file, or no regular one."""
    try:
        found = path.lstat()
    except FileNotFoundError as error:
        raise StoreUnusable(
            f"there is no store at {path}",
            expected="the file that the reconciler makes when it starts",
            remedy="Start the reconciler with this state folder; what runs is adopted, untouched",
        ) from error
    if not path.is_file() or path.is_symlink():
        raise StoreUnusable(f"{path} is not a regular file", expected="a SQLite file of ours", remedy=REBUILD)
    return found.st_dev, found.st_ino


def refuse_unwritable(path: Path) -> None:
    """Raise StoreUnusable where we may only read: SQLite would say so at the first write alone."""
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        raise StoreUnusable(
            f"{path} cannot be written by user {os.geteuid()}",
            expected="a file and a folder that we may write",
            remedy="Check their modes, and that this is the user who should write there",
        )


def connect(path: Path, schema: Schema, *, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    """A connection without a transaction of its own. Raises errors of sqlite3, and StoreUnusable for an empty file."""
    if path.stat().st_size == 0:
        raise StoreUnusable(f"{path} is empty", expected="a SQLite file of ours, never one of 0 bytes", remedy=REBUILD)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute(f"PRAGMA synchronous={schema.synchronous}")
    if schema.hostile:
        connection.text_factory = _decode
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_HOSTILE_VALUE)
    return connection


def _plain(connection: sqlite3.Connection) -> SqliteUtils:
    """Without plugins of sqlite-utils that somebody installed: they would run in our process."""
    return SqliteUtils(connection, execute_plugins=False)


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def create(path: Path, schema: Schema) -> None:
    """Make the file beside its place and give it its name when it is whole; a kill leaves none or all of it.

    For the one process that holds the instance lock. Raises errors of sqlite3 and OSError.
    """
    for left in path.parent.glob(f"{path.name}.new-*"):
        left.unlink(missing_ok=True)
    fresh = path.with_name(f"{path.name}.new-{os.getpid()}")
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR, schema.file_mode)
    os.close(descriptor)
    fresh.chmod(schema.file_mode)
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(fresh, folder.st_uid, folder.st_gid)
    connection = sqlite3.connect(fresh, isolation_level=None)
    try:
        connection.execute(f"PRAGMA application_id={schema.application_id}")
        migrate(connection, schema)
    finally:
        connection.close()
    for companion in _COMPANIONS:
        path.with_name(path.name + companion).unlink(missing_ok=True)
    fresh.rename(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def migrate(connection: sqlite3.Connection, schema: Schema) -> None:
    """Apply the migrations that are missing, all or none of them."""
    database = _plain(connection)
    if not schema.migrations.pending(database):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        schema.migrations.apply(database)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Raise StoreUnusable for a file of another application, a damaged one, or one of a newer version."""
    found = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if found != schema.application_id:
        raise StoreUnusable(
            f"{path} belongs to another application (application_id {found:#x})",
            expected=f"Gitstead's {schema.name} store ({schema.application_id:#x})",
            remedy=REBUILD,
        )
    if path.stat().st_size <= _SMALL_ENOUGH_TO_CHECK:
        verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        if verdict != "ok":
            raise StoreUnusable(f"{path} is damaged: {verdict}", expected="an intact SQLite file", remedy=REBUILD)
    refuse_programs(connection, path)
    _refuse_newer(connection, path, schema)


def refuse_programs(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreUnusable where a trigger or a view was put into the file: it would run in our process."""
    found = connection.execute("SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'view')").fetchone()
    if found:
        raise StoreUnusable(
            f"{path} holds the {found[0]} {found[1]!r}", expected="tables and indexes alone", remedy=REBUILD
        )


def _refuse_newer(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    known = _names(schema.migrations)
    newer = [each.name for each in schema.migrations.applied(_plain(connection)) if each.name not in known]
    if newer:
        raise StoreUnusable(
            f"{path} was written by a newer Gitstead: it has {newer[0]!r}",
            expected=f"migrations up to {known[-1]!r}",
            remedy="Install that version again, or move the file away: what runs is then adopted, untouched",
        )


@functools.cache
def _names(migrations: Migrations) -> tuple[str, ...]:
    """All that an empty database would be given."""
    with contextlib.closing(sqlite3.connect(":memory:")) as empty:
        return tuple(each.name for each in migrations.pending(_plain(empty)))


def refuse_older(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Raise StoreUnusable where a reader meets a file that a writer has yet to bring up to date."""
    pending = schema.migrations.pending(_plain(connection))
    if pending:
        raise StoreUnusable(
            f"{path} lacks the migration {pending[0].name!r}",
            expected="a store of this version",
            remedy="Start the reconciler of this version; it brings the store up to date",
        )


def enter_wal(connection: sqlite3.Connection) -> None:
    """Enter WAL mode and make `-wal` and `-shm` at once: a reader without write permission needs them."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def leave_wal(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Close the connection so that a reader without write permission can open the file afterwards.

    That needs the file out of WAL mode, or else `-wal` and `-shm` beside it. A connected reader
    prevents the first and keeps the second; one that leaves in between is met by trying again.
    """
    for _ in range(_LEAVE_WAL_TRIES):
        try:
            connection.execute("PRAGMA busy_timeout=200")
            mode = connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
        except sqlite3.OperationalError:
            mode = "wal"
        connection.close()
        if mode == "delete" or path.with_name(path.name + "-wal").exists() or not path.exists():
            return
        with translated(path):
            connection = connect(path, schema, mode="rw")
    connection.close()
