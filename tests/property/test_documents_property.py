"""Whatever bytes a spec holds, reading it ends in a document or in diagnostics that point into the file."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.desired.documents import parse
from reconciler.desired.report import as_json, render_diagnostics
from reconciler.desired.run_view import config_digest, config_view
from reconciler.desired.schema_check import load_schema
from reconciler.desired.units import format_size, parse_duration, parse_size
from reconciler.desired.validation import SpecFile, validate

PLATFORM = SpecFile("p", b"apiVersion: gitstead/v1\nkind: Platform\ndomain: apps.example.com\n")
STOCK = Draft202012Validator(load_schema("project"))

fragments = st.sampled_from(
    ["a: ", "- ", "\n", "  ", "[", "]", "{", "}", ": ", ",", "&x ", "*x", "!!int ", "<<: ", "'", '"', "|\n", "? ", "#",
     "no", "0777", "22:22", "1.10", "~", "\t", "\r\n", "\ufeff", "---\n", "...\n", "%YAML 1.1\n",
     "\\u202e", "é", "\u2028",
     "apiVersion: gitstead/v1\n", "kind: Project\n", "run: ", "port: ", "env: ", "source: ", "domains: "]
)  # fmt: skip
yaml_like = st.lists(fragments | st.text(max_size=3), max_size=60).map("".join)

names = st.text(st.characters(codec="utf-8"), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))


def check_diagnostics(data: bytes) -> None:
    parsed = parse("f.yaml", data)
    assert parsed.document is not None or parsed.diagnostics
    lines = data.decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
    for each in parsed.diagnostics:
        assert 1 <= each.location.line <= len(lines)
        assert 1 <= each.location.column <= len(lines[each.location.line - 1]) + 1
        assert each.width >= 1
        assert each.message


@given(st.binary(max_size=300))
def test_random_bytes_end_in_a_document_or_in_places_inside_the_file(data: bytes) -> None:
    check_diagnostics(data)


@given(yaml_like)
@settings(max_examples=400)
def test_text_that_looks_like_yaml_ends_in_a_document_or_in_places_inside_the_file(text: str) -> None:
    check_diagnostics(text.encode("utf-8", "surrogatepass"))


@given(yaml_like)
@settings(max_examples=300)
def test_what_we_accept_the_stock_loader_reads_alike(text: str) -> None:
    parsed = parse("f.yaml", text.encode())
    if parsed.document is not None and not parsed.diagnostics:
        assert yaml.load(text, Loader=yaml.CSafeLoader) == parsed.document.value


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A good value, now and then anything."""
    return st.one_of(good, good, good, good, values)


durations = st.builds(
    lambda number, unit: f"{number}{unit}", st.integers(0, 5000), st.sampled_from(["ms", "s", "m", "h"])
)
sizes = st.builds(lambda number, unit: f"{number}{unit}", st.integers(1, 5000), st.sampled_from(["k", "m", "g"]))
hosts = st.from_regex(r"[a-z0-9-]{1,8}(\.[a-z]{2,6}){0,2}", fullmatch=True)
paths = st.from_regex(r"[a-z./-]{1,12}", fullmatch=True)
specs = st.fixed_dictionaries(
    {
        "apiVersion": st.just("gitstead/v1"),
        "kind": st.just("Project"),
        "source": mostly(
            st.fixed_dictionaries(
                {"repo": mostly(st.sampled_from(["/srv/x.git", "https://a.b/c", "git@a.b:c"]))},
                optional={"branch": mostly(paths), "path": mostly(paths)},
            )
        ),
        "build": st.fixed_dictionaries(
            {"type": st.sampled_from(["static", "flask", "dockerfile", "python"])},
            optional={"timeout": mostly(durations), "dockerfile": mostly(paths)},
        ),
    },
    optional={
        "run": mostly(
            st.fixed_dictionaries(
                {},
                optional={
                    "port": mostly(st.integers(1, 65535)),
                    "memory": mostly(sizes),
                    "cpus": mostly(st.floats(0.01, 512)),
                    "pids": mostly(st.integers(8, 32768)),
                    "env": mostly(st.dictionaries(st.from_regex(r"[A-Z_]{1,5}", fullmatch=True), scalars, max_size=3)),
                    "command": mostly(st.lists(st.text(max_size=8), max_size=3)),
                },
            )
        ),
        "health": mostly(st.fixed_dictionaries({}, optional={"path": mostly(paths), "timeout": mostly(durations)})),
        "domains": mostly(st.lists(hosts, max_size=3)),
        "deploy": mostly(st.fixed_dictionaries({}, optional={"drain": mostly(durations)})),
    },
)


@given(specs)
@settings(max_examples=400)
def test_what_we_accept_the_schema_that_editors_use_accepts(spec: dict[str, Any]) -> None:
    text = yaml.safe_dump(spec, allow_unicode=True)
    validation = validate({"platform.yaml": PLATFORM, "projects/blog.yaml": SpecFile("", text.encode())})
    if validation.projects:
        assert list(STOCK.iter_errors(spec)) == []
        assert validation.diagnostics == ()
        (project,) = validation.projects
        assert config_digest(project.run) == config_digest(project.run)
        assert all(isinstance(text, str) for _, text in config_view(project.run))
        assert project.domains
    else:
        assert all(each.project == "blog" for each in validation.diagnostics)
        assert validation.diagnostics


@given(
    st.dictionaries(st.text(max_size=12).map(lambda name: f"projects/{name}.yaml"), st.binary(max_size=80), max_size=4)
)
def test_any_repository_is_validated_and_printed(files: dict[str, bytes]) -> None:
    entries = {path: SpecFile("", data) for path, data in files.items()}
    validation = validate({"platform.yaml": PLATFORM, **entries})
    text = render_diagnostics(validation.diagnostics, len(entries), notes=validation.notes)
    assert "\x1b" not in text
    json.dumps(as_json(validation.diagnostics, len(entries)))
    assert not (validation.complete and validation.diagnostics and not validation.names)


@given(st.integers(0, 10**9 - 1))
def test_every_duration_and_size_is_read_back_as_it_was_written(number: int) -> None:
    assert round(parse_duration(f"{number}ms") * 1000) == number
    assert parse_size(format_size((number + 1) * 1024)) == (number + 1) * 1024
