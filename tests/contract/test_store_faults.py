"""The store on real files, with real processes, users, locks and a full disk: security.md rows 58 to 66.

The rule of all: nothing that was acknowledged is lost, and no state is never taken for "nothing runs".
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlite_utils import Database as SqliteUtils
from sqlite_utils.migrations import Migrations

from reconciler.errors import StoreBusy, StoreUnusable
from reconciler.history import faults
from reconciler.history.database import Database
from reconciler.history.logs import LogReader
from reconciler.history.migrations import STATE
from reconciler.history.queries import Queries
from reconciler.history.requests import Inbox
from reconciler.history.store import Store, open_store
from reconciler.model.release import History

OTHER_USER = 65534
OTHER_GROUP = 64321

WRITER = """
import sys
from pathlib import Path
from reconciler.history.store import open_store
from reconciler.model.operation import Cause, CreateNetwork
folder = Path(sys.argv[1])
store = open_store(state_db=folder / "state/state.db", logs_db=folder / "state/logs.db",
                   inbox_db=folder / "inbox/inbox.db", create=True)
operation = CreateNetwork(project="blog", deployment=1, cause=Cause("change", "x"), network="n" * 2000)
sink = store.logs.open_log("blog", 1, now=1.0)
number = 0
while True:
    number += 1
    row = store.recorder.begin(operation, request_id=str(number), now=1.0)
    sink.write("stdout", f"line {number}", at=1.0)
    print(row, flush=True)
    if number % 2:
        store.recorder.succeed(row, result="ok", now=2.0)
"""

READER = """
import os, sys
from pathlib import Path
from reconciler.errors import GitsteadError
from reconciler.history.database import Database
from reconciler.history.logs import LogReader
from reconciler.history.migrations import STATE
from reconciler.history.queries import Queries
os.setgroups([int(sys.argv[3])])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
folder = Path(sys.argv[1])
try:
    print(len(Queries(folder / "state/state.db").statuses()), len(LogReader(folder / "state/logs.db").read("blog", 1)))
except GitsteadError as error:
    print(error)
"""


def paths(folder: Path) -> dict[str, Path]:
    return {
        "state_db": folder / "state" / "state.db",
        "logs_db": folder / "state" / "logs.db",
        "inbox_db": folder / "inbox" / "inbox.db",
    }


def make(folder: Path) -> Store:
    return open_store(**paths(folder), create=True)


def python(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", script, *map(str, arguments)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.history.database_file.BUSY_TIMEOUT_S", 0.2)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any user may walk through, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="gitstead-test-") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


@pytest.mark.parametrize("rows", [1, 40, 200, 333])
def test_sigkill_loses_nothing_that_was_acknowledged(folder: Path, rows: int) -> None:
    """Invariant 4, row 58."""
    with subprocess.Popen(python(WRITER, folder), stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(rows)]
        os.kill(writer.pid, signal.SIGKILL)
        told += [int(line) for line in writer.stdout.read().splitlines() if line.isdigit()]
    store = make(folder)
    found = {row["id"] for row in store.database.fetch("SELECT id FROM operations")}
    assert set(told) <= found
    store.recorder.interrupt_open(9.0)
    assert store.database.fetch("SELECT 1 FROM operations WHERE outcome = ''") == []
    store.logs.settle(9.0)
    reader = LogReader(paths(folder)["logs_db"])
    lines = reader.read("blog", 1, limit=10**6)
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    info = reader.info("blog", 1)
    assert info is not None
    assert info.closed_at > 0
    reader.close()
    store.close()


def test_a_kill_while_the_store_is_made_leaves_none_and_the_next_start_makes_it(folder: Path) -> None:
    """Invariant 4: a file of 0 bytes, refused ever after, must not be the trace of a kill."""
    script = """
