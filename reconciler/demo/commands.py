"""The command `demo`. Registered by `cli`; parses and prints, the work is done in `session` and `reset`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from reconciler.demo.folder import demo_folder
from reconciler.demo.reset import remove_demo
from reconciler.demo.session import Demo
from reconciler.settings import Settings


@click.command()
@click.option(
    "--folder", default="demo", show_default=True, type=click.Path(path_type=Path), help="Where everything of it lies."
)
@click.option("--once", is_flag=True, help="End as soon as all apps have answered, and remove everything again.")
@click.option(
    "--deadline",
    default=600,
    show_default=True,
    type=click.IntRange(1, 86400),
    metavar="SECONDS",
    help="How long the apps may take to answer.",
)
@click.option("--reset", is_flag=True, help="Remove exactly what the demo made, and say what.")
@click.pass_obj
def demo(settings: Settings, folder: Path, deadline: int, *, once: bool, reset: bool) -> None:
    """Three example apps on a platform of their own: try a push, a broken spec, a killed container.

    Stopping it keeps everything, starting it again goes on. With --once the exit status is 0 if every app
    answered, else 1.
    """
    if once and reset:
        raise click.UsageError("--once and --reset exclude each other: --once removes what it made by itself.")
    place = demo_folder(folder)
    if reset:
        remove_demo(place, settings, click.echo)
        return
    sys.exit(Demo(place, settings, click.echo, once=once, deadline_s=deadline).run())
