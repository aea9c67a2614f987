"""What strangers wrote is shown safely and honestly (trap 33, security row 69)."""

from __future__ import annotations

import pytest

from web.text import Span, plain, spans, visible

_CLASSES = {
    *(f"t-{name}" for name in ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")),
    *(f"t-{name}" for name in ("bold", "dim", "italic", "underline")),
}


def test_colours_of_a_terminal_become_classes() -> None:
    assert spans("\x1b[31;1mERROR:\x1b[0m no flsk") == (Span("t-red t-bold", "ERROR:"), Span("", " no flsk"))


def test_a_colour_lasts_until_it_is_reset() -> None:
    found = spans("\x1b[92mgood\x1b[4m under\x1b[24m\x1b[39m plain")
    assert found == (Span("t-green", "good"), Span("t-green t-underline", " under"), Span("", " plain"))


@pytest.mark.parametrize("codes", ["38;5;200", "38;2;1;2;3", "48;5;1", "38;5", "38", "999;1", ";;", "5"])
def test_colours_that_are_not_shown_swallow_no_text_and_invent_no_class(codes: str) -> None:
    found = spans(f"\x1b[{codes}mtext")
    assert "".join(span.text for span in found) == "text"
    assert {name for span in found for name in span.classes.split()} <= _CLASSES


def test_the_basic_colours_of_the_long_form_are_shown() -> None:
    assert spans("\x1b[38;5;9mred") == (Span("t-red", "red"),)


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
    assert plain("\x1b[32mok\x1b[0m \x1b[5n\r\n") == "ok ␛[5n"


def test_a_very_long_line_is_cut_and_says_so() -> None:
    found = spans("x" * 20_500)
    assert len(found[0].text) == 20_000
    assert "500 more characters" in found[1].text
