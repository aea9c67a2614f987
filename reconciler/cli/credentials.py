"""`deploy-key` and `credentials`: what opens private repositories, without ever showing it."""

from __future__ import annotations

import time

import click

from reconciler.bootstrap.credentials import CredentialRow, DeployKey, credential_rows, make_deploy_key
from reconciler.cli.words import age, as_json, columns
from reconciler.model.terminal import visible
from reconciler.settings import Settings

HEADINGS = ("NAME", "KIND", "HOST", "FINGERPRINT", "USED BY", "LAST USED", "LAST ERROR")


@click.command("deploy-key")
@click.argument("project")
@click.option("--host", default="", help="The host of its repository, where the spec does not say it yet.")
@click.option("--recipient", "recipients", multiple=True, help="age1…, as gitstead key prints it; may be repeated.")
@click.pass_obj
def deploy_key(settings: Settings, project: str, host: str, recipients: tuple[str, ...]) -> None:
    """Make an ssh key for one private repository: the public half to add there, the sealed half to commit."""
    click.echo(_told(make_deploy_key(settings, project, host=host, recipients=recipients)), nl=False)


def _told(key: DeployKey) -> str:
    source = [f"  repo: {key.repo}"] if key.repo else []
    lines = [
        f"# 1. Add this key at {key.host} as a deploy key; it needs to read alone. {key.fingerprint}",
        key.public,
        "",
        "# 2. Commit this in platform.yaml",
        "credentials:",
        f"  {key.name}:",
        "    kind: ssh-key",
        f'    host: "{key.host}"',
        f"    projects: [{key.project}]",
        f"    value: {key.sealed}",
        "",
        f"# 3. Commit this in projects/{key.project}.yaml",
        "source:",
        *source,
        f"  credentials: {key.name}",
        "",
        f"# If {key.host} is not known here yet: compare what ssh-keyscan prints for it with the fingerprint that",
        "# its administrator publishes, and add the line to known_hosts in platform.yaml.",
    ]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--json", "json_wanted", is_flag=True, help="The same facts as JSON.")
@click.pass_obj
def credentials(settings: Settings, *, json_wanted: bool) -> None:
    """What opens private repositories: who uses it, when it was last accepted, what went wrong."""
    rows = credential_rows(settings)
    if json_wanted:
        click.echo(as_json(rows))
        return
    if not rows:
        click.echo("platform.yaml has no credentials. gitstead deploy-key PROJECT makes one.")
        return
    now = time.time()
    for line in columns([HEADINGS, *(_cells(row, now) for row in rows)]):
        click.echo(line.rstrip())


def _cells(row: CredentialRow, now: float) -> tuple[str, ...]:
    return (
        row.name,
        row.kind,
        row.host,
        row.fingerprint or "-",
        ", ".join(row.used_by) or "nobody",
        f"{age(now - row.used_at)} ago" if row.used_at else "-",
        visible(row.error) or "-",
    )
