"""`validate` and `plan`: what a change to the platform repository would mean, before it is made."""

from __future__ import annotations

import json
import sys

import click

from reconciler.bootstrap.reading import preview, read_platform
from reconciler.desired.report import as_json, render_diagnostics
from reconciler.desired.validation import SpecFile
from reconciler.desired.validation import validate as validate_files
from reconciler.errors import GitsteadError
from reconciler.model.desired import Desired
from reconciler.model.plan import Plan, ProjectPlan, render
from reconciler.model.spec import Diagnostic, Location
from reconciler.settings import Settings


@click.command()
@click.argument("place", default=".", metavar="[PATH|REPO@REV]")
@click.option("--json", "json_wanted", is_flag=True, help="The same facts as JSON.")
@click.pass_obj
def validate(settings: Settings, place: str, *, json_wanted: bool) -> None:
    """Check platform.yaml and every project; print all problems at once. Exit status 0 or 1."""
    _, files = read_platform(settings, place)
    checked = validate_files({path: SpecFile(*each) for path, each in files.files.items()})
    unusable = tuple(Diagnostic(Location(path), text) for path, text in files.unusable.items())
    problems, total = (*checked.diagnostics, *unusable), len(checked.names)
    if json_wanted:
        click.echo(json.dumps(as_json(problems, total, notes=checked.notes), indent=2))
    else:
        click.echo(render_diagnostics(problems, total, notes=checked.notes), nl=False)
    sys.exit(1 if problems else 0)


@click.command()
@click.argument("place", default="", metavar="[PATH|REV]")
@click.option("--json", "json_wanted", is_flag=True, help="The same facts as JSON.")
@click.pass_obj
def plan(settings: Settings, place: str, *, json_wanted: bool) -> None:
    """Show what would happen at a working tree (PATH), a branch or a revision; nothing is changed.

    Exit status 0: nothing to do; 2: changes; 1: an error, or specs that cannot be used.
    """
    try:
        planned, desired = preview(settings, place or settings.platform_branch)
    except GitsteadError as error:
        click.echo(f"gitstead: {error}", err=True)
        sys.exit(1)
    click.echo(
        json.dumps(_plain(planned, desired), indent=2) if json_wanted else _text(planned, desired), nl=json_wanted
    )
    if desired.diagnostics:
        sys.exit(1)
    sys.exit(0 if all(_is_unchanged(each) for each in planned.projects) else 2)


def _text(planned: Plan, desired: Desired) -> str:
    problems = render_diagnostics(desired.diagnostics, len(desired.names)) if desired.diagnostics else ""
    return render(planned) + problems


def _plain(planned: Plan, desired: Desired) -> dict[str, object]:
    return {
        "revision": planned.revision,
        "projects": [_project(each) for each in planned.projects if not _is_unchanged(each)],
        "unchanged": sum(_is_unchanged(each) for each in planned.projects if each.project),
        "unknown": list(planned.unknown),
        "problems": [str(each) for each in desired.diagnostics],
    }


def _is_unchanged(each: ProjectPlan) -> bool:
    return not (each.operations or each.waiting or each.held)


def _project(each: ProjectPlan) -> dict[str, object]:
    return {
        "project": each.project,
        "digest": each.digest,
        "waits": each.waiting.text if each.waiting else "",
        "operations": [
            {
                "operation": operation.name,
                "resource": operation.resource,
                "cause": operation.cause.kind,
                "why": operation.cause.text,
                "sentence": f"{operation.verb} {operation.sentence}",
            }
            for operation in (*each.operations, *each.held)
        ],
    }
