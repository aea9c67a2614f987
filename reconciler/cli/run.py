"""`up`, `sync` and `approve`: run the platform, and ask something of one that runs."""

from __future__ import annotations

import getpass
import os
import time

import click

from reconciler.errors import GitsteadError, HostUnfit
from reconciler.history.queries import Queries
from reconciler.history.requests import Inbox
from reconciler.service import serve
from reconciler.settings import Settings

WAIT_S = 10.0


@click.command()
@click.option("--no-web", is_flag=True, help="Without the status page.")
@click.pass_obj
def up(settings: Settings, *, no_web: bool) -> None:
    """Run everything here: reconciler, status page and, if none answers, Caddy. Ctrl-C stops it."""
    if not settings.platform_repo:
        raise HostUnfit(
            "no platform repository is set",
            expected="a URL or an absolute path",
            remedy="Set platform.repo in the host file or GITSTEAD_PLATFORM_REPO",
        )
    serve(settings, web=not no_web, say=lambda text: click.echo(text, err=True))


@click.command()
@click.pass_obj
def sync(settings: Settings) -> None:
    """Ask every repository for news now, without waiting for the next poll."""
    _ask(settings, "sync", "", {})


@click.command()
@click.argument("project")
@click.pass_obj
def approve(settings: Settings, project: str) -> None:
    """Approve the plan that waits for a person, exactly as it is shown now."""
    queries = Queries(settings.state_db)
    status = queries.status(project)
    queries.close()
    if status is None or not status.waiting:
        raise HostUnfit(f"{project} waits for no approval", expected="a project that gitstead status shows as waiting")
    _ask(settings, "approve", project, {"digest": status.waiting})


def _ask(settings: Settings, kind: str, project: str, payload: dict[str, str]) -> None:
    """Leave the request and wait a moment for the answer."""
    inbox = Inbox(settings.inbox_db, wake_socket=settings.wake_socket)
    try:
        number = inbox.leave_request(kind, project, payload, by=_who(), now=time.time())
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            answer = inbox.answer(number)
            if answer is not None and answer.outcome:
                _answer(answer.outcome, answer.message)
                return
            time.sleep(0.05)
    finally:
        inbox.close(clean=False)
    click.echo(f"{kind} is left as request {number}; the reconciler has not taken it yet. Does it run? gitstead status")


def _who() -> str:
    """The person's name, or the number of a user that this machine has no name for."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _answer(outcome: str, message: str) -> None:
    if outcome != "done":
        raise _Refused(message)
    click.echo(message)


class _Refused(GitsteadError):
    """The reconciler turned the request down."""
