"""The inbox: what may be left, what is believed of it, and the datagram that wakes."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.errors import SpecInvalid, StoreBusy, StoreUnusable
from reconciler.history.requests import Inbox
from reconciler.history.wake import WakeListener, wake


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    opened = Inbox(tmp_path / "inbox.db", create=True)
    yield opened
    opened.close()


@pytest.fixture
def hostile(inbox: Inbox, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Puts rows into the file as somebody who owns it would."""
    other = sqlite3.connect(tmp_path / "inbox.db", isolation_level=None, timeout=5)

    def put(**values: object) -> None:
        row = {"kind": "sync", "project": "blog", "payload": "{}", "by": "eve", "left_at": 1.0} | values
        other.execute(
            "INSERT INTO requests (kind, project, payload, by, left_at)"
            " VALUES (:kind, :project, :payload, :by, :left_at)",
            row,
        )

    yield put
    other.close()


def test_what_is_left_is_taken_until_it_is_handled(inbox: Inbox) -> None:
    """Invariant 4: a kill between taking and handling loses no click."""
    number = inbox.leave_request("approve", "blog", {"digest": "9c41d0a7"}, by="ana", now=5.0)
    for _ in range(2):
        [request] = inbox.take_requests(6.0)
        assert (request.id, request.kind, request.project, request.by) == (number, "approve", "blog", "ana")
        assert (dict(request.payload), request.left_at) == ({"digest": "9c41d0a7"}, 5.0)
    inbox.mark_handled(number, now=7.0)
    assert inbox.take_requests(8.0) == []
    assert inbox.answer(number) == ("done", "")
    assert inbox.answer(99) is None


def test_requests_come_in_the_order_they_were_left(inbox: Inbox) -> None:
    left = [inbox.leave_request("sync", "", by="ana", now=float(at)) for at in (5, 3, 9)]
    assert [request.id for request in inbox.take_requests(10.0)] == left


def test_an_empty_inbox_is_looked_at_without_a_write(inbox: Inbox) -> None:
    """Invariant 11."""
    writes = inbox.writes
    assert inbox.take_requests(1.0) == []
    assert inbox.writes == writes


@pytest.mark.parametrize(
    ("kind", "project", "payload", "by", "said"),
    [
        ("destroy", "blog", {}, "ana", "'destroy' is not a kind of request"),
        ("sync", "../etc", {}, "ana", "'../etc' is not the name of a project"),
        ("sync", "blog\n", {}, "ana", "is not the name of a project"),
        ("approve", "", {"digest": "ab" * 8}, "ana", "approve needs a project"),
        ("approve", "blog", {}, "ana", r"approve carries \[\]; expected \['digest'\]"),
        ("approve", "blog", {"digest": "zzz"}, "ana", "digest is 'zzz'; expected 8 to 64"),
        ("approve", "blog", {"digest": -1}, "ana", "digest is -1; expected 8 to 64"),
        ("approve", "blog", {"digest": True}, "ana", "digest is True"),
        ("sync", "blog", {"more": "x" * 10_000}, "ana", "sync carries"),
        ("sync", "blog", {}, "", "does not say who asks"),
        ("sync", "blog", {}, "a\x1b[31m", "does not say who asks"),
    ],
)
def test_what_is_not_of_its_form_cannot_be_left(
    inbox: Inbox, kind: str, project: str, payload: dict[str, str | int], by: str, said: str
) -> None:
    with pytest.raises(SpecInvalid, match=said):
        inbox.leave_request(kind, project, payload, by=by, now=1.0)
    assert inbox.take_requests(2.0) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "destroy"}, "'destroy' is not a kind"),
        ({"kind": "x" * 1_000_000}, "is not a kind"),
        ({"project": "Blog; rm -rf /"}, "is not the name of a project"),
        ({"payload": "{"}, "its payload is not JSON"),
        ({"payload": "[" * 900}, "its payload is not JSON"),
        ({"payload": "[]"}, "its payload is not a mapping"),
        ({"payload": '{"a": "' + "x" * 2_000_000 + '"}'}, "longer than 1000 characters"),
        ({"by": "x" * 201}, "who asks"),
        ({"kind": "approve", "payload": '{"digest": 1e400}'}, "digest is inf"),
        ({"kind": "approve", "payload": '{"digest": ' + "9" * 500 + "}"}, "expected 8 to 64"),
        ({"left_at": 9e999}, "its time is not a number"),
    ],
)
def test_a_hostile_row_is_refused_with_a_reason_and_harms_no_other(
    inbox: Inbox, hostile: Callable[..., None], values: dict[str, object], said: str
) -> None:
    hostile(**values)
    good = inbox.leave_request("sync", "blog", by="ana", now=2.0)
    taken = inbox.take_requests(3.0)
    assert [request.id for request in taken] == [good]
    answer = inbox.answer(1)
    assert answer is not None
    assert answer.outcome == "refused"
    assert said in answer.message


