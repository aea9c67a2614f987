"""Compares a document with one of the schemas and says what is wrong in words for people.

Called by `validation`, and usable for `host.yaml`. Pure but for reading our own schemas at import.
jsonschema only finds the errors; the sentences are the schema's own (`errorMessage`, which editors show too)
or come from `rules`. The stock validator takes 1.0 for a whole number (research/security.md row 31); ours
does not.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from jsonschema import Draft202012Validator, ValidationError, validators

from reconciler.desired.documents import Document
from reconciler.desired.places import Path
from reconciler.desired.rules import RULES, how_to_write_command
from reconciler.desired.scalars import shorten
from reconciler.model.spec import Diagnostic
from reconciler.resources import resource

SchemaName = Literal["project", "platform", "host"]

_NOUNS: Mapping[SchemaName, str] = {"project": "a project", "platform": "the platform", "host": "the host file"}


def load_schema(name: SchemaName) -> dict[str, Any]:
    """One of the shipped schemas."""
    schema: dict[str, Any] = json.loads(resource("schemas", f"{name}.schema.json").read_text("utf-8"))
    return schema


def _is_whole_number(_checker: Any, instance: object) -> bool:
    return isinstance(instance, int) and not isinstance(instance, bool)


def _check_rule(_validator: Any, rule: str, instance: object, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if isinstance(instance, str) and rule in RULES:
        sentence = RULES[rule](instance, schema)
        if sentence:
            yield ValidationError(sentence)


_extend: Any = validators.extend
_Validator: Any = _extend(
    Draft202012Validator,
    {"x-rule": _check_rule},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_whole_number),
)
_VALIDATORS: Mapping[SchemaName, Any] = {name: _Validator(load_schema(name)) for name in _NOUNS}
_ORDER = {"type": 0, "x-rule": 1}


def check(document: Document, name: SchemaName) -> list[Diagnostic]:
    """Everything in the document that the schema refuses, one diagnostic for each place."""
    if document.value is None:
        example = "apiVersion: gitstead/v1" if name != "host" else "state: /var/lib/gitstead"
        return [document.diagnostic(document.place(()), f"the file is empty: write its keys, beginning with {example}")]
    errors: dict[tuple[Path, str], Any] = {}
    found = sorted(_VALIDATORS[name].iter_errors(document.value), key=lambda error: _ORDER.get(error.validator, 2))
    for error in found:
        path = tuple(error.absolute_path)
        group = error.validator if error.validator in _OF_CONTAINERS else "value"
        if "propertyNames" in error.absolute_schema_path:
            group = f"name {error.instance}"
        errors.setdefault((path, group), error)
    future = errors.get((("apiVersion",), "value"))
    if future is not None:
        errors = {(("apiVersion",), "value"): future}
    told = [each for (path, _), error in errors.items() for each in _say(document, name, path, error)]
    return sorted(told, key=lambda each: (each.location.line, each.location.column))


def _say(document: Document, name: SchemaName, path: Path, error: Any) -> list[Diagnostic]:
    if any(path[:length] in document.faulty for length in range(len(path) + 1)):
        return []
    if "propertyNames" in error.absolute_schema_path:
        return _bad_name(document, path, error)
    speak = _OF_CONTAINERS.get(str(error.validator))
    if speak is not None:
        return speak(document, name, path, error)
    value = error.instance
    sentence = _sentence(path, value, error)
    place = document.place(path)
    if isinstance(value, dict | list):
        place = document.keys.get(path, place)
    return [document.diagnostic(place, f"{dotted(path) or 'the file'} is {show(document, path, value)}: {sentence}")]


def _sentence(path: Path, value: object, error: Any) -> str:
    schema: Mapping[str, Any] = error.schema
    expected = str(schema.get("errorMessage", error.message))
    if error.validator == "x-rule":
        return str(error.message)
    if error.validator in _LIMITED:
        return f"at most {error.validator_value} {_LIMITED[error.validator]} are read here"
    if error.validator != "type":
        return expected
    if schema.get("x-rule") == "command" and isinstance(value, str):
        return f"a command is a list, since no shell reads it{how_to_write_command(value)}"
    return expected + _how_to_quote(value, str(schema["type"]), str(schema.get("x-rule")))


def _how_to_quote(value: object, wanted: str, rule: str) -> str:
    """What to do where the value has the wrong type, but what was meant can be told."""
    if isinstance(value, bool) and "string" in wanted:
        return f'; for the text write "{str(value).lower()}" in quotes'
    if value is None and "string" in wanted:
        return '; for an empty text write ""'
    if isinstance(value, int) and rule in _UNIT_FOR:
        return f"; it needs its unit: {value}{_UNIT_FOR[rule]}"
    if isinstance(value, int | float) and wanted == "string":
        return "; for a text write it in quotes"
    if isinstance(value, str) and value.isdigit() and wanted in ("integer", "number"):
        return f"; leave out the quotes: {value}"
    return ""


_UNIT_FOR = {"duration": "s", "size": "m"}
_LIMITED = {"maxLength": "characters", "maxItems": "entries", "maxProperties": "keys"}


def _unknown(document: Document, name: SchemaName, path: Path, error: Any) -> list[Diagnostic]:
    known = list(error.schema["properties"])
    told = []
    for key in error.instance:
        here = (*path, key)
        if key in known or here in document.faulty:
            continue
        near = difflib.get_close_matches(key.lower(), known, n=1)
        advice = f'Did you mean "{near[0]}"?' if near else f"Its keys are {', '.join(known)}."
        message = f'"{shorten(key)}" is not a key of {dotted(path) or _NOUNS[name]}. {advice}'
        told.append(document.diagnostic(document.keys.get(here, document.place(here)), message))
    return told


def _missing(document: Document, _name: SchemaName, path: Path, error: Any) -> list[Diagnostic]:
    schema: Mapping[str, Any] = error.schema
    told = []
    for key in schema["required"]:
        if key not in error.instance and (*path, key) not in document.faulty:
            node = schema["properties"][key]
            example = json.dumps(node["examples"][0], ensure_ascii=False)
            purpose = str(node["description"]).rstrip(".").split(". ")[0]
            message = f"{dotted((*path, key))} is missing ({purpose}): write for example {key}: {example}"
            told.append(document.diagnostic(document.keys.get(path, document.place(path)), message))
    return told


def _repeated(document: Document, _name: SchemaName, path: Path, error: Any) -> list[Diagnostic]:
    seen: dict[str, int] = {}
    told = []
    for index, item in enumerate(error.instance):
        first = seen.setdefault(json.dumps(item, sort_keys=True), index)
        if first != index:
            here = (*path, index)
            message = f"{dotted(here)} repeats {dotted((*path, first))}: remove one"
            told.append(document.diagnostic(document.place(here), message))
    return told


_OF_CONTAINERS = {"additionalProperties": _unknown, "required": _missing, "uniqueItems": _repeated}


def _bad_name(document: Document, path: Path, error: Any) -> list[Diagnostic]:
    key = str(error.instance)
    here = (*path, key)
    if here in document.faulty:
        return []
    schema: Mapping[str, Any] = error.schema
    sentence = "set run.port instead" if here == ("run", "env", "PORT") else schema.get("errorMessage", error.message)
    message = f'"{shorten(key)}" cannot be a name in {dotted(path)}: {sentence}'
    return [document.diagnostic(document.keys.get(here, document.place(here)), message)]


def dotted(path: Path) -> str:
    """The path as people write it: `run.capabilities[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def show(document: Document, path: Path, value: object) -> str:
    """The value as it stands in the file, short, and without a password that a URL may carry."""
    if value is None:
        return "empty"
    if isinstance(value, dict | list):
        return ("a list" if isinstance(value, list) else "a mapping") if value else "empty"
    if path in document.numbers:
        return shorten(document.numbers[path])
    if isinstance(value, str) and "://" in value and "@" in value:
        value = value[: value.index("://") + 3] + "…" + value[value.rindex("@") :]
    return shorten(json.dumps(value, ensure_ascii=False))
