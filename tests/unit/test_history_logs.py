"""Build logs: numbered lines that can be read while they are written, in whole, from anywhere, masked."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.errors import StoreUnusable
from reconciler.history.log_lines import LONGEST_LINE, LogLine, unpack
from reconciler.history.logs import BuildLogs, LogReader
from reconciler.masking import Masker
from reconciler.model.effects import BuildStep, LogSink
from tests.history_support import make_store, paths


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[BuildLogs]:
    opened = BuildLogs(tmp_path / "logs.db", masker_of=lambda _: Masker(["hunter22"]), create=True, limit_bytes=200_000)
    yield opened
    opened.close()


@pytest.fixture
def reader(logs: BuildLogs, tmp_path: Path) -> Iterator[LogReader]:
    opened = LogReader(tmp_path / "logs.db")
    yield opened
    opened.close()


def eventually(condition: Callable[[], bool], *, within_s: float = 10.0) -> float:
    """Seconds until `condition` held."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s
    return time.monotonic() - began


def is_closed(reader: LogReader, deployment: int = 1) -> bool:
    info = reader.info("blog", deployment)
    return info is not None and info.closed_at > 0


def test_a_line_can_be_read_soon_after_it_was_written_though_no_other_follows(
    logs: BuildLogs, reader: LogReader
) -> None:
    sink: LogSink = logs.open_log("blog", 1, now=1.0)
    sink.write("stdout", "step 1", at=2.5, step="1/7")
    assert eventually(lambda: reader.read("blog", 1) != []) < 5.0
    assert reader.read("blog", 1) == [(1, "stdout", 2.5, "1/7", "step 1")]
    assert not is_closed(reader)
    sink.close()
    assert is_closed(reader)
    assert reader.read("blog", 1) == [(1, "stdout", 2.5, "1/7", "step 1")]


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 3500])
def test_lines_come_back_in_order_from_any_number_on(logs: BuildLogs, reader: LogReader, count: int) -> None:
    sink = logs.open_log("blog", 1, now=1.0)
    for number in range(1, count + 1):
        sink.write("stderr", f"line {number}", at=float(number))
    logs._flush_all()
    for closed in (False, True):
        if closed:
            sink.close()
        found = reader.read("blog", 1, limit=10_000)
        assert [(line.number, line.text) for line in found] == [(n, f"line {n}") for n in range(1, count + 1)]
        for after in {0, 1, 500, 998, 999, 1000, 1001, 2999, count - 1, count}:
            page = reader.read("blog", 1, after=max(after, 0), limit=20)
            assert page == found[max(after, 0) : max(after, 0) + 20]
        assert reader.tail("blog", 1, limit=3) == found[-3:]
    info = reader.info("blog", 1)
    assert info is not None
    assert (info.lines, info.cut_lines) == (count, 0)


def test_a_log_that_was_never_written_is_empty_and_open(reader: LogReader) -> None:
    assert reader.info("blog", 9) is None
    assert (reader.read("blog", 9), reader.tail("blog", 9)) == ([], [])


def test_secrets_are_masked_before_a_line_is_kept(logs: BuildLogs, reader: LogReader, tmp_path: Path) -> None:
    """Invariant 6; also where the secret stands across the place at which a line is cut."""
    sink = logs.open_log("blog", 1, now=1.0)
    sink.write("stdout", "password hunter22 and aHVudGVyMjI=", at=1.0)
    sink.write("stdout", "x" * (LONGEST_LINE - 4) + "hunter22", at=1.0)
    sink.close()
    texts = [line.text for line in reader.read("blog", 1)]
    assert texts[0] == "password [masked] and [masked]"
    assert "hunt" not in texts[1]


