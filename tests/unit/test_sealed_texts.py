"""Sealed values are found in every way that YAML can write them on one line, and replaced without another change."""

from __future__ import annotations

import pytest

from reconciler.desired.sealed_texts import find_sealed, replace_sealed

WAYS = """\
# age:QUJD in a comment
run:
  secrets: {A: age:AAAA, B: "age:BBBB==", Ü: 'age:CCCC'}   # age:QUJD
  folded: >-
      age:DDDD
  block: |-
    age:EEEE
list: [x, age:FFFF, ["age:GGGG"], {deep: age:HHHH}]
twice: age:AAAA
number: 7
not: ['age:', "age:no base64", 'an age:QUJD inside', AGE:QUJD]
"""


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "with a byte order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_each_is_found_in_its_place_and_nothing_else_is_touched(start: str, end: str) -> None:
    data = (start + WAYS.replace("\n", end)).encode()
    found, problems = find_sealed("f.yaml", data)
    assert problems == ()
    assert [each.text[4] for each in found] == list("ABCDEFGHA")
    assert [each.location.line for each in found] == [3, 3, 3, 4, 6, 8, 8, 8, 9]
    assert replace_sealed(data, {each: each.text for each in found}) == data
    longer = {each: f"age:{each.text[4].lower() * (12 + index)}" for index, each in enumerate(found)}
    replaced = replace_sealed(data, longer)
    assert [each.text for each in find_sealed("f.yaml", replaced)[0]] == list(longer.values())
    undone = replaced.decode()
    for old, new in longer.items():
        undone = undone.replace(new, old.text, 1)
    assert undone.encode() == data


@pytest.mark.parametrize(
    "text",
    ['a: "age:AAAA\\\n  BBBB"\n', 'a: "\\x61ge:AAAA"\n', 'a: "age:AAAA\\u0042"\n'],
    ids=["over two lines", "escaped", "escaped at its end"],
)
def test_one_that_stands_there_in_other_letters_is_a_problem(text: str) -> None:
    found, problems = find_sealed("f.yaml", text.encode())
    assert found == ()
    assert [str(each) for each in problems] == [
        "f.yaml:1:4 this sealed value is written over several lines or with escapes: put it on one, as it was printed"
    ]


@pytest.mark.parametrize("data", [b"a: [", b"a: &x age:AAAA\n", b"\xff", b""])
def test_a_file_that_is_no_document_of_ours_is_a_problem(data: bytes) -> None:
    found, problems = find_sealed("f.yaml", data)
    assert found == ()
    assert problems
