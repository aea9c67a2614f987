"""The small files that say where each project answers: one atomic rename switches a project.

Called by `observe` (look) and `apply.operations` (write, remove). Caddy reads
`<folder>/<project>/current` on each request, so a file is always whole, readable by Caddy's user,
and on disk before the rename that shows it. It must not touch entries that it did not make.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from reconciler.errors import HostUnfit, NotOurs, StoreBusy
from reconciler.model.naming import PROJECT_NAME

CURRENT = "current"
_TEMPORARY_PREFIX = ".current."
_ADDRESS = re.compile(r"127\.0\.0\.1:([1-9][0-9]{0,4})\n?\Z")
_LONGEST = 64
_LARGEST_PORT = 65535


class UpstreamFiles:
    """The folder of upstream files. One writer per project at a time (the loop's own rule)."""

    def __init__(self, folder: Path) -> None:
        """Make the folder where it is missing (0755, since Caddy runs as a user of its own).

        Raises `HostUnfit` where that cannot be done.
        """
        self.folder = folder
        self.odd: tuple[str, ...] = ()
        self.writes = 0
        with _saying(f"folder {folder} for upstream files cannot be made"):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            folder.chmod(0o755)

    def look(self) -> Mapping[str, int]:
        """Project to port, 0 where a file is garbled or unreadable; a project without a file is absent.

        What is not of ours is left out and named in `odd`; a folder that was lost holds no file. Raises
        `HostUnfit` where the folder is unreadable.
        """
        ports: dict[str, int] = {}
        if not self.folder.exists():
            return ports
        odd: list[str] = []
        with _saying(f"folder {self.folder} cannot be read"), os.scandir(self.folder) as entries:
            for entry in entries:
                if not PROJECT_NAME.match(entry.name) or not entry.is_dir(follow_symlinks=False):
                    odd.append(entry.name)
                    continue
                port = _read(f"{entry.path}/{CURRENT}")
                if port is not None:
                    ports[entry.name] = port
        self.odd = tuple(sorted(odd))
        return ports

    def write(self, project_name: str, port: int) -> bool:
        """Point the project at 127.0.0.1:`port`; False where it was so already and nothing was written.

        Raises `HostUnfit` where the disk refuses, `StoreBusy` where it is full, `NotOurs` where the
        project's place is no folder.
        """
        if not 0 < port <= _LARGEST_PORT:
            raise ValueError(f"port {port}: expected 1 to {_LARGEST_PORT}")
        place = self._place(project_name)
        current = place / CURRENT
        if _read(str(current)) == port:
            return False
        with _saying(f"upstream file {current} cannot be written"):
            for folder in (self.folder, place):
                if not folder.is_dir():
                    folder.mkdir(mode=0o755)
                    folder.chmod(0o755)
                    _sync_folder(folder.parent)
            _replace(current, f"127.0.0.1:{port}")
        self.writes += 1
        return True

    def remove(self, project_name: str) -> bool:
        """Take the project's file and folder away; False where there were none.

        Foreign files in the folder stay, and the folder with them.
        """
        place = self._place(project_name)
        if not place.is_dir():
            return False
        with _saying(f"upstream file of {project_name} cannot be removed"):
            (place / CURRENT).unlink(missing_ok=True)
            _remove_temporaries(place)
            with contextlib.suppress(OSError):
                place.rmdir()
            _sync_folder(self.folder)
        self.writes += 1
        return True

    def sweep(self) -> int:
        """Remove what a kill in the middle of a write left; how many files. For start, under the lock."""
        with _saying(f"folder {self.folder} cannot be swept"):
            places = [each for each in self.folder.iterdir() if PROJECT_NAME.match(each.name) and _is_folder(each)]
            return sum(_remove_temporaries(place) for place in places)

    def _place(self, project_name: str) -> Path:
        if not PROJECT_NAME.match(project_name):
            raise ValueError(f"project name {project_name!r}: expected {PROJECT_NAME.pattern}")
        place = self.folder / project_name
        if os.path.lexists(place) and not _is_folder(place):
            raise NotOurs(
                f"{place} is not a folder",
                expected="a folder that holds the project's upstream file",
                remedy="Move it away",
            )
        return place


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _read(path: str) -> int | None:
    """The port in the file; 0 where it has none, None where there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError:
        return 0
    try:
        text = os.read(descriptor, _LONGEST).decode("ascii", "replace")
    except OSError:
        return 0
    finally:
        os.close(descriptor)
    match = _ADDRESS.match(text)
    port = int(match[1]) if match else 0
    return port if port <= _LARGEST_PORT else 0


def _replace(path: Path, text: str) -> None:
    """Write beside the target, on disk and readable by Caddy before the rename shows it."""
    temporary = path.with_name(f"{_TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    try:
        try:
            os.write(descriptor, text.encode())
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _remove_temporaries(place: Path) -> int:
    leftovers = [each for each in place.iterdir() if each.name.startswith(_TEMPORARY_PREFIX)]
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return len(leftovers)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _saying(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreBusy(f"{what}: the disk is full", expected="free space", remedy="Free some space") from error
        raise HostUnfit(
            f"{what}: {error.strerror or error}",
            expected="a writable folder of ours",
            remedy="Run gitstead doctor",
        ) from error