def test_a_build_that_prints_guesses_learns_nothing_of_another_project_s_secrets(tmp_path: Path) -> None:
    """Invariant 6; the log of the project whose secret it is hides it, also one that was opened after the log."""
    maskers = {"blog": Masker(["hunter22"]), "shop": Masker()}
    logs = BuildLogs(tmp_path / "logs.db", masker_of=maskers.__getitem__, create=True)
    reader = LogReader(tmp_path / "logs.db")
    sinks = {name: logs.open_log(name, 1, now=1.0) for name in maskers}
    maskers["blog"].add("opened-later")
    for sink in sinks.values():
        sink.write("stdout", "hunter21 hunter22 opened-later", at=1.0, step="RUN echo hunter22")
        sink.step(BuildStep("RUN echo hunter22", 1.0))
        sink.close()
    assert [(line.step, line.text) for line in reader.read("shop", 1)] == [
        ("RUN echo hunter22", "hunter21 hunter22 opened-later")
    ]
    assert [(line.step, line.text) for line in reader.read("blog", 1)] == [
        ("RUN echo [masked]", "hunter21 [masked] [masked]")
    ]
    assert [reader.steps(name, 1)[0].step.name for name in ("shop", "blog")] == [
        "RUN echo hunter22",
        "RUN echo [masked]",
    ]
    reader.close()
    logs.close()


def test_a_long_line_is_cut_and_says_so(logs: BuildLogs, reader: LogReader) -> None:
    sink = logs.open_log("blog", 1, now=1.0)
    sink.write("stdout", "x" * (LONGEST_LINE + 10), at=1.0)
    sink.write("stdout", "two\nlines, \udcff and \0", at=1.0)
    sink.close()
    [long, odd] = reader.read("blog", 1)
    assert long.text == "x" * LONGEST_LINE + "… [10 more characters cut]"
    assert odd.text == "two⏎lines, ? and \N{REPLACEMENT CHARACTER}"


def test_a_flood_keeps_its_head_and_its_last_lines_and_says_what_is_missing(logs: BuildLogs, reader: LogReader) -> None:
    sink = logs.open_log("blog", 1, now=1.0)
    for number in range(1, 5001):
        sink.write("stdout", f"{number:099}", at=float(number))
    sink.write("stderr", "error: the reason", at=6000.0)
    sink.close()
    lines = reader.read("blog", 1, limit=10_000)
    texts = [line.text for line in lines]
    assert [int(text) for text in texts[:2000]] == list(range(1, 2001))
    assert texts[2000] == "[of what follows, the last 200 lines are kept: the log is longer than 195 KB]"
    assert texts[2001] == "[2801 lines, 274 KB, were not kept]"
    assert texts[-1] == "error: the reason"
    assert len(texts) == 2000 + 2 + 200
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    info = reader.info("blog", 1)
    assert info is not None
    assert info.cut_lines == 2801


def test_nothing_is_written_after_the_end(logs: BuildLogs) -> None:
    sink = logs.open_log("blog", 1, now=1.0)
    sink.close()
    sink.close()
    with pytest.raises(StoreUnusable, match="the log is closed"):
        sink.write("stdout", "late", at=1.0)


