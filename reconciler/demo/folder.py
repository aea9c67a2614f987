"""Where everything of one demo lies, and whether a folder is one.

Used by every module of the demo. It must not write into a folder that holds
anything else, nor remove what the demo did not make.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.bootstrap.state import only_reconciler
from reconciler.errors import HostUnfit
from reconciler.settings import Settings

PROJECTS = ("hello", "guest", "clock")
_MARKER = ".gitstead-demo"
_SCRIPTS = ("change-hello", "break-guest", "gitstead")
_FOLDERS = ("repos", "platform", *PROJECTS, "run", "log", "state")
_FILES = ("host.yaml", "git.config", *_SCRIPTS)
_UNUSABLE_CHARACTERS = ":{}\n\r"
_LONGEST_PATH = 70


@dataclass(frozen=True)
class DemoFolder:
    """`path` is absolute. Clones to work in lie at its top, their bare origins in `repos/`."""

    path: Path

    @property
    def marker(self) -> Path:
        return self.path / _MARKER

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def runtime(self) -> Path:
        return self.path / "run"

    @property
    def host_file(self) -> Path:
        return self.path / "host.yaml"

    @property
    def git_config(self) -> Path:
        return self.path / "git.config"

    @property
    def log(self) -> Path:
        return self.path / "log" / "reconciler.log"

    @property
    def repos(self) -> Path:
        return self.path / "repos"

    def bare(self, name: str) -> Path:
        return self.repos / f"{name}.git"

    def clone(self, name: str) -> Path:
        return self.path / name

    @property
    def exists(self) -> bool:
        return self.marker.is_file()

    @property
    def is_throwaway(self) -> bool:
        """Whether `--once` made it: then it may be torn down after the next `--once` as well."""
        try:
            return bool(json.loads(self.marker.read_text())["throwaway"])
        except (ValueError, KeyError, TypeError):
            return False


def demo_folder(path: Path) -> DemoFolder:
    """The folder at `path`, made or not. Raises HostUnfit for a path that Caddy or a socket cannot have."""
    folder = DemoFolder(path.expanduser().resolve())
    text = str(folder.path)
    remedy = "Choose another one, e.g. gitstead demo --folder /tmp/demo"
    if len(os.fsencode(text)) > _LONGEST_PATH:
        raise HostUnfit(
            f"the demo's folder {text} has a path of {len(os.fsencode(text))} bytes, and sockets lie in it",
            expected=f"at most {_LONGEST_PATH} bytes",
            remedy=remedy,
        )
    if any(each in text for each in _UNUSABLE_CHARACTERS):
        raise HostUnfit(
            f"the demo's folder {text!r} has a character in its path that Caddy or a list of paths reads as its own",
            expected="a path without : { } and line breaks",
            remedy=remedy,
        )
    return folder


def open_folder(folder: DemoFolder, *, throwaway: bool) -> bool:
    """Make the folder, or take the demo that is in it already; True where it is a new one.

    Raises HostUnfit where it holds something else, or belongs to another user.
    """
    if folder.exists:
        require_owner(folder)
        return False
    try:
        folder.path.mkdir(mode=0o755, parents=True, exist_ok=True)
        found = sorted(each.name for each in folder.path.iterdir())
        if not found:
            _write_marker(folder, throwaway=throwaway)
    except OSError as error:
        raise HostUnfit(
            f"the demo's folder {folder.path} cannot be made: {error.strerror}",
            expected="a folder that you may write",
            remedy="Choose another one with --folder",
        ) from error
    if found:
        raise HostUnfit(
            f"{folder.path} holds {', '.join(found[:3])}{' …' if len(found) > 3 else ''} and is no demo of Gitstead",
            expected="a folder that is new or empty",
            remedy="Choose another one with --folder",
        )
    return True


def require_demo(folder: DemoFolder) -> None:
    """Raises HostUnfit where no demo was made at that path: nothing there is ours to remove."""
    if not folder.exists:
        raise HostUnfit(
            f"{folder.path} is no demo of Gitstead ({_MARKER} is not in it); nothing was removed",
            expected="the folder of a demo",
            remedy="Name it with --folder",
        )


def require_owner(folder: DemoFolder) -> None:
    """Raises HostUnfit where somebody else made the demo: mixed owners lock each other out."""
    owner = folder.marker.stat().st_uid
    if owner != os.geteuid():
        raise HostUnfit(
            f"the demo in {folder.path} belongs to user {owner}, and you are user {os.geteuid()}",
            expected="the same user at each start",
            remedy="Run it as that user, or choose another --folder",
        )


@contextmanager
def stopped(folder: DemoFolder) -> Iterator[None]:
    """Hold the demo for this process, so that it does not run meanwhile. Raises HostUnfit where it does."""
    with ExitStack() as held:
        try:
            if folder.state.is_dir():
                held.enter_context(only_reconciler(Settings(state=folder.state)))
        except HostUnfit as error:
            raise HostUnfit(
                f"the demo in {folder.path} runs already: {error.what}",
                expected="one that is stopped",
                remedy="Press Ctrl-C in its terminal, or choose another --folder",
            ) from error
        yield


def remove_folder(folder: DemoFolder) -> list[str]:
    """Remove what the demo made, the marker last; names of what somebody else put there and which stays."""
    for name in _FOLDERS:
        shutil.rmtree(folder.path / name, ignore_errors=True)
    for name in _FILES:
        (folder.path / name).unlink(missing_ok=True)
    left = sorted(each.name for each in folder.path.iterdir() if each.name != _MARKER)
    if left:
        return left
    folder.marker.unlink()
    folder.path.rmdir()
    return []


def _write_marker(folder: DemoFolder, *, throwaway: bool) -> None:
    temporary = folder.marker.with_suffix(".new")
    temporary.write_text(json.dumps({"made_by": "gitstead demo", "throwaway": throwaway}) + "\n")
    temporary.replace(folder.marker)
