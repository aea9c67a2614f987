"""The secrets of one build as files, since buildx takes them in no other way that shows nowhere.

Used by `image_builder`. Files are for their owner alone, on tmpfs where the folder is, and gone when the build ends;
what a kill leaves is swept at the next start. Must not log a value or put one into a name.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from reconciler.errors import HostUnfit


@contextlib.contextmanager
def secret_options(secrets: Mapping[str, str], folder: Path) -> Iterator[Sequence[str]]:
    """The options of `buildx build` that hand the secrets over by name; none makes no file.

    Raises HostUnfit where `folder` cannot be written.
    """
    if not secrets:
        yield ()
        return
    with contextlib.ExitStack() as written:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            place = Path(written.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            options = [_option(name, _write(place / str(n), secrets[name])) for n, name in enumerate(sorted(secrets))]
        except OSError as error:
            raise HostUnfit(
                f"build secrets cannot be written to {folder}: {error.strerror}",
                expected="a folder of ours with room",
                remedy="Check runtime in the host file, or its owner",
            ) from error
        yield options


def sweep(folder: Path) -> None:
    """At start: what a killed process left."""
    shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, value: str) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(value.encode())
    return path


def _option(name: str, path: Path) -> str:
    """Quoted as buildx reads it, which is as a line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([f"id={name}", f"src={path}"])
    return f"--secret={line.getvalue()}"
