"""`key`, `seal` and `reseal`: values that lie in Git and that only the platform opens.

A value comes from standard input or a hidden prompt, never from the command line, which others can read.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from reconciler.bootstrap.sealing import public_keys, seal_value
from reconciler.bootstrap.sealing import reseal as reseal_folder
from reconciler.errors import SpecInvalid
from reconciler.model.naming import PROJECT_NAME
from reconciler.settings import Settings

PLACES = {
    "run-secret": "projects/{project}.yaml: run: {{secrets: {{{key}: {sealed}}}}}",
    "build-secret": "projects/{project}.yaml: build: {{secrets: {{{key}: {sealed}}}}}",
    "credential": "platform.yaml: credentials: {{{key}: {{value: {sealed}, …}}}}",
}


@click.command()
@click.option("--rotate", is_flag=True, help="Make a new key; values sealed to the earlier ones still open.")
@click.pass_obj
def key(settings: Settings, *, rotate: bool) -> None:
    """Print the recipient to which values are sealed for this platform; it is public."""
    newest, *older = public_keys(settings, rotate=rotate)
    click.echo(newest)
    if older:
        keys = "1 older key" if len(older) == 1 else f"{len(older)} older keys"
        click.echo(f"What was sealed to {keys} still opens; gitstead reseal seals it to this one", err=True)


@click.command()
@click.argument("project")
@click.argument("key_name", metavar="KEY")
@click.option(
    "--kind", type=click.Choice(list(PLACES)), default="run-secret", show_default=True, help="Where it is used."
)
@click.option(
    "--recipient", "recipients", multiple=True, metavar="age1…", help="Seal to this key, not to that of this host."
)
@click.pass_obj
def seal(settings: Settings, project: str, key_name: str, kind: str, recipients: tuple[str, ...]) -> None:
    """Seal a value for KEY of PROJECT ("*" = of all, as for a credential); it is read from standard input.

    One newline at its end is taken off.
    """
    if project != "*" and (kind == "credential" or not PROJECT_NAME.match(project)):
        raise SpecInvalid(
            f'"{project}" is no project that a {kind} is sealed for',
            expected='"*": credentials.<name>.projects says who may use it' if kind == "credential" else 'blog, or "*"',
        )
    sealed = seal_value(settings, _value(), kind=kind, project=project, key=key_name, recipients=recipients)
    click.echo(sealed)
    place = PLACES[kind].format(project="<project>" if project == "*" else project, key=key_name, sealed='"age:…"')
    click.echo(f"It goes into {place}", err=True)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--recipient", "recipients", multiple=True, metavar="age1…", help="Seal to this key too.")
@click.pass_obj
def reseal(settings: Settings, path: Path, recipients: tuple[str, ...]) -> None:
    """Seal every value in the platform repository's working tree PATH anew, to the newest key."""
    done = reseal_folder(settings, path, recipients=recipients)
    for each in done:
        click.echo(f"{each.place} {each.kind} {each.key} of {each.project}")
    count = "1 value" if len(done) == 1 else f"{len(done)} values"
    click.echo(f"{count} sealed anew: commit the change." if done else "There is no sealed value here.")


def _value() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True))
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise SpecInvalid(
            "the value is no UTF-8 text", expected="text", remedy="Encode binary data, in base64 for instance"
        ) from None
    return re.sub(r"\r?\n\Z", "", text)
