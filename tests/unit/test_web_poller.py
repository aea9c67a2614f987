"""One thread notices changes for all streams, and only while somebody listens."""

from __future__ import annotations

import threading
import time

from tests.web_support import poll_until
from web.poller import Poller, Slots, Versions


class Source:
    """Versions that the test moves."""

    def __init__(self) -> None:
        self.now = Versions("1", "1")
        self.looks = 0

    def look(self) -> Versions:
        self.looks += 1
        return self.now


def test_a_change_wakes_everybody_who_waits() -> None:
    source = Source()
    poller = Poller(source.look)
    woken: list[Versions] = []

    def wait() -> None:
        with poller.listening():
            seen = poller.versions()
            entered.wait()
            woken.append(poller.wait(seen, timeout_s=10))

    entered = threading.Barrier(4)
    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    entered.wait()
    source.now = Versions("2", "1")
    for thread in threads:
        thread.join(timeout=5)
    assert woken == [Versions("2", "1")] * 3


def test_a_change_of_logs_wakes_only_those_who_follow_logs() -> None:
    source = Source()
    poller = Poller(source.look)
    with poller.listening():
        seen = poller.versions()
        source.now = Versions("1", "2")
        assert poller.wait(seen, timeout_s=5, logs=True) == Versions("1", "2")
        begun = time.monotonic()
        poller.wait(seen, timeout_s=0.2)
        assert time.monotonic() - begun >= 0.2


def test_it_looks_only_while_somebody_listens() -> None:
    source = Source()
    poller = Poller(source.look)
    assert not poller.is_running
    with poller.listening(), poller.listening():
        poll_until(lambda: source.looks >= 3, what="three looks")
        assert sum(thread.name == "poller" for thread in threading.enumerate()) >= 1
    poll_until(lambda: not poller.is_running, what="the thread signs off")
    looks = source.looks
    source.now = Versions("5", "5")
    with poller.listening():
        assert poller.versions() == Versions("5", "5")
    assert source.looks > looks


def test_slots_are_bounded_and_come_back() -> None:
    slots = Slots(2)
    assert slots.take()
    assert slots.take()
    assert not slots.take()
    slots.give_back()
    assert slots.take()
    assert slots.taken == 2
