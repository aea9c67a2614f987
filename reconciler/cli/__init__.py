"""The `gitstead` program: parses, calls, prints.

Run by people, scripts and systemd units. One module per group of commands; each parses its words,
asks `bootstrap`, `history` or `desired` for values and prints them. Decides nothing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from reconciler.cli import check, credentials, detect, eject, follow, past, run, secrets, show
from reconciler.demo.commands import demo
from reconciler.errors import GitsteadError
from reconciler.host.commands import base_image, doctor
from reconciler.settings import load_settings


class _Program(click.Group):
    """Prints our errors as one readable text; a traceback only with --debug."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except GitsteadError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"gitstead: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host-file", type=click.Path(path_type=Path), help="The host file; default /etc/gitstead/host.yaml.")
@click.option("--state", type=click.Path(path_type=Path), help="The state folder; default /var/lib/gitstead.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="gitstead")
@click.pass_context
def main(ctx: click.Context, host_file: Path | None, state: Path | None, *, debug: bool) -> None:
    """Your server, kept true to Git."""
    environ = dict(os.environ) | ({"GITSTEAD_STATE": str(state)} if state else {})
    ctx.obj = load_settings(environ, host_file=host_file)


for command in (
    run.up,
    run.sync,
    run.approve,
    run.confirm,
    run.cancel,
    run.retry,
    show.status,
    past.history,
    follow.logs,
    check.validate,
    check.plan,
    detect.detect,
    eject.eject,
    credentials.deploy_key,
    credentials.credentials,
    secrets.key,
    secrets.seal,
    secrets.reseal,
    doctor,
    base_image,
    demo,
):
    main.add_command(command)
