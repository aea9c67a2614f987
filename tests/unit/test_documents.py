"""Reading YAML: every bad input is refused with its place (research/security.md row 30; section 4, rows 1-4)."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import yaml

from reconciler.desired import reading
from reconciler.desired.documents import MAX_BYTES, Document, parse


def read(text: str) -> Document:
    parsed = parse("projects/blog.yaml", text.encode())
    assert parsed.diagnostics == ()
    assert parsed.document is not None
    return parsed.document


def problems(data: bytes | str) -> list[str]:
    data = data.encode() if isinstance(data, str) else data
    return [str(each) for each in parse("f.yaml", data).diagnostics]


def test_a_document_knows_where_each_value_and_key_stands() -> None:
    document = read("run:\n  port: 8000\n  env: {A: b}\ndomains:\n  - a.b\n")
    assert document.value == {"run": {"port": 8000, "env": {"A": "b"}}, "domains": ["a.b"]}
    assert str(document.location(("run", "port"))) == "projects/blog.yaml:2:9"
    assert document.places["run", "port"].width == 4
    assert document.keys["run", "port"][:2] == (2, 3)
    assert str(document.location(("domains", 0))) == "projects/blog.yaml:5:5"
    assert str(document.location(("run", "memory"))) == "projects/blog.yaml:2:3"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: text", "text"),
        ("a: 12", 12),
        ("a: -3", -3),
        ("a: 0.5", 0.5),
        ("a: .5", 0.5),
        ("a: true", True),
        ("a: False", False),
        ("a:", None),
        ("a: ~", None),
        ('a: "no"', "no"),
        ("a: '0777'", "0777"),
        ("a: |\n  two\n  lines\n", "two\nlines\n"),
        ("a: 1.2.3", "1.2.3"),
        ("a: 3f9c1e2", "3f9c1e2"),
        ("a: north", "north"),
        ("a: git@host:x", "git@host:x"),
        ("\ufeffa: b\r\n", "b"),
        ("---\na: b\n...\n", "b"),
    ],
)
def test_plain_values_are_read_as_everyone_reads_them(text: str, value: object) -> None:
    assert read(text).value == {"a": value}


def test_how_a_number_was_written_is_kept() -> None:
    assert read("a: 1.10").numbers == {("a",): "1.10"}


@pytest.mark.parametrize(
    ("scalar", "said"),
    [
        ("no", 'the boolean false to some YAML readers: write "no" for the text, or false'),
        ("Yes", 'write "Yes" for the text, or true'),
        ("on", "the boolean true"),
        ("22:22", 'base 60 by some YAML readers: write "22:22"'),
        ("0777", 'octal number by some YAML readers: write "0777"'),
        ("0o17", "octal"),
        ("0x1F", "hexadecimal"),
        ("089", "leading zero"),
        ("1_000", "separators"),
        ("1e5", "a number by some YAML readers, text by others"),
        ("2024-01-01", "a date"),
        (".inf", "infinity"),
        ("-.INF", "infinity"),
        (".nan", "not-a-number"),
        ("=", "default value"),
        ("9" * 5000, "5000 characters is too long"),
        ("0." + "9" * 5000, "too long"),
    ],
)
def test_a_scalar_that_readers_disagree_on_is_refused_with_how_to_write_it(scalar: str, said: str) -> None:
    (problem,) = problems(f"a: 1\nb: {scalar}\n")
    assert problem.startswith("f.yaml:2:4 ")
    assert said in problem


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "f.yaml:1:1 the file is empty"),
        (b"# nothing\n\n", "f.yaml:1:1 the file is empty"),
        (b"a: 1\na: 2\n", 'f.yaml:2:1 "a" stands twice, first at f.yaml:1:1: keep one'),
        (b"a: 1\n---\nb: 2\n", "f.yaml:2:1 a second document begins here"),
        (b"a:\n\tb: 1\n", "f.yaml:2:1 a tab indents this line"),
        (b"a: [1\n", "f.yaml:2:1 not YAML: did not find expected ',' or ']'"),
        (b"a: b: c\n", "f.yaml:1:5 not YAML: mapping values are not allowed in this context"),
        (b"a: 1\na: 2\na: 3\n", "stands twice"),
        (b"a: 'b\n", "a quote or bracket is not closed"),
        (b"a: @b\n", "needs quotes"),
        (b"a: \xff\n", "f.yaml:1:4 byte 0xff is not UTF-8"),
        ("a: b\n".encode("utf-16"), "UTF-16"),
        ("a: b\n".encode("utf-16-le"), "UTF-16"),
        ("a: b\n".encode("utf-32-be"), "UTF-16 or UTF-32"),
        (b"a: b\0\n", "f.yaml:1:5 U+0000, a control character"),
        (b"a: \x1b[2J\n", "U+001B"),
        ("a: \u202e\n".encode(), "U+202E, a text-direction or zero-width character"),
        ("a: b\n\u200bc: d\n".encode(), "f.yaml:2:1 U+200B"),
        (b"a: b\rc: d\n", "f.yaml:1:5 U+000D"),
        (b'a: "\\u202e"\n', "f.yaml:1:4 U+202E"),
        (b'a: "\\0"\n', "U+0000"),
        (b'"\\e": 1\n', "U+001B"),
        (b"a: &x 1\n", "f.yaml:1:4 &x is a YAML anchor"),
        (b"a: *x\n", "f.yaml:1:4 *x is a YAML alias"),
        (b"<<: {a: 1}\n", "<< is a YAML merge key"),
        (b"a: !!python/object:os.system x\n", "f.yaml:1:4 tag tag:yaml.org,2002:python/object:os.system is refused"),
        (b"a: !!str 1\n", "is refused"),
        (b"a: ! 1\n", "is refused"),
        (b"%YAML 1.1\n---\na: 1\n", "% directive"),
        (b"? [a]\n: b\n", "in the place of a key"),
        (b'"": 1\n', "a key is missing"),
        (b"1.10: a\n", 'f.yaml:1:1 1.10 is no word, and a key is one: write "1.10" in quotes'),
        (b"~: a\n", "is no word"),
        (b"no: 1\n", "f.yaml:1:1 no without quotes is the boolean"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"a" * (MAX_BYTES + 1), "larger than 256 KiB"),
        (b"[" * 33, "f.yaml:1:33 nested deeper than 32 levels"),
        (b"a: [" + b"1," * 11000 + b"]", "more than 10000 keys and values"),
    ],
)
def test_bad_text_is_refused_with_its_place(data: bytes, said: str) -> None:
    assert said in problems(data)[0]


def test_all_problems_of_a_file_are_told_at_once_and_the_rest_is_still_read() -> None:
    parsed = parse("f.yaml", b"a: no\nb: 1\nb: 2\nc: 0777\nd: fine\n")
    assert [each.location.line for each in parsed.diagnostics] == [1, 3, 4]
    assert parsed.document is not None
    assert parsed.document.value == {"a": "no", "b": 1, "c": "0777", "d": "fine"}
    assert ("a",) in parsed.document.faulty


def test_a_file_full_of_problems_is_given_up_after_fifty() -> None:
    assert len(problems("a: no\n" + "".join(f"k{n}: no\n" for n in range(500)))) == reading.MAX_PROBLEMS


def test_a_password_in_a_url_is_hidden_in_the_excerpt() -> None:
    (diagnostic,) = parse("f.yaml", b"a: &x https://ana:hunter2@host/x.git\n").diagnostics
    assert "hunter2" not in diagnostic.excerpt
    assert len(diagnostic.excerpt) == len("a: &x https://ana:hunter2@host/x.git")


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? ", "[{a: "])
@pytest.mark.parametrize(("loader", "limit_s"), [("CSafeLoader", 1), ("SafeLoader", 5)])
def test_deep_nesting_is_refused_at_once_by_either_parser(
    opening: str, loader: str, limit_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_Loader", getattr(yaml, loader))
    data = (opening * (MAX_BYTES // len(opening))).encode()
    began = time.process_time()
    told = problems(data)
    assert time.process_time() - began < limit_s
    assert any("nested deeper than 32 levels" in each or "in the place of a key" in each for each in told), told[:3]


_BOMB = """
import resource, sys, time
from reconciler.desired.documents import parse
lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.process_time()
bombs = ["\\n".join(lines), "[" * 250_000, "a: " + "9" * 250_000, "{a: " * 60_000, "x: 1\\n" * 40_000]
for data in [*bombs, "- 1\\n" * 60_000]:
    assert parse("f.yaml", data.encode()).diagnostics, data[:20]
assert parse("f.yaml", b"a" * 50_000_000).diagnostics
print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_bombs_of_every_kind_end_within_a_second_and_100_mb() -> None:
    finished = subprocess.run([sys.executable, "-c", _BOMB], capture_output=True, text=True, check=False, timeout=30)
    assert finished.returncode == 0, finished.stderr
    seconds, kib = finished.stdout.split()
    assert float(seconds) < 1
    assert int(kib) < 100_000
