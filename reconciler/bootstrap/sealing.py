"""The platform's keys and sealed values, for the commands that handle them.

Called by `cli.secrets` and, for its masker, by `reading`. No reconciler has to run.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.adapters.git_platform import read_folder
from reconciler.adapters.secret_box import add_identity, ensure_keys, recipients_of, seal, unseal
from reconciler.desired.sealed_texts import SealedText, find_sealed, replace_sealed
from reconciler.errors import SecretUnreadable, SourceUnusable
from reconciler.settings import Settings


@dataclass(frozen=True)
class Resealed:
    """One value that was sealed anew: where it stands, and what it is for."""

    place: str
    kind: str
    project: str
    key: str


def public_keys(settings: Settings, *, rotate: bool) -> tuple[str, ...]:
    """The recipients of this platform, the newest first; makes the first key where there is none.

    `rotate` makes one more, which comes first from then on. Raises HostUnfit.
    """
    ensure_keys(settings.keys)
    if rotate:
        add_identity(settings.keys)
    return recipients_of(settings.keys)


def seal_value(
    settings: Settings, value: str, *, kind: str, project: str, key: str, recipients: Sequence[str] = ()
) -> str:
    """The sealed text of `value`, for `recipients` or else for this host's own key.

    Raises SpecInvalid for a value or recipient that cannot be used, HostUnfit where there is no key here.
    """
    return seal(value, kind=kind, project=project, key=key, recipients=recipients or recipients_of(settings.keys)[:1])


def reseal(settings: Settings, folder: Path, *, recipients: Sequence[str] = ()) -> list[Resealed]:
    """Seal every value of a working tree anew, to our newest key and `recipients`; all of them or none.

    Files stay as they are otherwise. Raises SecretUnreadable naming the place of each that cannot be opened, and
    SourceUnusable for a file that cannot be read.
    """
    if not folder.is_dir():
        raise SourceUnusable(f"{folder} is no folder", expected="a working tree of the platform repository")
    files = read_folder(folder)
    to = (*recipients_of(settings.keys)[:1], *recipients)
    problems = list(files.unusable.values())
    changes: dict[str, dict[SealedText, str]] = {}
    done: list[Resealed] = []
    for path, (_, data) in sorted(files.files.items()):
        found, diagnostics = find_sealed(path, data)
        problems += [str(each) for each in diagnostics]
        for each in found:
            try:
                inside = unseal(each.text, settings.keys)
            except SecretUnreadable as error:
                problems.append(f"{each.location} {error}")
                continue
            sealed = seal(inside.value, kind=inside.kind, project=inside.project, key=inside.key, recipients=to)
            changes.setdefault(path, {})[each] = sealed
            done.append(Resealed(str(each.location), inside.kind, inside.project, inside.key))
    if problems:
        raise SecretUnreadable(
            "nothing was changed: " + "; ".join(problems), expected="files of which every sealed value can be opened"
        )
    for path, texts in changes.items():
        _replace(folder / path, replace_sealed(files.files[path][1], texts))
    return done


def _replace(path: Path, data: bytes) -> None:
    """The whole file at once, with the mode that it had. The tree may be a stranger's: no name in it is written to."""
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise SourceUnusable(f"{path} cannot be written: {error.strerror}", remedy="Check its owner") from error
