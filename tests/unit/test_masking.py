"""Secrets disappear in every form that programs print them in, and nothing else does."""

from __future__ import annotations

import base64
import itertools
import json
import random
from urllib.parse import quote, quote_plus

import pytest

from reconciler.errors import SpecInvalid
from reconciler.masking import MASK, Masker, PieceMasker, forms

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
        json.dumps(SECRET)[1:-1].replace("&", "\\u0026"),
        repr(SECRET)[1:-1],
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


def test_secrets_that_overlap_are_hidden_as_one_so_that_no_end_shows() -> None:
    masker = Masker(["abcdefgh", "efghijkl", "xyxyx"])
    assert masker.mask("1 abcdefghijkl 2") == f"1 {MASK} 2"
    assert masker.mask("abcdefghabcdefgh") == MASK * 2
    assert masker.mask("a xyxyxyx b") == f"a {MASK} b"


def test_base64_that_a_program_wrapped_is_masked_line_by_line() -> None:
    secret = "".join(f"{n:x}-" for n in range(1000, 1060))
    masker = Masker([secret])
    for lines in (base64.encodebytes(secret.encode()).decode().split(), base64_at_64(secret)):
        assert len(lines) > 2
        assert {masker.mask(line) for line in lines} == {MASK}


def base64_at_64(secret: str) -> list[str]:
    whole = base64.b64encode(secret.encode()).decode()
    return [whole[at : at + 64] for at in range(0, len(whole), 64)]


def test_many_secrets_are_found_wherever_they_stand() -> None:
    """Against the plain way of looking for each form in turn."""
    chance = random.Random(7)  # noqa: S311 - texts to try, no keys
    letters = "abAB01-_/+= "
    for _ in range(60):
        secrets = ["".join(chance.choices(letters, k=chance.randint(4, 14))) for _ in range(6)]
        secrets = [each for each in secrets if len(each.strip()) >= 4]
        known = {form for each in secrets for form in forms(each)}
        words = [*secrets, *chance.sample(sorted(known), min(4, len(known)))]
        text = "".join(chance.choice([*words, *letters]) for _ in range(40))
        hidden = [False] * len(text)
        for form in known:
            for at in range(len(text) - len(form) + 1):
                if text.startswith(form, at):
                    hidden[at : at + len(form)] = [True] * len(form)
        shown = "".join(letter for letter, is_hidden in zip(text, hidden, strict=True) if not is_hidden)
        assert Masker(secrets).mask(text).replace(MASK, "") == shown


# ---- pieces -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [(at,) for at in range(1, 34)] + [(10, 13), (9, 10), (12, 25), (1, 2), (11, 12, 14)])
def test_no_letter_of_a_secret_shows_however_its_line_came_apart(cuts: tuple[int, ...]) -> None:
    pieces = PieceMasker(Masker(["SECRETSECRETS"]))
    text = "ab .... a. SECRETSECRETS .a.. .end"
    edges = [0, *cuts, len(text)]
    masked = [
        pieces.mask(text[begin:end], origin="stdout", ends=end == len(text)) for begin, end in itertools.pairwise(edges)
    ]
    assert set("".join(masked).replace(MASK, "")) <= set("abend. ")
    assert pieces.mask("SECRETS may stand here", origin="stdout", ends=True) == "SECRETS may stand here"


def test_pieces_of_one_origin_are_not_those_of_another() -> None:
    pieces = PieceMasker(Masker(["SECRETSECRET"]))
    assert pieces.mask("out SECRET", origin="stdout", ends=False) == f"out {MASK}"
    assert pieces.mask("SECRET err", origin="stderr", ends=True) == "SECRET err"
    assert pieces.is_torn("stdout")
    assert pieces.mask("SECRET out", origin="stdout", ends=True) == f"{MASK} out"
    assert not pieces.is_torn("stdout")


def test_a_piece_out_of_the_middle_of_a_long_secret_is_hidden_whole() -> None:
    secret = "".join(f"{n:x}." for n in range(5000))
    pieces = PieceMasker(Masker([secret]))
    for at in range(0, len(secret), 7000):
        piece = secret[at : at + 7000]
        assert pieces.mask(piece, origin="o", ends=at + 7000 >= len(secret)) == MASK


# ---- values -------------------------------------------------------------------------------------


def test_texts_inside_values_are_masked_and_their_keys_are_not() -> None:
    masker = Masker(["hunter22"])
    given = {"hunter22": "is hunter22", "list": ["hunter22", 22], "pair": ("hunter22", None), "none": None, "yes": True}
    assert masker.mask_values(given) == {
        "hunter22": f"is {MASK}",
        "list": [MASK, 22],
        "pair": (MASK, None),
        "none": None,
        "yes": True,
    }