import os, signal, sys
from pathlib import Path
from reconciler.history import database_file
from reconciler.history.migrations import STATE
database_file.migrate = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Path(sys.argv[1]).mkdir()
database_file.create(Path(sys.argv[1]) / "state.db", STATE)
"""
    done = subprocess.run(python(script, folder / "state"), check=False)
    assert done.returncode == -signal.SIGKILL
    assert not paths(folder)["state_db"].exists()
    assert list((folder / "state").iterdir()) != []
    make(folder).close()
    assert sorted(each.name for each in (folder / "state").iterdir()) == ["logs.db", "state.db"]


@pytest.mark.parametrize("name", ["state_db", "logs_db", "inbox_db"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"not a database at all, but long enough to be looked at" * 100, "is damaged"),
        (None, "belongs to another application"),
    ],
)
def test_what_is_not_our_store_is_refused_and_left_as_it_is(
    folder: Path, name: str, content: bytes | None, said: str
) -> None:
    """Row 62: never "see nothing"."""
    make(folder).close()
    path = paths(folder)[name]
    path.unlink()
    if content is None:
        with contextlib.closing(sqlite3.connect(path)) as foreign:
            foreign.execute("CREATE TABLE theirs (x)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match=said) as raised:
        make(folder)
    assert str(path) in str(raised.value)
    assert "start the reconciler" in str(raised.value)
    assert path.read_bytes() == before


def test_a_reader_refuses_the_same(folder: Path) -> None:
    make(folder).close()
    paths(folder)["state_db"].write_bytes(b"")
    paths(folder)["logs_db"].write_bytes(b"x" * 5000)
    with pytest.raises(StoreUnusable, match="is empty"):
        Queries(paths(folder)["state_db"]).history()
    with pytest.raises(StoreUnusable, match="is damaged"):
        LogReader(paths(folder)["logs_db"]).read("blog", 1)


def test_a_store_of_a_newer_version_is_refused_by_writer_and_reader(folder: Path) -> None:
    """Row 65."""
    make(folder).close()
    with contextlib.closing(sqlite3.connect(paths(folder)["state_db"], isolation_level=None)) as newer:
        newer.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('state', 'm900_holds', 'x')"
        )
    with pytest.raises(StoreUnusable, match="written by a newer Gitstead: it has 'm900_holds'"):
        make(folder)
    with pytest.raises(StoreUnusable, match="written by a newer Gitstead"):
        Queries(paths(folder)["state_db"]).statuses()


def test_an_older_store_is_brought_up_to_date_by_the_writer_and_a_reader_waits_for_that(folder: Path) -> None:
    make(folder).close()
    with contextlib.closing(sqlite3.connect(paths(folder)["state_db"], isolation_level=None)) as older:
        older.execute("DELETE FROM _sqlite_migrations WHERE name = 'm005_standing'")
        for table in ("statuses", "good_specs", "inventory", "approvals", "facts"):
            older.execute(f"DROP TABLE {table}")
    reader = Queries(paths(folder)["state_db"])
    with pytest.raises(StoreUnusable, match="lacks the migration 'm005_standing'"):
        reader.statuses()
    store = make(folder)
    assert reader.statuses() == []
    reader.close()
    store.close()


def test_a_damaged_page_is_found_at_start(folder: Path) -> None:
    make(folder).close()
    with paths(folder)["state_db"].open("r+b") as file:
        file.seek(4096)
        file.write(b"\xaa" * 4096)
    with pytest.raises(StoreUnusable, match="damaged"):
        make(folder)


def test_a_missing_store_is_made_only_on_request(folder: Path) -> None:
    with pytest.raises(StoreUnusable, match=r"there is no store at .*state\.db"):
        open_store(**paths(folder))
    assert list(folder.iterdir()) == []


def test_deleting_all_three_files_and_starting_again_just_works(folder: Path) -> None:
    """Invariant 10; a `-wal` of the old file must not be replayed into the new one."""
    with subprocess.Popen(python(WRITER, folder), stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
    assert paths(folder)["state_db"].with_name("state.db-wal").stat().st_size > 0
    for path in paths(folder).values():
        path.unlink()
    store = make(folder)
    assert store.queries.history() == History()
    assert store.database.fetch("SELECT 1 FROM operations") == []
    store.close()


def test_a_locked_store_is_busy_and_well_again_afterwards(folder: Path, impatient: None) -> None:
    """Row 61."""
    store = make(folder)
    with contextlib.closing(sqlite3.connect(paths(folder)["state_db"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="is locked"):
            store.recorder.record_repair("blog", 1.0)
        assert store.queries.history() == History()
        other.execute("ROLLBACK")
    store.recorder.record_repair("blog", 2.0)
    assert store.queries.history().of("blog").repairs == (2.0,)
    store.close()


def test_a_busy_log_store_holds_no_build_up_and_loses_no_line(folder: Path, impatient: None) -> None:
    store = make(folder)
    sink = store.logs.open_log("blog", 1, now=1.0)
    with contextlib.closing(sqlite3.connect(paths(folder)["logs_db"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(3000):
            sink.write("stdout", f"line {number}", at=1.0)
        other.execute("ROLLBACK")
    sink.close()
    reader = LogReader(paths(folder)["logs_db"])
    assert [line.text for line in reader.read("blog", 1, limit=5000)] == [f"line {number}" for number in range(3000)]
    reader.close()
    store.close()


def test_a_store_that_is_taken_away_while_in_use_is_said(folder: Path) -> None:
    store = make(folder)
    store.recorder.record_repair("blog", 1.0)
    paths(folder)["state_db"].unlink()
    with pytest.raises(StoreUnusable, match="there is no store at"):
        store.recorder.record_repair("blog", 2.0)
    with pytest.raises(StoreUnusable, match="there is no store at"):
        store.queries.history()
    paths(folder)["state_db"].write_bytes(b"")
    with pytest.raises(StoreUnusable, match="was replaced while in use"):
        store.recorder.record_repair("blog", 2.0)
    store.close(clean=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_busy_keeps_what_it_has_and_recovers_by_itself(folder: Path) -> None:
    """Row 61."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        store = make(disk)
        store.recorder.save_good_spec("blog", blob="b0", text=b"kept", revision="r")
        with pytest.raises(StoreBusy):
            fill(store)
        assert store.queries.good_specs()["blog"].text == b"kept"
        ballast = [name for name in store.queries.good_specs() if name != "blog"]
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        assert ballast
        assert store.recorder.save_good_spec("shop", blob="b", text=b"fits", revision="r")
        store.close()
        again = make(disk)
        assert again.queries.good_specs()["shop"].text == b"fits"
        again.close()
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def fill(store: Store) -> None:
    for number in range(100):
        store.recorder.save_good_spec(f"p{number}", blob="b", text=os.urandom(50_000), revision="r")


