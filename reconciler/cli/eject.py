"""`eject`: the Dockerfile that Gitstead writes for a project, for people who want to own it."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.bootstrap.reading import read_dockerfile
from reconciler.errors import HostUnfit
from reconciler.model.desired import Dockerfile
from reconciler.settings import Settings

_SIGNATURE = "# Made by Gitstead"


@click.command()
@click.argument("project")
@click.option("--output", type=click.Path(path_type=Path), help="Write it to this file, which must not be there yet.")
@click.pass_obj
def eject(settings: Settings, project: str, output: Path | None) -> None:
    """Print or write the Dockerfile that Gitstead made for PROJECT, and say how to own it."""
    dockerfile = read_dockerfile(settings, project)
    text = _owned(dockerfile.text or "")
    if output is None:
        click.echo(text, nl=False)
        _explain(project, "Dockerfile", dockerfile, wrote_ignore=False)
        return
    _write(output, text)
    click.echo(f"wrote {output}", err=True)
    _explain(project, output.name, dockerfile, wrote_ignore=_write_ignore(output.parent, dockerfile.ignore))


def _owned(text: str) -> str:
    """Without the line that says whose it is."""
    first, _, rest = text.partition("\n")
    return rest if first.startswith(_SIGNATURE) else text


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError as error:
        raise HostUnfit(f"{path} is there already", expected="a new file", remedy="Move it, or name another") from error
    except OSError as error:
        raise HostUnfit(
            f"{path} cannot be written: {error.strerror}", remedy="Name a file in another folder"
        ) from error


def _write_ignore(folder: Path, text: str) -> bool:
    path = folder / ".dockerignore"
    if not text or path.exists():
        return False
    _write(path, text)
    click.echo(f"wrote {path}", err=True)
    return True


def _explain(project: str, name: str, dockerfile: Dockerfile, *, wrote_ignore: bool) -> None:
    """What to do with it, on standard error: standard output is the Dockerfile alone."""
    if dockerfile.ignore and not wrote_ignore:
        click.echo("\nThe source has no .dockerignore; put one beside it:", err=True)
        click.echo("".join(f"  {line}\n" for line in dockerfile.ignore.splitlines()[1:]), err=True, nl=False)
    path = "" if name == "Dockerfile" else f"\n    dockerfile: {name}"
    click.echo(
        f"\nCommit it at source.path of the app's repository, then set in projects/{project}.yaml:"
        f"\n  build:\n    type: dockerfile{path}",
        err=True,
    )
