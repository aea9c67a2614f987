"""The commands of the `gitstead` program that concern the machine: `doctor` and `base-image`.

Added to the program by `cli`, which may hand a `Settings` down as click's context object. Parses and
prints only; the work is in `doctor` and `base_image`.
"""

from __future__ import annotations

import click

from reconciler.errors import GitsteadError
from reconciler.host import check
from reconciler.host import doctor as doctor_module
from reconciler.host.base_image import ensure_base_image
from reconciler.host.doctor import Wants
from reconciler.settings import Settings


@click.command()
@click.option("--fix", is_flag=True, help="Install and start what is missing, and say each step.")
@click.option("--json", "as_json", is_flag=True, help="Print the same facts as JSON.")
@click.pass_context
def doctor(context: click.Context, *, fix: bool, as_json: bool) -> None:
    """Check whether this machine can run Gitstead.

    Exit status: 0 without a problem, 1 with one.
    """
    wants = _wants(context.find_object(Settings))
    if fix:
        doctor_module.fix(_say)
    checks = doctor_module.diagnose(wants)
    click.echo(check.as_json(checks) if as_json else check.as_text(checks))
    context.exit(check.exit_status(checks))


@click.command("base-image")
@click.argument("name")
@click.option("--as", "public_name", default="", metavar="NAME", help="Give it this public name as well.")
@click.option("--suite", default="", help="Make it from Debian packages of this release, e.g. trixie.")
@click.option("--rebuild", is_flag=True, help="Make it again even if it is there.")
def base_image(name: str, public_name: str, suite: str, *, rebuild: bool) -> None:
    """Give the engine the base image gitstead/base-NAME.

    NAME is debian, static, python, node (or node:22), go, rust, java, jre, php or ruby. The public image is pulled
    where a registry answers; else it is made from Debian packages.
    """
    try:
        ensure_base_image(name, _say, public_name=public_name, suite=suite, rebuild=rebuild)
    except GitsteadError as error:
        raise click.ClickException(str(error)) from error


def _say(text: str) -> None:
    """On standard error and at once: standard output is for the result."""
    click.echo(text, err=True)


def _wants(settings: Settings | None) -> Wants:
    if settings is None:
        return Wants()
    return Wants(
        state=settings.state,
        docker_host=settings.docker_host,
        disk_floor_bytes=settings.disk_floor_bytes,
        build_memory_bytes=settings.build_memory_bytes,
        ports=settings.ports,
        listeners=(
            ("apps", settings.listen_host, settings.http_port),
            ("status page", settings.status_host, settings.status_port),
        ),
    )
