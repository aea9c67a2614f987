"""Failpoints: nothing at all while they are off, every place noted while somebody watches, an end where aimed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from reconciler.apply.failpoints import AIM, FOLDER, REACHED, Failpoints, places
from reconciler.history.recorder import Recorder
from reconciler.model.operation import OPERATIONS


class Book:
    """Writes lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> int:
        self.lines.append(line)
        return len(self.lines)


def test_whoever_writes_stays_the_very_same_while_no_place_is_named() -> None:
    book = Book()
    assert Failpoints().around(book) is book


def test_each_place_and_each_write_is_noted_where_a_folder_is_named(tmp_path: Path) -> None:
    failpoints = Failpoints(f"{FOLDER}{tmp_path}")
    book = failpoints.around(Book())
    failpoints.reach("before:StartProbe")
    assert book.add("one") == 1
    assert book.lines == ["one"]
    assert (tmp_path / REACHED).read_text().split() == ["before:StartProbe", "write:add"]


def test_the_process_ends_at_the_passing_that_is_aimed_at_while_it_runs(tmp_path: Path) -> None:
    (tmp_path / AIM).write_text("after:MarkLive#2")
    program = (
        "import sys\n"
        "from reconciler.apply.failpoints import Failpoints\n"
        "failpoints = Failpoints(sys.argv[1])\n"
        "for place in ('after:MarkLive', 'before:MarkLive', 'after:MarkLive', 'never'):\n"
        "    failpoints.reach(place)\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program, f"{FOLDER}{tmp_path}"], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / REACHED).read_text().split() == ["after:MarkLive", "before:MarkLive", "after:MarkLive"]


def test_every_operation_has_three_places_and_every_write_of_the_recorder_one() -> None:
    found = places(Recorder)
    for operation in OPERATIONS:
        assert {f"{side}:{operation.__name__}" for side in ("intent", "before", "after")} <= set(found)
    assert {"write:open_deployment", "write:interrupt_open", "write:save_statuses", "write:add_inventory"} <= set(found)
    assert len(found) == len(set(found))