def share(folder: Path) -> None:
    """Give the folders to a group, as an administrator does for the web's user."""
    for name in ("state", "inbox"):
        (folder / name).mkdir()
        os.chown(folder / name, 0, OTHER_GROUP)
    (folder / "state").chmod(0o2750)
    (folder / "inbox").chmod(0o2770)


def read_as_another_user(folder: Path) -> str:
    done = subprocess.run(
        python(READER, folder, OTHER_USER, OTHER_GROUP),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_user_who_may_only_read_sees_the_store_at_any_time(folder: Path) -> None:
    """While it is written, after a clean stop with and without a reader connected, and after a kill."""
    share(folder)
    store = make(folder)
    sink = store.logs.open_log("blog", 1, now=1.0)
    sink.write("stdout", "hello", at=1.0)
    store.logs._flush_all()
    assert read_as_another_user(folder) == "0 1"
    for path in (folder / "state").iterdir():
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o640, OTHER_GROUP), path
    web = Queries(paths(folder)["state_db"])
    web.statuses()
    store.close()
    assert read_as_another_user(folder) == "0 1"
    web.close()
    assert read_as_another_user(folder) == "0 1"
    make(folder).close()
    assert sorted(each.name for each in (folder / "state").iterdir()) == ["logs.db", "state.db"]
    assert read_as_another_user(folder) == "0 1"
    with subprocess.Popen(python(WRITER, folder), stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert read_as_another_user(folder).startswith("0 ")
        os.kill(writer.pid, signal.SIGKILL)
    assert read_as_another_user(folder).startswith("0 ")


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_user_of_the_group_may_leave_requests_and_nothing_else(folder: Path) -> None:
    """Invariant 9."""
    share(folder)
    store = make(folder)
    script = """
import os, sys
from pathlib import Path
from reconciler.errors import StoreUnusable
from reconciler.history.database import Database
from reconciler.history.migrations import STATE
from reconciler.history.requests import Inbox
os.setgroups([int(sys.argv[3])])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
folder = Path(sys.argv[1])
inbox = Inbox(folder / "inbox/inbox.db")
print(inbox.leave_request("sync", "blog", by="web", now=1.0))
try:
    Database(folder / "state/state.db", STATE)
except StoreUnusable as error:
    print("refused")
"""
    for _ in range(2):
        done = subprocess.run(
            python(script, folder, OTHER_USER, OTHER_GROUP),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert done.stdout.split()[1:] == ["refused"]
    assert [request.by for request in store.inbox.take_requests(2.0)] == ["web", "web"]
    store.close()
    subprocess.run(python(script, folder, OTHER_USER, OTHER_GROUP), check=True, timeout=60)
    inbox = Inbox(paths(folder)["inbox_db"])
    assert len(inbox.take_requests(2.0)) == 3
    inbox.close()


def test_a_stranger_reads_nothing(folder: Path) -> None:
    make(folder).close()
    assert stat.S_IMODE((folder / "state").stat().st_mode) & 0o777 == 0o750
    assert stat.S_IMODE((folder / "inbox").stat().st_mode) & 0o777 == 0o770
    for name, mode in (("state_db", 0o640), ("logs_db", 0o640), ("inbox_db", 0o660)):
        assert stat.S_IMODE(paths(folder)[name].stat().st_mode) == mode
    assert faults.BUSY_TIMEOUT_S == 5.0


def test_a_stop_at_any_moment_of_a_reader_leaves_a_store_that_can_be_read(folder: Path) -> None:
    """In WAL mode without `-wal` beside it, a user who may only read could not open the file."""
    make(folder).close()
    path = paths(folder)["state_db"]
    stop = threading.Event()
    problems: list[Exception] = []

    def come_and_go() -> None:
        while not stop.is_set():
            reader = Queries(path)
            try:
                reader.statuses()
            except StoreUnusable as error:
                problems.append(error)
            reader.close()

    visitors = [threading.Thread(target=come_and_go) for _ in range(2)]
    for visitor in visitors:
        visitor.start()
    for number in range(15):
        store = make(folder)
        store.recorder.record_repair("blog", float(number))
        store.close()
        left = path.with_name("state.db-wal").exists()
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as reader:
            mode = reader.execute("PRAGMA journal_mode").fetchone()[0]
        assert left or mode == "delete"
    stop.set()
    for visitor in visitors:
        visitor.join()
    assert problems == []


def applied_long_ago(database: SqliteUtils) -> None:
    raise AssertionError("never applied again")


def fail_half_way(database: SqliteUtils) -> None:
    database.execute("CREATE TABLE half (x)")
    database.execute("CREATE TABLE half (x)")


def test_a_migration_that_fails_leaves_the_store_as_it_was(folder: Path) -> None:
    """Row 65."""
    make(folder).close()
    path = paths(folder)["state_db"]
    before = path.read_bytes()
    broken = Migrations("state")
    for migration in STATE.migrations.pending(SqliteUtils(memory=True)):
        broken(name=migration.name)(applied_long_ago)
    broken(name="m999_half")(fail_half_way)
    with pytest.raises(StoreUnusable, match="table half already exists"):
        Database(path, replace(STATE, migrations=broken))
    assert path.read_bytes() == before
    make(folder).close()