def test_logs_are_read_while_others_are_written(logs: BuildLogs, reader: LogReader) -> None:
    def build(number: int) -> None:
        sink = logs.open_log("blog", number, now=1.0)
        for line in range(1500):
            sink.write("stdout", f"{number}/{line}", at=1.0)
        sink.close()

    threads = [threading.Thread(target=build, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    seen: list[str] = []
    while not is_closed(reader, 2) or len(seen) < 1500:
        page = reader.read("blog", 2, after=len(seen), limit=400)
        seen += [line.text for line in page]
    for thread in threads:
        thread.join()
    assert seen == [f"2/{line}" for line in range(1500)]


def test_a_log_left_open_is_sealed_at_the_next_start(tmp_path: Path) -> None:
    """Invariant 4."""
    first = make_store(tmp_path)
    sink = first.logs.open_log("blog", 1, now=1.0)
    for number in range(1200):
        sink.write("stdout", f"line {number}", at=1.0)
    first.close()
    second = make_store(tmp_path)
    assert second.logs.settle(50.0) == 1
    assert second.logs.settle(51.0) == 0
    reader = LogReader(paths(tmp_path)["logs_db"])
    assert is_closed(reader)
    lines = reader.read("blog", 1, limit=5000)
    assert [line.number for line in lines] == list(range(1, 1202))
    assert lines[-1].text == "[the reconciler ended here]"
    reader.close()
    second.close()


def test_a_chunk_that_version_0_1_wrote_is_read_as_well() -> None:
    plain = [("stdout", 1.5, "[1/2] RUN x", "first"), ("stderr", 1.75, "", "second\u2028"), ("system", 2.0, "", "")]
    body = zlib.compress(json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode(), 6)
    whole = [LogLine(number, *row) for number, row in enumerate(plain, 1001)]  # type: ignore[arg-type]
    assert unpack(body, 1001) == whole
    assert unpack(body, 1001, after=1001, limit=1) == whole[1:2]


def test_a_log_that_is_opened_again_goes_on_counting(logs: BuildLogs, reader: LogReader) -> None:
    first = logs.open_log("blog", 1, now=1.0)
    first.write("stdout", "one", at=1.0)
    logs._flush_all()
    second = logs.open_log("blog", 1, now=2.0)
    second.write("stdout", "two", at=2.0)
    second.close()
    assert [(line.number, line.text) for line in reader.read("blog", 1)] == [(1, "one"), (2, "two")]


def test_the_steps_of_a_build_are_kept_in_order_with_their_lines(logs: BuildLogs, reader: LogReader) -> None:
    sink = logs.open_log("blog", 1, now=1.0)
    sink.write("system", "Building", at=1.0)
    sink.step(BuildStep("a hunter22", 2.0))
    sink.write("system", "a hunter22", at=2.0, step="a hunter22")
    sink.step(BuildStep("b", 2.5))
    sink.write("stdout", "of b", at=3.0, step="b")
    sink.write("stdout", "of a", at=3.0, step="a hunter22")
    assert eventually(lambda: len(reader.steps("blog", 1)) == 2 and reader.steps("blog", 1)[0].lines == 2) < 5.0
    assert reader.steps("blog", 1) == [
        (BuildStep("a [masked]", 2.0), 2, 4, 2),
        (BuildStep("b", 2.5), 3, 3, 1),
    ]
    sink.step(BuildStep("b", 2.5, 4.0, "done", clipped=True))
    assert eventually(lambda: reader.steps("blog", 1)[1].step.outcome == "done") < 5.0
    sink.step(BuildStep("a hunter22", 2.0, 5.0, "failed"))
    sink.close()
    assert [row.step.outcome for row in reader.steps("blog", 1)] == ["failed", "done"]
    assert {line.step for line in reader.read("blog", 1)} == {"", "a [masked]", "b"}
    info = reader.info("blog", 1)
    assert info is not None
    assert info.clipped
    assert reader.steps("blog", 2) == []
    with pytest.raises(StoreUnusable, match="the log is closed"):
        sink.step(BuildStep("late", 9.0))


def test_a_step_that_ran_when_the_reconciler_was_killed_has_failed(tmp_path: Path) -> None:
    """Invariant 4."""
    first = make_store(tmp_path)
    sink = first.logs.open_log("blog", 1, now=1.0)
    sink.step(BuildStep("a", 2.0, 3.0, "cached"))
    sink.step(BuildStep("b", 3.0))
    sink.write("stdout", "of b", at=3.0, step="b")
    first.close()
    second = make_store(tmp_path)
    again = second.logs.open_log("blog", 1, now=20.0)
    again.write("stdout", "more of b", at=21.0, step="b")
    second.close()
    third = make_store(tmp_path)
    third.logs.settle(50.0)
    reader = LogReader(paths(tmp_path)["logs_db"])
    assert reader.steps("blog", 1) == [
        (BuildStep("a", 2.0, 3.0, "cached"), 0, 0, 0),
        (BuildStep("b", 3.0, 50.0, "failed"), 1, 2, 2),
    ]
    reader.close()
    third.close()
