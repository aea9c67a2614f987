"""One SQLite file of ours: a connection that writes, and one that only reads.

Called by the recorder, the queries, the inbox and the logs. It knows nothing of what the tables
mean, and never takes an absent, empty or foreign file for an empty history.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from reconciler.errors import StoreUnusable
from reconciler.history import database_file
from reconciler.history.database_file import Schema
from reconciler.history.faults import translated

Row = sqlite3.Row


class Database:
    """The writing side: one connection behind a lock, so that any thread may use it.

    The file is in WAL mode while it is open. Raises StoreUnusable where the file is missing
    (unless `create`), empty, damaged, of another application or of a newer version, and StoreBusy
    where it is locked for more than 5 s.
    """

    def __init__(self, path: Path, schema: Schema, *, create: bool = False) -> None:
        self.path = path
        self._schema = schema
        self._lock = threading.Lock()
        with translated(path):
            if create and not path.exists():
                database_file.create(path, schema)
            self._inode = database_file.inode(path)
            database_file.refuse_unwritable(path)
            self._connection = database_file.connect(path, schema, mode="rw")
        try:
            with translated(path):
                database_file.check(self._connection, path, schema)
                database_file.migrate(self._connection, schema)
                database_file.enter_wal(self._connection)
        except BaseException:
            self._connection.close()
            raise
        self._rows_before = self._connection.total_changes
        self._closed = False

    @property
    def writes(self) -> int:
        """Rows that were inserted, changed or deleted since the file was opened."""
        return self._connection.total_changes - self._rows_before

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, for one thread at a time; durable as the schema asks when the block ends.

        Raises StoreBusy, StoreUnusable (also where the file was deleted or replaced meanwhile).
        """
        with self._lock, translated(self.path):
            self._refuse_closed()
            if database_file.inode(self.path) != self._inode:
                raise StoreUnusable(
                    f"{self.path} was replaced while in use",
                    expected="the file that was opened",
                    remedy="Start the reconciler again",
                )
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def fetch(self, sql: str, values: tuple[object, ...] = ()) -> list[Row]:
        """Rows of one SELECT, read on the writing connection."""
        with self._lock, translated(self.path):
            self._refuse_closed()
            return self._connection.execute(sql, values).fetchall()

    def close(self, *, clean: bool = True) -> None:
        """Close; `clean` also leaves WAL mode, so that a reader without any write permission can open it.

        Where a reader is connected the file stays in WAL mode, with `-wal` and `-shm` beside it: such
        a reader, and any later one, can read it all the same. Closing twice is closing once.
        """
        with self._lock, translated(self.path):
            if self._closed:
                return
            self._closed = True
            if clean:
                database_file.leave_wal(self._connection, self.path, self._schema)
            else:
                self._connection.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreUnusable(f"{self.path} is closed", expected="no use of it after the end")


class Reader:
    """The reading side, `mode=ro`: for the web, the CLI and the loop, from any thread.

    Opens at the first query and again by itself when the file was replaced, so that it may be made
    before the store exists; until then each query raises StoreUnusable.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self.path = path
        self._schema = schema
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = (0, 0)
        self._opened = 0

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the file throughout the block. Raises StoreBusy, StoreUnusable."""
        with self._lock, translated(self.path):
            connection = self._current()
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def fetch(self, sql: str, values: tuple[object, ...] = ()) -> list[Row]:
        """Rows of one SELECT."""
        with self._lock, translated(self.path):
            return self._current().execute(sql, values).fetchall()

    def version(self) -> tuple[int, int]:
        """Changes with every commit of somebody else, and when the file is replaced."""
        with self._lock, translated(self.path):
            number = self._current().execute("PRAGMA data_version").fetchone()[0]
            return self._opened, int(number)

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _current(self) -> sqlite3.Connection:
        try:
            inode = database_file.inode(self.path)
        except StoreUnusable:
            self._disconnect()
            raise
        if self._connection is not None and inode == self._inode:
            return self._connection
        self._disconnect()
        connection = database_file.connect(self.path, self._schema, mode="ro")
        try:
            database_file.check(connection, self.path, self._schema)
            database_file.refuse_older(connection, self.path, self._schema)
        except BaseException:
            connection.close()
            raise
        self._connection, self._inode = connection, inode
        self._opened += 1
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def private_folder(path: Path, mode: int) -> None:
    """Make the folder with that mode where it is missing; leave an existing one as it is."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        os.chmod(path, mode)  # noqa: PTH101
