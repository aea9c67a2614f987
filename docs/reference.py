"""Writes docs/reference.md from the program itself: commands, keys, settings, reasons and states.

Run by hand after a change (`.venv/bin/python docs/reference.py`); a unit test fails while the file is stale.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from reconciler.cli import main
from reconciler.model.condition import REASONS, Health
from reconciler.model.release import ENDED, OPEN, State
from reconciler.resources import resource
from reconciler.settings import Settings

PAGE = Path(__file__).with_suffix(".md")
HEAD = """\
# Reference

Written by `docs/reference.py` from the program, its schemas and its lists; change those, not this page.
"""
FILES = {
    "project": "`projects/<name>.yaml` in the platform repository, one for each project",
    "platform": "`platform.yaml` in the platform repository",
    "host": "`host.yaml` on the server, `/etc/gitstead/host.yaml` where nothing else is said; never in Git",
}
HEALTH = {
    Health.HEALTHY: "What Git asks for serves.",
    Health.SUSPENDED: "Stopped on purpose. Nothing leads here yet.",
    Health.PROGRESSING: "On its way: a deployment, a repair, or a plan that waits for a person.",
    Health.UNKNOWN: "Docker or Caddy did not answer, and nothing is concluded from that.",
    Health.MISSING: "Nothing of it serves.",
    Health.DEGRADED: "Something needs attention. What served before still does, where that is possible.",
}
STATES = {
    State.QUEUED: "It waits for its turn to be built.",
    State.BUILDING: "Its image is built.",
    State.STARTING: "Its container is created and started.",
    State.CHECKING: "Its health path is asked until it answers.",
    State.SWITCHING: "The address points at it, and it must answer through the route.",
    State.LIVE: "It serves.",
    State.RETIRED: "A newer one serves. Its container is kept, stopped, until the rollback window ends.",
    State.FAILED: "It did not come up; the row says in which state and why.",
    State.CANCELLED: "It was given up on request.",
    State.SUPERSEDED: "A newer commit or spec took its place before it was live.",
    State.INTERRUPTED: "The reconciler ended meanwhile; it is planned again.",
}
INTERNAL_SETTINGS = {"failpoint", "notify_socket"}


def reference() -> str:
    """The whole page."""
    parts = [HEAD, "## Commands\n", *_commands()]
    for name, where in FILES.items():
        schema = json.loads(resource("schemas", f"{name}.schema.json").read_text())
        parts += [f"## Keys of {where}\n", schema["description"] + "\n", _table(_keys(schema))]
    parts += ["## Environment\n", _environment(), "## Health\n", _words({str(k): v for k, v in HEALTH.items()})]
    parts += ["## Reasons of conditions\n", _words({str(key): text for key, text in REASONS.items()})]
    parts += ["## States of a deployment\n", _words({_state(key): text for key, text in STATES.items()})]
    return "\n".join(parts)


def keys(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """(dotted key, its node, whether it must be there) of every key."""
    for name, node in schema.get("properties", {}).items():
        yield f"{path}{name}", node, name in schema.get("required", ())
        yield from keys(node, f"{path}{name}.")


def _commands() -> Iterator[str]:
    for name, command in sorted(main.commands.items()):
        context = click.Context(command, info_name=name, parent=click.Context(main, info_name="gitstead"))
        yield f"### {context.command_path}\n\n    {command.get_usage(context).removeprefix('Usage: ')}\n"
        yield " ".join((command.help or "").split()) + "\n"
        options = [each for each in command.params if isinstance(each, click.Option)]
        if options:
            yield _words({", ".join(each.opts): _help(each) for each in options})
    yield "### Before any command\n"
    yield _words({", ".join(each.opts): _help(each) for each in main.params if isinstance(each, click.Option)})


def _help(option: click.Option) -> str:
    default = f" Default: {option.default}." if option.show_default else ""
    return f"{option.help or ''}{default}"


def _keys(schema: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = [("Key", "Value", "Default", "Meaning")]
    for name, node, required in keys(schema):
        default = _code(node["default"]) if "default" in node else "required" if required else ""
        rows.append((f"`{name}`", _kind(node), default, node["description"]))
    return rows


def _kind(node: Mapping[str, Any]) -> str:
    if "const" in node:
        return _code(node["const"])
    if "enum" in node:
        return " ".join(_code(each) for each in node["enum"])
    if node.get("type") == "object" and "properties" in node:
        return "keys below"
    return f"e.g. {_code(node['examples'][0])}"


def _code(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"`{text}`"


def _environment() -> str:
    """Every setting has a variable; those for tests and the service manager are no business of people."""
    names = [each.name for each in dataclasses.fields(Settings) if each.name not in INTERNAL_SETTINGS]
    listed = " ".join(f"`GITSTEAD_{name.upper()}`" for name in names)
    return (
        "Each of these goes before the host file, e.g. `GITSTEAD_HTTP_PORT=8080`; lists are joined by `:`, the two\n"
        f"ports of a range by `-`. `GITSTEAD_HOST_FILE` names another host file.\n\n{listed}\n"
    )


def _state(state: State) -> str:
    return f"{state} (under way)" if state in OPEN else f"{state} (ended)" if state in ENDED else str(state)


def _words(words: Mapping[str, str]) -> str:
    return _table([("Word", "Meaning"), *((f"`{word}`", text) for word, text in words.items())])


def _table(rows: list[Any]) -> str:
    head, *body = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(reference())
