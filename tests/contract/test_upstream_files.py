"""Upstream files on a real disk: atomic, readable, durable, and nothing foreign touched."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from reconciler.adapters.upstream_files import UpstreamFiles
from reconciler.errors import HostUnfit, NotOurs


@pytest.fixture
def files(tmp_path: Path) -> UpstreamFiles:
    return UpstreamFiles(tmp_path / "upstreams")


def current(files: UpstreamFiles, project_name: str) -> Path:
    return files.folder / project_name / "current"


def test_what_is_written_is_seen(files: UpstreamFiles) -> None:
    assert files.write("blog", 20001)
    assert files.write("shop", 20002)
    assert dict(files.look()) == {"blog": 20001, "shop": 20002}
    assert current(files, "blog").read_text() == "127.0.0.1:20001"


def test_nothing_is_written_where_it_is_so_already(files: UpstreamFiles) -> None:
    """Invariant 11."""
    files.write("blog", 20001)
    before = current(files, "blog").stat()
    assert not files.write("blog", 20001)
    assert current(files, "blog").stat().st_ino == before.st_ino
    assert files.writes == 1


def test_caddy_may_read_file_and_folders_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files = UpstreamFiles(tmp_path / "upstreams")
        files.write("blog", 20001)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (files.folder, files.folder / "blog")]
    assert modes == [0o755, 0o755]
    assert stat.S_IMODE(current(files, "blog").stat().st_mode) == 0o644


def test_a_reader_never_sees_half_a_file(files: UpstreamFiles) -> None:
    files.write("blog", 20000)
    seen: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(files.look().get("blog", -1))

    reader = threading.Thread(target=read)
    reader.start()
    for port in range(20001, 20201):
        files.write("blog", port)
    stop.set()
    reader.join()
    assert seen <= set(range(20000, 20201))


def test_a_lost_file_is_absent_and_written_again(files: UpstreamFiles) -> None:
    files.write("blog", 20001)
    current(files, "blog").unlink()
    assert "blog" not in files.look()
    assert files.write("blog", 20001)
    assert files.look()["blog"] == 20001


@pytest.mark.parametrize(
    "text",
    ["", "garbage", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:70000", "10.0.0.1:80", "127.0.0.1:80\n:81", "1" * 999],
)
def test_a_garbled_file_names_no_port_and_is_replaced(files: UpstreamFiles, text: str) -> None:
    files.write("blog", 20001)
    current(files, "blog").write_text(text)
    assert files.look()["blog"] == 0
    assert files.write("blog", 20001)
    assert files.look()["blog"] == 20001


def test_a_newline_at_the_end_is_what_caddy_accepts_too(files: UpstreamFiles) -> None:
    files.write("blog", 20001)
    current(files, "blog").write_text("127.0.0.1:20001\n")
    assert files.look()["blog"] == 20001


@pytest.mark.parametrize("make", ["folder", "fifo", "link"])
def test_what_is_no_plain_file_names_no_port_and_hangs_nobody(files: UpstreamFiles, tmp_path: Path, make: str) -> None:
    files.write("blog", 20001)
    current(files, "blog").unlink()
    if make == "folder":
        current(files, "blog").mkdir()
    elif make == "fifo":
        os.mkfifo(current(files, "blog"))
    else:
        (tmp_path / "secret").write_text("127.0.0.1:22")
        current(files, "blog").symlink_to(tmp_path / "secret")
    assert files.look()["blog"] == 0


def test_foreign_entries_are_left_alone_and_reported(files: UpstreamFiles, tmp_path: Path) -> None:
    """Invariant 5."""
    (files.folder / "README").write_text("hello")
    (files.folder / "Upper").mkdir()
    (files.folder / "link").symlink_to(tmp_path)
    files.write("blog", 20001)
    files.sweep()
    assert dict(files.look()) == {"blog": 20001}
    assert files.odd == ("README", "Upper", "link")
    assert (files.folder / "README").read_text() == "hello"


def test_a_place_that_is_a_link_is_not_written_through(files: UpstreamFiles, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (files.folder / "blog").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotOurs, match="is not a folder"):
        files.write("blog", 20001)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("project_name", ["../blog", "a/b", "", ".", "..", "Blog", "blog\n", "a" * 41])
def test_a_name_that_is_none_of_a_project_is_refused(files: UpstreamFiles, project_name: str) -> None:
    with pytest.raises(ValueError, match="project name"):
        files.write(project_name, 20001)
    with pytest.raises(ValueError, match="project name"):
        files.remove(project_name)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none_is_refused(files: UpstreamFiles, port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        files.write("blog", port)


def test_removing_takes_file_and_folder(files: UpstreamFiles) -> None:
    files.write("blog", 20001)
    assert files.remove("blog")
    assert not (files.folder / "blog").exists()
    assert not files.remove("blog")


def test_removing_leaves_what_others_put_there(files: UpstreamFiles) -> None:
    files.write("blog", 20001)
    (files.folder / "blog" / "notes").write_text("mine")
    files.remove("blog")
    assert (files.folder / "blog" / "notes").read_text() == "mine"
    assert files.look() == {}


def test_leftovers_of_a_kill_are_swept(files: UpstreamFiles) -> None:
    """Invariant 4: what a SIGKILL between writing and renaming leaves."""
    files.write("blog", 20001)
    (files.folder / "blog" / ".current.0123456789abcdef").write_text("127.0.0.1:20002")
    assert files.sweep() == 1
    assert [each.name for each in (files.folder / "blog").iterdir()] == ["current"]
    assert files.look()["blog"] == 20001


def test_a_folder_that_cannot_be_made_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostUnfit, match="cannot be made"):
        UpstreamFiles(tmp_path / "file" / "upstreams")


def test_a_folder_that_was_lost_holds_no_file_and_is_made_again_by_the_next_write(tmp_path: Path) -> None:
    files = UpstreamFiles(tmp_path / "upstreams")
    files.write("shop", 20001)
    shutil.rmtree(tmp_path / "upstreams")
    assert files.look() == {}
    assert files.write("shop", 20002)
    assert files.look() == {"shop": 20002}
    assert (tmp_path / "upstreams").stat().st_mode & 0o777 == 0o755
