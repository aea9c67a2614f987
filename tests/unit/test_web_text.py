"""What strangers wrote is shown safely and honestly (trap 33, security row 69)."""

from __future__ import annotations

import re

import pytest

from reconciler.model.terminal import coloured, plain, visible
from web.text import Span, spans

_CLASSES = {
    *(f"t-{name}" for name in ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")),
    *(f"on-{name}" for name in ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")),
    *(f"t-{name}" for name in ("bold", "dim", "italic", "underline", "inverse")),
}


def test_colours_of_a_terminal_become_classes() -> None:
    assert spans("\x1b[31;1mERROR:\x1b[0m no flsk") == (Span("t-red t-bold", "ERROR:"), Span("", " no flsk"))


def test_a_line_that_changes_its_colour_with_each_letter_is_bounded_and_whole() -> None:
    found = spans("\x1b[31ma\x1b[32mb" * 1000)
    assert len(found) <= 201
    assert "".join(span.text for span in found) == "ab" * 1000
    assert {span.classes for span in found} == {"t-red", "t-green"}


def test_a_colour_lasts_until_it_is_reset() -> None:
    found = spans("\x1b[92mgood\x1b[4m under\x1b[24m\x1b[39m plain")
    assert found == (Span("t-green", "good"), Span("t-green t-underline", " under"), Span("", " plain"))


@pytest.mark.parametrize(
    "codes",
    ["38;5;200", "38;2;1;2;3", "48;5;1", "38;5", "38", "38;5;999", "38;9;1;2;3", "999;1", ";;", "5", "98", "109"],
)
def test_colours_of_any_form_swallow_no_text_and_invent_no_class(codes: str) -> None:
    found = spans(f"\x1b[{codes}mtext")
    assert "".join(span.text for span in found) == "text"
    assert {name for span in found for name in span.classes.split()} <= _CLASSES


@pytest.mark.parametrize(
    ("codes", "classes"),
    [
        ("38;5;9", "t-red"),
        ("38;5;196", "t-red"),
        ("38;5;46", "t-green"),
        ("38;5;208", "t-yellow"),
        ("38;5;27", "t-blue"),
        ("38;5;232", "t-black"),
        ("38;5;255", "t-white"),
        ("38;2;255;0;255", "t-magenta"),
        ("38;2;0;200;200", "t-cyan"),
        ("41;97;1", "t-white on-red t-bold"),
        ("48;5;22", "on-green"),
        ("7", "t-inverse"),
        ("7;27", ""),
        ("31;39;41;49", ""),
    ],
)
def test_many_colours_become_the_nearest_of_eight(codes: str, classes: str) -> None:
    assert spans(f"\x1b[{codes}mtext") == (Span(classes, "text"),)


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x1b[2K", "␛[2K"),
        ("a\rb", "a␍b"),
        ("\x00\x7f", "␀␡"),
        ("user\u202etxt.exe", "user\u2039U+202E\u203atxt.exe"),
        ("\u2066x\u2069", "\u2039U+2066\u203ax\u2039U+2069\u203a"),
        ("zero\u200bwidth", "zero\u2039U+200B\u203awidth"),
        ("tab\tand\nline stay", "tab\tand\nline stay"),
        ("naïve 日本 👩‍💻", "naïve 日本 👩‍💻"),
    ],
)
def test_what_is_invisible_is_shown_as_a_sign(hidden: str, shown: str) -> None:
    assert visible(hidden) == shown


def test_the_plain_form_can_be_printed_in_a_terminal() -> None:
    assert plain("\x1b[32mok\x1b[0m \x1b]0;title\x07\r\n") == "ok ␛]0;title␇"


HOSTILE = [
    ("\x1b]8;;javascript:alert(1)\x1b\\click\x1b]8;;\x1b\\", "␛]8;;javascript:alert(1)␛\\click␛]8;;␛\\"),
    ("\x1b[2K\x1b[1G\x1b[?25lhidden", "hidden"),
    ("\x1b[\x1b[2K31mjoined", "joined"),
    ("\x1bP1$r\x1b\\", "␛P1$r␛\\"),
    ("\x9b31m", "\u2039U+009B\u203a31m"),
    ("a\rb\x08c", "a␍b␈c"),
    ("\u202egnp.exe", "\u2039U+202E\u203agnp.exe"),
]


@pytest.mark.parametrize(("line", "told"), HOSTILE)
def test_nothing_but_colour_reaches_a_terminal_or_a_page(line: str, told: str) -> None:
    """Cursor and modes are left out; links, titles and whatever else is hidden is shown."""
    assert plain(line) == told
    assert "".join(span.text for span in spans(line)) == told
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured(line)) == told


def test_the_coloured_form_ends_in_plain_style() -> None:
    assert coloured("\x1b[31mred") == "\x1b[31mred\x1b[0m"
    assert coloured("no colour") == "no colour"


def test_a_very_long_line_is_cut_and_says_so() -> None:
    found = spans("x" * 20_500)
    assert len(found[0].text) == 20_000
    assert "500 more characters" in found[1].text
