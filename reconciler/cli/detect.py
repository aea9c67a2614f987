"""`detect`: what a folder's files are taken for, why, and the Dockerfile that follows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import get_args

import click

from reconciler.bootstrap.source import LookedAt, cut_note, look_at
from reconciler.desired.detection.report import facts, render
from reconciler.model.spec import BuildType
from reconciler.settings import Settings


@click.command()
@click.argument("path", default=".", type=click.Path(path_type=Path))
@click.option(
    "--type", "build_type", default="auto", show_default=True, type=click.Choice(get_args(BuildType)), metavar="TYPE",
    help="Take it for this build.type.",
)  # fmt: skip
@click.option("--json", "json_wanted", is_flag=True, help="The same facts as JSON.")
@click.pass_obj
def detect(settings: Settings, path: Path, build_type: BuildType, *, json_wanted: bool) -> None:
    """Show what the files of a folder are taken for, on what evidence, and their Dockerfile. Builds nothing.

    Exit status 1 where nothing is recognised, or where something is missing for a build.
    """
    found = look_at(settings, path, build_type)
    if json_wanted:
        click.echo(json.dumps(_facts(found), indent=2))
    else:
        click.echo(_text(found, build_type), nl=False)
    sys.exit(0 if found.dockerfile else 1)


def _facts(found: LookedAt) -> dict[str, object]:
    made = found.dockerfile
    dockerfile = {"path": made.path, "text": made.text, "ignore": made.ignore, "notes": made.notes} if made else None
    return {**facts(found.detection), "dockerfile": dockerfile, "problem": found.problem, "cut": found.is_cut}


def _text(found: LookedAt, build_type: BuildType) -> str:
    lines = [render(found.detection).rstrip("\n")]
    lines += [f"hint: {cut_note()}"] if found.is_cut else []
    if found.detection.chosen is None:
        asked = "" if build_type == "auto" else f" as {build_type}"
        lines += ["", f"Nothing here can be built{asked}: set build.type, add a Dockerfile, or correct source.path."]
    if found.problem:
        lines += ["", f"No Dockerfile can be made: {found.problem}"]
    if found.dockerfile is not None and found.dockerfile.text is None:
        lines += ["", f"{found.dockerfile.path} of the repository is used as it is."]
    elif found.dockerfile is not None and found.dockerfile.text is not None:
        lines += [*(f"hint: {note}" for note in found.dockerfile.notes), "", "Dockerfile", ""]
        lines.append(found.dockerfile.text.rstrip("\n"))
    return "\n".join(lines) + "\n"
