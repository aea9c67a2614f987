"""Turns SQLite's errors into ours, once.

Called by every module of `history`; nothing else in the product sees an error of sqlite3.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from reconciler.errors import GitsteadError, StoreBusy, StoreUnusable

BUSY_TIMEOUT_S = 5.0

REBUILD = (
    "Everything but history, approvals and holds is rebuilt from Git and labels:"
    " move the file away and start the reconciler"
)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise StoreBusy or StoreUnusable, naming `path`, in place of errors of sqlite3 and the file system."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _ours(path, error) from error


def _ours(path: Path, error: sqlite3.Error | OSError) -> GitsteadError:
    if isinstance(error, OSError):
        return StoreUnusable(
            f"{path} cannot be used: {error.strerror or error}",
            expected=f"a store that user {os.geteuid()} may open",
            remedy="Check the modes of the file and its folder",
        )
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    busy = _busy(path, code, error)
    return busy if busy else _unusable(path, code, error)


def _busy(path: Path, code: int, error: sqlite3.Error) -> StoreBusy | None:
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return StoreBusy(
            f"{path} is locked",
            expected=f"the lock within {BUSY_TIMEOUT_S:g}s",
            remedy="It is tried again by itself; if it stays, look for a program that holds the file open",
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreBusy(
            f"the disk of {path} is full",
            expected="room for one more row",
            remedy="Free space; what runs goes on, and it is tried again by itself",
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreBusy(
            f"{path} cannot be read or written: {error}",
            expected="a disk that answers and has room",
            remedy="Check the disk; what runs goes on, and it is tried again by itself",
        )
    return None


def _unusable(path: Path, code: int, error: sqlite3.Error) -> StoreUnusable:
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreUnusable(f"{path} is damaged: {error}", expected="an intact SQLite file of ours", remedy=REBUILD)
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StoreUnusable(
            f"{path} cannot be used: {error}",
            expected=f"a store that user {os.geteuid()} may open",
            remedy="Check the modes of the file and its folder; after a crash, start the reconciler once",
        )
    return StoreUnusable(f"{path} refused a statement: {error}", expected="a store of this version")