def test_a_text_that_is_no_unicode_harms_no_other(inbox: Inbox, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "inbox.db", timeout=5) as other:
        other.execute(
            "INSERT INTO requests (kind, project, payload, by, left_at)"
            " VALUES ('sync', CAST(x'ff66' AS TEXT), '{}', CAST(x'fe' AS TEXT), 1.0)"
        )
    other.close()
    good = inbox.leave_request("sync", "blog", by="ana", now=2.0)
    assert [request.id for request in inbox.take_requests(3.0)] == [good]


@pytest.mark.parametrize(
    "program",
    [
        "CREATE TRIGGER t AFTER UPDATE ON requests BEGIN DELETE FROM requests; END",
        "CREATE VIEW v AS SELECT 1",
    ],
)
def test_a_file_with_a_program_in_it_is_refused(inbox: Inbox, tmp_path: Path, program: str) -> None:
    inbox.leave_request("sync", "blog", by="ana", now=2.0)
    with sqlite3.connect(tmp_path / "inbox.db", timeout=5) as other:
        other.execute(program)
    other.close()
    with pytest.raises(StoreUnusable, match=r"holds the (trigger|view)"):
        inbox.take_requests(3.0)
    with pytest.raises(StoreUnusable, match=r"holds the (trigger|view)"):
        Inbox(tmp_path / "inbox.db")


def test_a_table_that_was_dropped_is_an_error_of_ours(inbox: Inbox, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "inbox.db", timeout=5) as other:
        other.execute("DROP TABLE requests")
    other.close()
    with pytest.raises(StoreUnusable, match="refused a statement"):
        inbox.take_requests(3.0)


def test_a_full_inbox_takes_no_more(inbox: Inbox, hostile: Callable[..., None]) -> None:
    for _ in range(1000):
        hostile()
    with pytest.raises(StoreBusy, match="1000 requests wait already"):
        inbox.leave_request("sync", "blog", by="ana", now=2.0)
    assert len(inbox.take_requests(3.0)) == 100


def test_only_the_reconciler_makes_the_inbox(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="there is no store at"):
        Inbox(tmp_path / "inbox.db")


def test_a_link_in_the_place_of_the_inbox_is_not_followed(tmp_path: Path) -> None:
    Inbox(tmp_path / "real.db", create=True).close()
    (tmp_path / "inbox.db").symlink_to(tmp_path / "real.db")
    with pytest.raises(StoreUnusable, match="not a regular file"):
        Inbox(tmp_path / "inbox.db", create=True)


def test_leaving_a_request_wakes_the_one_who_waits(inbox: Inbox, tmp_path: Path) -> None:
    listener = WakeListener(tmp_path / "wake.sock")
    assert not listener.wait(0.0)
    woken: list[bool] = []
    waiting = threading.Thread(target=lambda: woken.append(listener.wait(30.0)))
    waiting.start()
    inbox.leave_request("sync", "", by="ana", now=1.0)
    waiting.join(timeout=30)
    assert woken == [True]
    listener.close()


def test_many_wake_ups_count_as_one_and_a_full_socket_is_no_error(tmp_path: Path) -> None:
    listener = WakeListener(tmp_path / "wake.sock")
    for _ in range(2000):
        wake(tmp_path / "wake.sock")
    assert listener.wait(5.0)
    assert not listener.wait(0.0)
    listener.close()


def test_nobody_listening_is_no_error(tmp_path: Path) -> None:
    assert not wake(tmp_path / "wake.sock")
    listener = WakeListener(tmp_path / "wake.sock")
    listener.close()
    assert not wake(tmp_path / "wake.sock")


def test_a_socket_left_behind_is_replaced_and_open_to_the_group_alone(tmp_path: Path) -> None:
    abandoned = WakeListener(tmp_path / "wake.sock")
    listener = WakeListener(tmp_path / "wake.sock")
    assert stat.S_IMODE((tmp_path / "wake.sock").stat().st_mode) == 0o660
    assert wake(tmp_path / "wake.sock")
    assert listener.wait(5.0)
    listener.close()
    abandoned.close()


def test_a_socket_works_below_a_path_longer_than_an_address_may_be(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    listener = WakeListener(folder / "wake.sock")
    assert wake(folder / "wake.sock")
    assert listener.wait(5.0)
    listener.close()


def test_a_folder_in_the_place_of_the_socket_is_said(tmp_path: Path) -> None:
    (tmp_path / "wake.sock").mkdir()
    with pytest.raises(StoreUnusable, match="wake socket"):
        WakeListener(tmp_path / "wake.sock")
