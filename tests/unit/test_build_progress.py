"""What buildx prints becomes lines for people and the reason of a failure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import pytest

from reconciler.adapters.build_progress import BuildProgress, Line, Told, is_instruction
from reconciler.adapters.processes import LINE_LIMIT
from reconciler.masking import Masker
from reconciler.model.effects import BuildStep

T0 = "2026-11-24T08:00:00.123456789Z"
T1 = "2026-11-24T08:00:02.623456789Z"
T0_S = 1795507200.123456
T1_S = T0_S + 2.5
STEP = "[2/3] RUN pip install -r requirements.txt"
CODE_1 = "executor failed running [/bin/sh -c x]: exit code: 1"


def vertex(name: str = STEP, *, digest: str = "sha256:a", **more: Any) -> dict[str, Any]:
    return {"digest": digest, "name": name, **more}


def log(text: str | bytes, *, stream: int = 1, digest: str = "sha256:a", at: str = T0) -> dict[str, Any]:
    data = text.encode() if isinstance(text, str) else text
    return {"vertex": digest, "stream": stream, "data": base64.b64encode(data).decode(), "timestamp": at}


def tell(progress: BuildProgress, *reports: dict[str, Any] | bytes, indent: int | None = 1) -> list[Told]:
    """Feed reports as buildx 0.13 (indented over many lines) or later ones (indent None) print them."""
    told: list[Told] = []
    for report in reports:
        raw = report if isinstance(report, bytes) else json.dumps(report, indent=indent).encode()
        for each in raw.split(b"\n"):
            told += progress.feed(each, now=1.0)
    return told


def feed(progress: BuildProgress, *reports: dict[str, Any] | bytes, indent: int | None = 1) -> list[Line]:
    return lines_of(tell(progress, *reports, indent=indent))


def lines_of(told: Iterable[Told]) -> list[Line]:
    return [each for each in told if isinstance(each, Line)]


def steps_of(told: Iterable[Told]) -> list[BuildStep]:
    return [each for each in told if isinstance(each, BuildStep)]


def texts(lines: Iterable[Line]) -> list[str]:
    return [line.text for line in lines]


@pytest.mark.parametrize("indent", [None, 1])
def test_reports_are_read_in_both_forms_that_buildx_prints(indent: int | None) -> None:
    progress = BuildProgress()
    lines = feed(
        progress,
        {"vertexes": [vertex(started=T0)]},
        {"logs": [log("one\ntwo\n")]},
        {"vertexes": [vertex(started=T0, completed=T1)]},
        indent=indent,
    )
    assert texts(lines) == [STEP, "one", "two", "DONE 2.5s"]
    assert {line.step for line in lines} == {STEP}
    assert [line.stream for line in lines] == ["system", "stdout", "stdout", "system"]
    assert lines[1].at == pytest.approx(T0_S)


def test_parts_of_a_line_are_joined_per_step_and_stream() -> None:
    progress = BuildProgress()
    feed(progress, {"vertexes": [vertex(started=T0), vertex("[3/3] RUN b", digest="sha256:b", started=T0)]})
    lines = feed(
        progress,
        {"logs": [log("hel"), log("wor", stream=2), log("other", digest="sha256:b")]},
        {"logs": [log("lo\nnext", at=T1), log("ld\n", stream=2)]},
    )
    assert [(line.stream, line.text) for line in lines] == [("stdout", "hello"), ("stderr", "world")]
    assert lines[0].at == pytest.approx(T0_S), "a line is as old as its first part"
    assert {(line.text, line.step) for line in lines_of(progress.finish(now=9.0))} == {
        ("next", STEP),
        ("other", "[3/3] RUN b"),
    }


def test_output_that_a_report_splits_from_the_end_of_its_step_stays_whole_and_before_it() -> None:
    """BuildKit tells the end with the first MiB of the last output, and the rest in further reports."""
    progress = BuildProgress()
    much = "x" * 99 + "\n"
    told = tell(
        progress,
        {"vertexes": [vertex(started=T0)]},
        {"vertexes": [vertex(started=T0, completed=T1)], "logs": [log(much * 10_500 + "hel")]},
        {"logs": [log("lo\nla")]},
        {"logs": [log("st")]},
        {"vertexes": [vertex("exporting to image", digest="e", started=T1)]},
    )
    assert texts(lines_of(told))[-4:] == ["hello", "exporting to image", "last", "DONE 2.5s"]
    assert [step.outcome for step in steps_of(told)] == ["", "", "done"]
    assert steps_of(progress.finish(now=9.0)) == [BuildStep("exporting to image", pytest.approx(T1_S), 9.0, "failed")]


def test_the_end_of_a_step_in_a_full_last_report_is_told_all_the_same() -> None:
    progress = BuildProgress()
    failing = vertex(started=T0, completed=T1, error=CODE_1)
    tell(progress, {"vertexes": [failing], "logs": [log("x" * 99 + "\n") for _ in range(10_500)]})
    told = list(progress.finish(now=9.0))
    assert texts(lines_of(told)) == [f"ERROR {CODE_1}"]
    assert [step.outcome for step in steps_of(told)] == ["failed"]
    assert progress.failure(1).what.endswith("(exit code 1)")


def test_a_step_that_the_engine_lost_track_of_has_gaps() -> None:
    progress = BuildProgress()
    tell(progress, {"vertexes": [vertex(started=T0)]}, *(b"{}" for _ in range(1001)))
    assert list(progress.finish(now=9.0)) == [BuildStep(STEP, pytest.approx(T0_S), 9.0, "failed", clipped=True)]
    split = BuildProgress()
    full = {"vertexes": [vertex(started=T0, completed=T1)], "logs": [log("x" * 600_000)]}
    tell(split, full, *(b"{}" for _ in range(1001)))
    assert steps_of(split.finish(now=9.0)) == [
        BuildStep(STEP, pytest.approx(T0_S), pytest.approx(T1_S), "done", clipped=True)
    ]


def test_a_character_that_is_cut_by_a_report_is_whole_again() -> None:
    progress = BuildProgress()
    euro = "€".encode()
    assert texts(feed(progress, {"logs": [log(euro[:1])]}, {"logs": [log(euro[1:] + b"\n")]})) == ["€"]


def test_bytes_that_are_no_text_are_shown_and_progress_bars_show_their_last_state() -> None:
    progress = BuildProgress()
    assert texts(feed(progress, {"logs": [log(b"\xff\n10%\r50%\r100%\ncrlf\r\n")]})) == ["\ufffd", "100%", "crlf"]


def test_a_line_without_end_comes_in_pieces() -> None:
    """Row 22: a gigabyte without a newline must not fill our memory."""
    progress = BuildProgress()
    lines = feed(progress, *({"logs": [log("x" * 50_000)]} for _ in range(4)))
    assert [len(line.text) for line in lines] == [65536, 65536, 65536]
    assert [len(line.text) for line in lines_of(progress.finish(now=9.0))] == [200_000 - 3 * 65536]


def test_what_is_cached_says_so_and_internal_steps_are_silent() -> None:
    progress = BuildProgress()
    lines = feed(
        progress,
        {"vertexes": [vertex("[internal] load .dockerignore", digest="i", started=T0, completed=T1)]},
        {"vertexes": [vertex(started=T0, completed=T0, cached=True)]},
    )
    assert texts(lines) == [STEP, "CACHED"]


def test_the_same_report_twice_is_told_once() -> None:
    progress = BuildProgress()
    report = {"vertexes": [vertex(started=T0, completed=T1)]}
    assert texts(feed(progress, report, report)) == [STEP, "DONE 2.5s"]


def test_output_that_the_engine_clipped_is_told_once_in_its_place_with_what_to_do() -> None:
    progress = BuildProgress()
    feed(progress, {"vertexes": [vertex(started=T0)]}, {"logs": [log("fine\n")]})
    marker = "[output clipped, log limit 200KiB/s reached]\n"
    lines = feed(progress, {"logs": [log("before\n" + marker + "after\n" + marker, stream=2)]})
    assert [line.stream for line in lines] == ["stderr", "stderr", "system", "stderr", "stderr"]
    assert lines[2].step == STEP
    assert lines[2].text == (
        "[output of this step is missing here: the engine's log limit 200KiB/s reached; "
        "gitstead doctor --fix sets the engine's limits on the output of builds]"
    )
    told = tell(progress, {"vertexes": [vertex(started=T0, completed=T1)]})
    assert [step.clipped for step in steps_of(told)] == [True]


def test_steps_are_told_when_they_begin_and_end_before_the_lines_that_say_so() -> None:
    progress = BuildProgress()
    told = tell(
        progress,
        {"vertexes": [vertex("[internal] load .dockerignore", digest="i", started=T0, completed=T1)]},
        {"vertexes": [vertex(started=T0), vertex("[3/3] RUN b", digest="b", started=T0)]},
        {"vertexes": [vertex(started=T0, completed=T1)]},
        {"vertexes": [vertex("[1/3] COPY a", digest="c", started=T0, completed=T0, cached=True)]},
    )
    assert steps_of(told) == [
        BuildStep(STEP, pytest.approx(T0_S)),
        BuildStep("[3/3] RUN b", pytest.approx(T0_S)),
        BuildStep(STEP, pytest.approx(T0_S), pytest.approx(T1_S), "done"),
        BuildStep("[1/3] COPY a", pytest.approx(T0_S)),
        BuildStep("[1/3] COPY a", pytest.approx(T0_S), pytest.approx(T0_S), "cached"),
    ]
    assert isinstance(told[0], BuildStep)
    assert isinstance(told[1], Line)
    assert list(progress.finish(now=9.0)) == [BuildStep("[3/3] RUN b", pytest.approx(T0_S), 9.0, "failed")]


def test_a_step_that_others_failure_broke_off_is_not_the_one_that_failed() -> None:
    broken_off = vertex("[3/3] RUN b", digest="b", started=T0, completed=T1, error="context canceled: context canceled")
    failed = vertex(started=T0, completed=T1, error=CODE_1)
    for reports in ([failed, broken_off], [broken_off, failed]):
        progress = BuildProgress()
        told = tell(progress, *({"vertexes": [report]} for report in reports))
        assert progress.current_step() == STEP
        assert progress.failure(1).what.startswith('build step 2/3 "pip install')
        assert [step.outcome for step in steps_of(told) if step.ended_at] == ["failed", "failed"]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("[2/3] RUN make", True),
        ("[build 2/3] COPY . .", True),
        ("[1/3] FROM docker.io/library/x", False),
        ("[internal] load metadata for x", False),
        ("exporting to image", False),
    ],
)
def test_an_instruction_counts_where_a_cache_could_hold_its_result(name: str, counts: bool) -> None:
    assert is_instruction(name) is counts


def test_escapes_for_colour_are_kept() -> None:
    progress = BuildProgress()
    assert texts(feed(progress, {"logs": [log("\x1b[31mred\x1b[0m\n")]})) == ["\x1b[31mred\x1b[0m"]


def test_the_step_at_work_is_known_for_the_deadlines_message() -> None:
    progress = BuildProgress()
    assert progress.current_step() == ""
    feed(progress, {"vertexes": [vertex(started=T0)]})
    assert progress.current_step() == STEP
    feed(progress, {"vertexes": [vertex(started=T0, completed=T1)]})
    assert progress.current_step() == ""


def test_words_of_buildx_itself_are_told_and_explain_a_failure_without_a_step() -> None:
    progress = BuildProgress()
    words = b"ERROR: failed to solve: dockerfile parse error line 2: unknown instruction: COPYY"
    assert feed(progress, words) == [Line("system", words.decode(), 1.0)]
    assert progress.failure(1).what == "Dockerfile line 2: unknown instruction: COPYY"
    assert BuildProgress().failure(9).what == "the build failed: buildx ended with status 9 and said nothing"


def test_nonsense_among_the_reports_is_survived() -> None:
    progress = BuildProgress()
    lines = feed(
        progress,
        b"{not json",
        b"{broken}",
        {"vertexes": None, "logs": [{"vertex": "x", "data": "!", "timestamp": "yesterday"}]},
        {"vertexes": [vertex(started="never")]},
        b"[]",
    )
    assert texts(lines) == [STEP, "[]"]


def test_an_engine_that_lost_track_is_noticed() -> None:
    progress = BuildProgress()
    feed(progress, *(b"{}" for _ in range(1001)))
    assert progress.lost_track
    gave_up = BuildProgress()
    assert not gave_up.lost_track
    feed(gave_up, b"ERROR: failed to receive status: rpc error: code = Canceled desc = context canceled")
    assert gave_up.lost_track
    failed = BuildProgress()
    feed(failed, *(b"{}" for _ in range(1001)), {"vertexes": [vertex(started=T0, completed=T1, error="exit code: 1")]})
    assert not failed.lost_track, "a step that is known to have failed is the answer"


# ---- secrets ------------------------------------------------------------------------------------

SECRET = "s3cr3t-0123456789-abcdef"


def masked_progress() -> BuildProgress:
    return BuildProgress(Masker([SECRET]))


@pytest.mark.parametrize("before", [65536 - 24, 65536 - 23, 65536 - 12, 65536 - 1, 131072 - 5])
def test_a_secret_that_the_limit_of_a_line_tears_shows_on_neither_side(before: int) -> None:
    progress = masked_progress()
    lines = feed(progress, {"vertexes": [vertex(started=T0)]}, {"logs": [log("x" * before + SECRET)]})
    lines += lines_of(progress.finish(now=9.0))
    kept = [Masker([SECRET]).mask(text) for text in texts(lines)[1:]]
    assert set("".join(kept).replace("[masked]", "")) == {"x"}


@pytest.mark.parametrize("before", [65536 - 23, 65536 - 4])
def test_a_torn_guess_of_another_project_s_secret_stays_as_it_was_printed(before: int) -> None:
    """Invariant 6: else the ends that are masked would tell a secret letter by letter."""
    progress = BuildProgress(Masker(["QQ-own-value-QQ"]))
    lines = feed(progress, {"vertexes": [vertex(started=T0)]}, {"logs": [log("x" * before + SECRET)]})
    lines += lines_of(progress.finish(now=9.0))
    assert "".join(texts(lines)[1:]) == "x" * before + SECRET


def test_letters_of_several_bytes_are_not_cut_by_the_limit_of_a_line() -> None:
    progress = masked_progress()
    lines = feed(progress, {"logs": [log("x" + "€" * 30000)]}) + lines_of(progress.finish(now=9.0))
    assert "".join(texts(lines)) == "x" + "€" * 30000


def test_a_reason_a_name_and_the_last_lines_are_masked_before_they_are_cut() -> None:
    progress = masked_progress()
    step = "[2/2] RUN " + "a" * 182 + SECRET
    failing = vertex(step, started=T0, completed=T1, error=f"it died of {SECRET}")
    lines = feed(
        progress,
        {"vertexes": [vertex(step, started=T0)]},
        {"logs": [log("e" * 990 + SECRET + "\n", stream=2)]},
        {"vertexes": [failing]},
    )
    lines += lines_of(progress.finish(now=9.0))
    told = [line.step for line in lines] + [line.text for line in lines if line.stream == "system"]
    said = " ".join([*told, progress.failure(1).what, progress.failure(1).hint, progress.current_step()])
    assert "s3cr" not in said
    assert "ERROR it died of [masked]" in said


def test_what_buildx_itself_says_is_masked_also_where_a_pipe_broke_it() -> None:
    progress = masked_progress()
    pieces = [b"ERROR: " + b"x" * (LINE_LIMIT - 10) + SECRET[:5].encode(), SECRET[5:].encode() + b" is bad"]
    lines = [line for piece in pieces for line in lines_of(progress.feed(piece, now=1.0))]
    assert set("".join(texts(lines)).replace("[masked]", "")) <= set("ERROR: x is bad")
