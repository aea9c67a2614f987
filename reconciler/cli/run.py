"""`up`, and what a person asks of a platform that runs: `sync`, `approve`, `confirm`, `cancel`, `retry`.

Called by the program. Leaves requests and waits a moment for the answer; decides nothing.
"""

from __future__ import annotations

import getpass
import os
import time

import click

from reconciler.errors import GitsteadError, HostUnfit
from reconciler.history.queries import Queries
from reconciler.history.requests import Inbox
from reconciler.model.status import ProjectStatus
from reconciler.plan.gates import CONFIRMATION
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
    status = _status(settings, project)
    if not status.waiting or status.gate == CONFIRMATION:
        remedy = f"It waits for a confirmation: gitstead confirm {project}" if status.waiting else ""
        raise HostUnfit(
            f"{project} waits for no approval",
            expected="a project that gitstead status shows as waiting",
            remedy=remedy,
        )
    _ask(settings, "approve", project, {"digest": status.waiting})


@click.command()
@click.argument("project")
@click.pass_obj
def confirm(settings: Settings, project: str) -> None:
    """Confirm what was detected, so that the first deployment begins; gitstead status shows it before."""
    status = _status(settings, project)
    if not status.waiting or status.gate != CONFIRMATION:
        raise HostUnfit(
            f"{project} waits for no confirmation",
            expected="a project with build.type auto before its first deployment",
            remedy=f"See gitstead status {project}",
        )
    click.echo(f"{project} is {status.detected}: {'; '.join(status.evidence)}")
    _ask(settings, "confirm", project, {"digest": status.waiting})


@click.command()
@click.argument("project")
@click.pass_obj
def cancel(settings: Settings, project: str) -> None:
    """End the deployment that is under way; what serves goes on."""
    status = _status(settings, project)
    if not status.under_way:
        raise HostUnfit(f"no deployment of {project} is under way", expected="one that gitstead status shows")
    _ask(settings, "cancel", project, {"deployment": str(status.under_way)})


@click.command()
@click.argument("project")
@click.pass_obj
def retry(settings: Settings, project: str) -> None:
    """Try again what failed or was cancelled, at once and without a new commit."""
    _status(settings, project)
    queries = Queries(settings.state_db)
    past = queries.history().of(project)
    queries.close()
    if past.last_ended is None or past.open is not None:
        under_way = (
            f"d{past.open.number} is under way" if past.open else "no deployment ended badly since one went live"
        )
        raise HostUnfit(f"{project} has nothing to try again: {under_way}", expected="a deployment that ended badly")
    _ask(settings, "retry", project, {"deployment": str(past.last_ended.number)})


def _status(settings: Settings, project_name: str) -> ProjectStatus:
    queries = Queries(settings.state_db)
    try:
        status = queries.status(project_name)
    finally:
        queries.close()
    if status is None:
        raise HostUnfit(f'there is no project "{project_name}"', expected="one that gitstead status shows")
    return status


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
