"""A change of run settings is told with its field, both values and its place."""

from __future__ import annotations

from reconciler.model.spec import BuildSpec, Location, ProjectSpec, SourceSpec
from reconciler.plan.causes import describe_change, size

SPEC = ProjectSpec(
    "blog",
    "b1",
    SourceSpec("/srv/blog.git"),
    BuildSpec("static"),
    locations={"run.memory": Location("projects/blog.yaml", 6), "run.env.NEW": Location("projects/blog.yaml", 7)},
)


def test_a_change_is_told_with_field_both_values_and_place() -> None:
    before = {"run.memory": "256m", "run.env.GONE": "x", "run.env.EMPTY": "y"}
    after = {"run.memory": "512m", "run.env.EMPTY": "", "run.env.NEW": "z"}
    assert describe_change(before, after, SPEC) == [
        "run.memory 256m → 512m (projects/blog.yaml:6)",
        'run.env.EMPTY y → ""',
        "run.env.NEW unset → z (projects/blog.yaml:7)",
        "run.env.GONE x → unset",
    ]


def test_equal_settings_tell_nothing() -> None:
    assert describe_change({"run.memory": "1g"}, {"run.memory": "1g"}, SPEC) == []


def test_settings_known_by_digest_alone_tell_nothing() -> None:
    assert describe_change({}, {"run.memory": "1g"}, SPEC) == []


def test_a_size_is_said_as_a_spec_writes_it() -> None:
    assert [size(each) for each in (2**30, 64 * 2**20, 2**20 + 1, 0)] == ["1g", "64m", "1048577 bytes", "0 bytes"]
