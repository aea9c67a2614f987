"""Things to try: a change of hello's page, and a spec of guest that cannot be used.

Run by the scripts in the demo's folder. Only commits and pushes, as a person would; that Gitstead notices is
its own business.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

from reconciler.demo.folder import DemoFolder, demo_folder, require_demo
from reconciler.demo.repositories import BRANCH, commit_and_push, git
from reconciler.errors import GitsteadError, HostUnfit
from reconciler.settings import load_settings

GREETINGS = ("Hello", "Bonjour", "Hola", "Ciao", "Ahoj", "Merhaba", "Salut", "Grüezi")
BAD_LINE = "healht: {path: /healthz}   # not a key of a project: written by ./break-guest\n"
_HEADING = re.compile(r"<h1>(.*?)</h1>", re.DOTALL)


def change_hello(folder: DemoFolder) -> str:
    """Put the next greeting on hello's page, commit and push; what was done and where to look."""
    page = _fresh(folder, "hello") / "index.html"
    text = page.read_text()
    heading = _HEADING.search(text)
    if heading is None:
        raise HostUnfit(
            f"{page} has no <h1>…</h1> to change",
            expected="the heading that the demo wrote",
            remedy="Change the page as you like, then commit and push it yourself",
        )
    word = _next(heading[1])
    page.write_text(text[: heading.start(1)] + word + text[heading.end(1) :])
    sha = commit_and_push(folder, "hello", "index.html", f"Say {word}")
    return f"Pushed {sha} to hello: the page says “{word}” in a moment, at {_address(folder, 'hello')}"


def break_guest(folder: DemoFolder, *, undo: bool) -> str:
    """Add a line to guest's spec that cannot be used, or take it away where it is there already."""
    file = "projects/guest.yaml"
    spec = _fresh(folder, "platform") / file
    text = spec.read_text()
    if BAD_LINE in text:
        spec.write_text(text.replace(BAD_LINE, ""))
        sha = commit_and_push(folder, "platform", file, "Mend the spec of guest")
        return f"Pushed {sha} to the platform repository: the spec of guest is good again."
    if undo:
        return "The spec of guest is not broken: nothing to undo."
    spec.write_text(text.rstrip("\n") + "\n" + BAD_LINE)
    sha = commit_and_push(folder, "platform", file, "Break the spec of guest")
    return (
        f"Pushed {sha} to the platform repository: projects/guest.yaml has a key that nobody knows.\n"
        f"The status page names file, line and column; guest still answers at {_address(folder, 'guest')}\n"
        "Run this again to mend it."
    )


def _fresh(folder: DemoFolder, name: str) -> Path:
    """The clone, with what was pushed from elsewhere."""
    clone = folder.clone(name)
    git(folder, clone, "pull", "--quiet", "--rebase", "--autostash", "origin", BRANCH)
    return clone


def _next(word: str) -> str:
    """The greeting after this one; the first after one that somebody wrote."""
    place = GREETINGS.index(word) + 1 if word in GREETINGS else 0
    return GREETINGS[place % len(GREETINGS)]


def _address(folder: DemoFolder, name: str) -> str:
    return f"http://{name}.localhost:{load_settings({}, host_file=folder.host_file).http_port}"


def _become_owner(folder: DemoFolder) -> None:
    """Root becomes the user who made the demo; anybody else is told how: files of two users lock each other out."""
    owner = folder.marker.stat()
    if owner.st_uid == os.geteuid():
        return
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
        return
    raise HostUnfit(
        f"the demo in {folder.path} belongs to user {owner.st_uid}, and you are user {os.geteuid()}",
        expected="the user who started it",
        remedy="Run it as that user, e.g. with sudo before it",
    )


@click.group()
@click.argument("place", type=click.Path(path_type=Path))
@click.pass_context
def main(context: click.Context, place: Path) -> None:
    """Tricks on the demo in the folder PLACE."""
    folder = demo_folder(place)
    require_demo(folder)
    _become_owner(folder)
    context.obj = folder


@main.command("change-hello")
@click.pass_obj
def _change_hello(folder: DemoFolder) -> None:
    """Put another greeting on hello's page, commit and push."""
    click.echo(change_hello(folder))


@main.command("break-guest")
@click.option("--undo", is_flag=True, help="Mend the spec; do nothing if it is good.")
@click.pass_obj
def _break_guest(folder: DemoFolder, *, undo: bool) -> None:
    """Make the spec of guest unusable, commit and push; run again to mend it."""
    click.echo(break_guest(folder, undo=undo))


if __name__ == "__main__":
    try:
        main()
    except GitsteadError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
