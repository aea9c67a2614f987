"""The texts with which a demo greets and leaves: addresses, and lines to copy.

Called by `session`. Pure but for the current folder, from which paths are shown.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from reconciler.demo.folder import PROJECTS, DemoFolder
from reconciler.model.naming import container_name
from reconciler.model.status import ProjectStatus
from reconciler.settings import Settings

_KINDS = {"hello": "static", "guest": "Flask", "clock": "Dockerfile"}


def shown(path: Path) -> str:
    """A path as one would type it here."""
    here = Path.cwd()
    text = str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
    return shlex.quote(text)


def command(path: Path) -> str:
    """A program of the demo's folder as a line to copy."""
    text = shown(path)
    return text if text.startswith(("/", "'")) else f"./{text}"


def program() -> str:
    """How `gitstead` was called, so that lines to copy work in the same terminal."""
    called = Path(sys.argv[0])
    if called.name != "gitstead":
        return f"{shlex.quote(sys.executable)} -m reconciler"
    return command(called.absolute()) if called.parent != Path() else "gitstead"


def reset_line(folder: DemoFolder) -> str:
    """The command that removes this very demo."""
    default = Path.cwd() / "demo"
    return f"{program()} demo --reset" + ("" if folder.path == default else f" --folder {shown(folder.path)}")


def welcome(folder: DemoFolder, settings: Settings, statuses: Mapping[str, ProjectStatus]) -> str:
    """Addresses, status page and three things to try."""
    page = f"http://localhost:{settings.status_port}"
    lines = ["", f"Gitstead is running.  Status page  {page}   (Ctrl-C stops it; everything is kept)"]
    for name in PROJECTS:
        lines.append(f"  {name:<7} {f'http://{name}.localhost:{settings.http_port}':<30} {_KINDS[name]}")
    change, spoil = command(folder.path / "change-hello"), command(folder.path / "break-guest")
    kill = _kill_line(settings, statuses.get("clock"))
    width = max(len(change), len(spoil), len(kill)) + 2
    lines += [
        "",
        "Try, in another terminal:",
        f"  1  change something   {change:<{width}}commits and pushes; the page follows the build",
        f"  2  break something    {spoil:<{width}}a bad spec: see the error, see guest stay up",
        f"  3  kill something     {kill:<{width}}watch it come back",
        "",
        f"The same in words: {command(folder.path / 'gitstead')} status",
        "",
    ]
    return "\n".join(lines)


def goodbye(folder: DemoFolder) -> str:
    """What is left after a stop, and the ways on."""
    start = reset_line(folder).replace(" --reset", "")
    return (
        "Stopped; everything is kept, and the apps' containers go on running.\n"
        f"  start again         {start}\n"
        f"  remove everything   {reset_line(folder)}"
    )


def _kill_line(settings: Settings, clock: ProjectStatus | None) -> str:
    instance = (settings.state / "instance").read_text().strip()
    number = clock.deployment if clock is not None and clock.deployment else 1
    engine = f"docker -H {settings.docker_host}" if settings.docker_host else "docker"
    return f"{engine} kill {container_name(instance, 'clock', number, 'web', 1)}"
