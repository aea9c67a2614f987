"""Where a benchmark happens: a folder, an image to build on, and platforms in it, all taken away at the end.

Used by `deploying` and `fleet`. Touches only what it made.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.debian import Mirror
from bench.image import import_base
from tests.platform_support import Platform, Repo, free_ports

LEASES = (26000, 27999)
_TMPFS = Path("/dev/shm")  # noqa: S108 - the folder in it is made by mkdtemp


@dataclass(frozen=True)
class Place:
    """`token` is in every name; `base` is the image that the apps are built on.

    `memory` is a folder on tmpfs, for what lies below /run on a server.
    """

    folder: Path
    memory: Path
    token: str
    mirror: Mirror

    @property
    def base(self) -> str:
        return f"gitstead-bench/busybox:{self.token}"

    @contextlib.contextmanager
    def platform(self, name: str, **settings: str) -> Iterator[Platform]:
        """A platform with its status page, not started; `settings` are GITSTEAD_* variables in lower case."""
        folder = self.folder / name
        folder.mkdir()
        http_port, status_port = free_ports(2)
        made = Platform(folder, http_port, status_port, LEASES, web=True)
        made.settings = {f"GITSTEAD_{key.upper()}": value for key, value in settings.items()}
        (folder / "run").symlink_to(self.memory, target_is_directory=True)
        made.repos["platform"] = Repo.make(folder, "platform")
        document = "apiVersion: gitstead/v1\nkind: Platform\ndomain: localhost\n"
        made.platform_repo.push({"platform.yaml": document}, "The platform")
        try:
            yield made
        finally:
            made.remove()


@contextlib.contextmanager
def place() -> Iterator[Place]:
    """Raises `GitsteadError` where no static busybox can be had."""
    folder = Path(tempfile.mkdtemp(prefix="gs-bench-"))
    folder.chmod(0o755)
    memory = Path(tempfile.mkdtemp(prefix="gs-bench-", dir=_TMPFS if _TMPFS.is_dir() else None))
    made = Place(folder, memory, secrets.token_hex(4), Mirror(folder / "apt"))
    try:
        import_base(made.base, made.mirror)
        yield made
    finally:
        remove_images(made.base)
        for each in (folder, memory):
            shutil.rmtree(each, ignore_errors=True)


def remove_images(*names: str) -> None:
    """Take images away by name; those that are not there are passed over."""
    subprocess.run(["docker", "rmi", "-f", *names], check=False, capture_output=True)
