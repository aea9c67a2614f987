"""The schemas are the reference and serve editors: each key explained, with examples that are themselves valid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.desired.rules import RULES
from reconciler.desired.schema_check import SchemaName, load_schema

NAMES: tuple[SchemaName, ...] = ("project", "platform", "host")


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every subschema that describes a value, with its dotted path."""
    yield path or "(top)", schema
    for key, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{key}".lstrip("."))
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from nodes(schema[keyword], f"{path}[]")
    for index, child in enumerate(schema.get("prefixItems", [])):
        yield from nodes(child, f"{path}[{index}]")


ALL = [(name, path, node) for name in NAMES for path, node in nodes(load_schema(name))]
IDS = [f"{name}:{path}" for name, path, _ in ALL]


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_a_valid_draft_2020_12_schema(name: SchemaName) -> None:
    schema = load_schema(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("name", "path", "node"), ALL, ids=IDS)
def test_every_key_has_a_description_a_sentence_for_errors_and_examples_that_are_valid(
    name: str, path: str, node: dict[str, Any]
) -> None:
    assert node["description"].endswith(".")
    assert node["errorMessage"]
    assert node["examples"]
    for example in [*node["examples"], *([node["default"]] if "default" in node else [])]:
        assert list(Draft202012Validator(node).iter_errors(example)) == []
        if "x-rule" in node and node["x-rule"] in RULES:
            assert RULES[node["x-rule"]](example, node) == ""


@pytest.mark.parametrize(("name", "path", "node"), ALL, ids=IDS)
def test_every_object_refuses_unknown_keys(name: str, path: str, node: dict[str, Any]) -> None:
    if node.get("type") == "object" and path not in (
        "run.env",
        "run.secrets",
        "build.args",
        "build.secrets",
        "credentials",
    ):
        assert node["additionalProperties"] is False


def patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "pattern" and isinstance(value, str):
                yield value
            else:
                yield from patterns(value)
    elif isinstance(schema, list):
        for each in schema:
            yield from patterns(each)


@pytest.mark.parametrize("pattern", sorted({each for name in NAMES for each in patterns(load_schema(name))}))
def test_every_pattern_is_anchored_and_takes_no_trailing_newline(pattern: str) -> None:
    """Trap 31: `$` alone accepts "abc" followed by a newline."""
    assert pattern.startswith("^")
    assert pattern.endswith(r"$(?!\n)")
    for sample in ("main", "/x", "256m", "20m", "a.b", "A", "unix:///x", "::1"):
        assert not re.search(pattern, f"{sample}\n")


@pytest.mark.parametrize("key", ["domains", "domain", "health.path"])
def test_what_reaches_caddy_takes_no_braces(key: str) -> None:
    """Trap 12: Caddy replaces placeholders in any text."""
    found = [node.get("items", node) for _, path, node in ALL if path == key]
    assert found
    for node in found:
        for text in ("{env.HOME}", "/{env.HOME}", "a{b", "a}b", "/a}"):
            assert list(Draft202012Validator(node).iter_errors(text))


def test_a_key_that_the_product_does_not_act_on_is_not_there() -> None:
    keys = {path for name, path, _ in ALL if name == "project" and "[" not in path}
    assert keys == {
        "(top)", "apiVersion", "kind", "source", "source.repo", "source.branch", "source.path",
        "source.watch", "source.credentials", "source.host_key",
        "build", "build.type", "build.timeout", "build.dockerfile", "build.args", "build.secrets",
        "run", "run.port", "run.memory", "run.cpus", "run.pids", "run.env", "run.secrets",
        "run.capabilities", "run.command",
        "health", "health.path", "health.timeout", "health.interval", "domains",
        "deploy", "deploy.rollback_window", "deploy.drain",
    }  # fmt: skip
