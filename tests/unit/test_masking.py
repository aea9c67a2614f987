"""Secrets disappear in every form that programs print them in, and nothing else does."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from reconciler.errors import SpecInvalid
from reconciler.masking import MASK, Masker

SECRET = 'pä55/w0rd "two"\\&+'
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n  kqhkiG9w0BAQEF\n}\n-----END KEY-----\n"


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(SECRET.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        quote_plus(SECRET),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        json.dumps(SECRET)[1:-1].replace("/", "\\/"),
    ],
)
def test_every_form_is_masked(form: str) -> None:
    if form == quote(SECRET, safe="").lower():
        form = quote(SECRET, safe="").replace("%C3%A4", "%c3%a4").replace("%2F", "%2f")
        form = form.replace("%5C", "%5c").replace("%2B", "%2b")
    assert Masker([SECRET]).mask(f"before {form} after") == f"before {MASK} after"


@pytest.mark.parametrize("before", ["", "u", "us", "user"])
def test_a_secret_inside_a_longer_base64_text_is_masked(before: str) -> None:
    whole = base64.b64encode(f"{before}:{SECRET}!".encode()).decode()
    masked = Masker([SECRET]).mask(whole)
    assert MASK in masked
    assert len(masked.replace(MASK, "")) < 14


def test_each_line_of_a_secret_is_masked_but_not_its_short_ones() -> None:
    masker = Masker([KEY])
    for line in KEY.splitlines():
        expected = line if line == "}" else line.replace(line.strip(), MASK)
        assert masker.mask(line) == expected
    assert masker.mask("if (x) { y }") == "if (x) { y }"


def test_the_longest_secret_wins() -> None:
    assert Masker(["pass", "password"]).mask("password pass") == f"{MASK} {MASK}"


def test_secrets_can_be_added_later() -> None:
    masker = Masker()
    assert masker.mask("hunter22") == "hunter22"
    masker.add("hunter22")
    masker.add("hunter22")
    assert masker.mask("is hunter22.") == f"is {MASK}."


@pytest.mark.parametrize("secret", ["", "abc", "  ab \n"])
def test_a_secret_too_short_to_hide_is_refused_without_being_told(secret: str) -> None:
    with pytest.raises(SpecInvalid, match="expected at least 4") as raised:
        Masker(["long enough", secret])
    assert "ab" not in str(raised.value).replace("be hidden", "").split("characters")[0]


def test_text_without_a_secret_is_untouched() -> None:
    assert Masker(["hunter22"]).mask("hunter 22, Hunter22 and hunter2") == "hunter 22, Hunter22 and hunter2"
