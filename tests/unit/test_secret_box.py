"""Sealed values open in the one place that they were sealed for, with one of our keys, and tell nothing otherwise."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.adapters.secret_box import (
    LONGEST_VALUE,
    SecretBox,
    add_identity,
    ensure_keys,
    recipients_of,
    seal,
    unseal,
)
from reconciler.errors import GitsteadError, HostUnfit, SecretUnreadable, SpecInvalid
from reconciler.masking import Masker
from reconciler.model.operation import PLATFORM

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "sealed.json").read_text())
PLACE = {"kind": "run-secret", "project": "blog", "key": "DB"}


def named(vectors: list[dict[str, str]]) -> list[Any]:
    return [pytest.param(each, id=each["name"]) for each in vectors]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    ensure_keys(folder)
    return folder


@pytest.fixture
def vector_keys(keys: Path) -> Path:
    (keys / "identity").write_text("# for tests\n" + "\n".join(VECTORS["identities"]) + "\n")
    return keys


def sealed_for(keys: Path, value: str = "hunter22", **place: str) -> str:
    return seal(value, recipients=recipients_of(keys)[:1], **(PLACE | place))


@pytest.mark.parametrize("vector", named(VECTORS["opens"]))
def test_what_must_open_opens(vector_keys: Path, vector: dict[str, str]) -> None:
    place = {name: vector[name] for name in ("kind", "project", "key")}
    masker = Masker()
    assert SecretBox(vector_keys, masker).open(vector["sealed"], **place) == vector["value"]
    assert vector["value"] not in masker.mask(f"it is {vector['value']}.")
    inside = unseal(vector["sealed"], vector_keys)
    assert "\n".join(("gitstead/v1", *inside)) == vector["plain"]


@pytest.mark.parametrize("vector", named(VECTORS["refused"]))
def test_what_must_not_open_is_refused_without_a_word_of_it(vector_keys: Path, vector: dict[str, str]) -> None:
    place = {name: vector[name] for name in ("kind", "project", "key")}
    with pytest.raises(SecretUnreadable, match=vector["why"]) as raised:
        SecretBox(vector_keys, Masker()).open(vector["sealed"], **place)
    assert f"{place['kind']} {place['key']} of {place['project']}" in str(raised.value)
    error: BaseException | None = raised.value
    while error is not None:
        assert "hunter" not in f"{error!r} {vars(error)}"
        error = error.__cause__ or error.__context__


def test_a_sealed_text_of_any_length_costs_nothing(vector_keys: Path) -> None:
    with pytest.raises(SecretUnreadable, match="no sealed value"):
        SecretBox(vector_keys, Masker()).open("age:" + "A" * VECTORS["sealed_limit_characters"], **PLACE)


def test_the_recipients_of_the_vectors_are_ours(vector_keys: Path) -> None:
    assert list(recipients_of(vector_keys)) == VECTORS["recipients"]


@pytest.mark.parametrize("vector", named(VECTORS["values_refused"]))
def test_a_value_that_cannot_be_kept_or_hidden_is_not_sealed(keys: Path, vector: dict[str, str]) -> None:
    with pytest.raises(SpecInvalid, match="the value"):
        sealed_for(keys, vector["value"])


def test_the_longest_value_is_sealed_and_what_is_longer_refused(keys: Path) -> None:
    longest = "ä" * (VECTORS["value_limit_bytes"] // 2)
    assert len(longest.encode()) == LONGEST_VALUE
    sealed = sealed_for(keys, longest)
    assert len(sealed) <= VECTORS["sealed_limit_characters"]
    assert SecretBox(keys, Masker()).open(sealed, **PLACE) == longest
    with pytest.raises(SpecInvalid, match="65537 bytes"):
        sealed_for(keys, longest + "x")


@pytest.mark.parametrize("place", [{"kind": "secret"}, {"project": ""}, {"key": "A\nB"}, {"project": "a\nb"}])
def test_only_places_that_fit_on_a_line_are_sealed_for(keys: Path, place: dict[str, str]) -> None:
    with pytest.raises(SpecInvalid, match="no place for a sealed value"):
        sealed_for(keys, **place)


def test_what_is_no_recipient_is_refused(keys: Path) -> None:
    with pytest.raises(SpecInvalid, match="'age1zzz' is no recipient"):
        seal("hunter22", recipients=["age1zzz"], **PLACE)


def test_the_key_files_are_for_their_owner_alone_and_made_once(keys: Path) -> None:
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (keys, *keys.iterdir())}
    assert modes == {"keys": 0o700, "identity": 0o600, "mark": 0o600}
    before = {each.name: each.read_bytes() for each in keys.iterdir()}
    ensure_keys(keys)
    assert {each.name: each.read_bytes() for each in keys.iterdir()} == before


def test_many_at_once_make_one_key(tmp_path: Path) -> None:
    makers = [threading.Thread(target=ensure_keys, args=(tmp_path / "keys",)) for _ in range(8)]
    for each in makers:
        each.start()
    for each in makers:
        each.join()
    assert len(recipients_of(tmp_path / "keys")) == 1
    assert {each.name for each in (tmp_path / "keys").iterdir()} == {"identity", "mark"}


def test_after_a_rotation_the_newest_comes_first_and_all_open(keys: Path) -> None:
    box = SecretBox(keys, Masker())
    old, first = sealed_for(keys), recipients_of(keys)
    assert box.open(old, **PLACE) == "hunter22"
    generation = box.generation()
    add_identity(keys)
    newest, *rest = recipients_of(keys)
    assert tuple(rest) == first
    assert newest not in first
    assert box.generation() != generation
    assert box.open(sealed_for(keys), **PLACE) == box.open(old, **PLACE) == "hunter22"


def test_a_key_that_comes_back_opens_again_without_a_restart(keys: Path) -> None:
    box, sealed = SecretBox(keys, Masker()), sealed_for(keys)
    kept = (keys / "identity").read_bytes()
    assert box.open(sealed, **PLACE) == "hunter22"
    (keys / "identity").unlink()
    with pytest.raises(SecretUnreadable, match=r"DB of blog cannot be opened: the key file .*identity cannot be read"):
        box.open(sealed, **PLACE)
    ensure_keys(keys)
    with pytest.raises(SecretUnreadable, match="cannot be opened with this platform's key"):
        box.open(sealed, **PLACE)
    (keys / "identity").write_bytes(kept)
    assert box.open(sealed, **PLACE) == "hunter22"


@pytest.mark.parametrize("content", [b"", b"# only this\n", b"AGE-SECRET-KEY-1NONE\n", b"\xff\xfe"])
def test_a_damaged_key_file_is_named_and_not_quoted(keys: Path, content: bytes) -> None:
    sealed = sealed_for(keys)
    (keys / "identity").write_bytes(content)
    for action in (lambda: SecretBox(keys, Masker()).open(sealed, **PLACE), lambda: add_identity(keys)):
        with pytest.raises((SecretUnreadable, HostUnfit), match="identity is damaged") as raised:
            action()
        assert "1NONE" not in str(raised.value)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(HostUnfit, match="keys, cannot be written"):
        ensure_keys(tmp_path / "keys")


def test_a_mark_changes_with_the_plaintext_and_with_nothing_else(keys: Path) -> None:
    box = SecretBox(keys, Masker())
    first, again, other = sealed_for(keys), sealed_for(keys), sealed_for(keys, "hunter23")
    assert first != again
    mark = box.mark(first, **PLACE)
    assert (len(mark), int(mark, 16) >= 0) == (8, True)
    assert box.mark(again, **PLACE) == mark != box.mark(other, **PLACE)
    add_identity(keys)
    assert SecretBox(keys, Masker()).mark(sealed_for(keys), **PLACE) == mark


def test_equal_values_of_two_projects_do_not_show_as_equal(keys: Path) -> None:
    box = SecretBox(keys, Masker())
    shop = PLACE | {"project": "shop"}
    assert box.mark(sealed_for(keys), **PLACE) != box.mark(sealed_for(keys, project="shop"), **shop)


def test_marks_of_another_host_are_others_so_that_nobody_can_try_values(keys: Path, tmp_path: Path) -> None:
    ensure_keys(tmp_path / "other")
    (tmp_path / "other" / "identity").write_bytes((keys / "identity").read_bytes())
    sealed = sealed_for(keys)
    marks = {SecretBox(each, Masker()).mark(sealed, **PLACE) for each in (keys, tmp_path / "other")}
    assert len(marks) == 2


def test_a_missing_key_of_the_marks_is_named(keys: Path) -> None:
    sealed = sealed_for(keys)
    (keys / "mark").unlink()
    with pytest.raises(SecretUnreadable, match=r"needs .*mark, which cannot be read"):
        SecretBox(keys, Masker()).mark(sealed, **PLACE)


@pytest.mark.parametrize("content", ["", "\n", "0123456789abcdef\n"])
def test_a_damaged_key_of_the_marks_is_no_key_that_others_could_guess(keys: Path, content: str) -> None:
    sealed, box = sealed_for(keys), SecretBox(keys, Masker())
    before, good = box.generation(), (keys / "mark").read_text()
    (keys / "mark").write_text(content)
    with pytest.raises(SecretUnreadable, match=r"needs .*mark, which is damaged"):
        box.mark(sealed, **PLACE)
    damaged = box.generation()
    (keys / "mark").write_text(good)
    assert len({before, damaged, box.generation()}) == 3, "the loop tries again by itself"
    assert len(box.mark(sealed, **PLACE)) == 8


def test_what_opens_is_masked_even_where_it_does_not_belong(keys: Path) -> None:
    masker = Masker()
    with pytest.raises(SecretUnreadable):
        SecretBox(keys, masker).open(sealed_for(keys), **(PLACE | {"project": "shop"}))
    assert masker.mask("hunter22") == "[masked]"


def test_a_project_s_masker_learns_what_was_opened_for_it_and_nothing_else(keys: Path) -> None:
    """Invariant 6: neither another's values nor credentials, nor a text that somebody copied or sealed for another."""
    everything = Masker()
    box = SecretBox(keys, everything)
    blog, shop = box.masker_of("blog"), box.masker_of("shop")
    box.mark(sealed_for(keys, "of-the-blog"), **PLACE)
    box.open(sealed_for(keys, "to-build-it", kind="build-secret"), **(PLACE | {"kind": "build-secret"}))
    for project in ("shop", "*"):
        with pytest.raises(SecretUnreadable):
            box.open(sealed_for(keys, "of-the-blog"), **(PLACE | {"project": project}))
    token = {"kind": "credential", "project": "*", "key": "forge"}
    box.open(sealed_for(keys, "a-token-of-all", **token), **token)
    said = "of-the-blog, to-build-it, a-token-of-all"
    assert box.masker_of("blog") is blog
    assert blog.mask(said) == "[masked], [masked], a-token-of-all"
    assert shop.mask(said) == said
    assert everything.mask(said) == "[masked], [masked], [masked]"
    assert box.masker_of(PLATFORM) is everything


@pytest.mark.parametrize("call", [lambda box, text: box.open(text, **PLACE), lambda box, text: box.mark(text, **PLACE)])
def test_no_error_holds_the_sealed_text_either(keys: Path, call: Callable[[SecretBox, str], str]) -> None:
    text = "age:" + "QUJD" * 50
    with pytest.raises(GitsteadError) as raised:
        call(SecretBox(keys, Masker()), text)
    assert "QUJD" not in str(raised.value)
