"""The state folder: what is made once in it, and who may run on it.

Called by `platform`, `reading` and `service`. Makes folders and files, starts nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import string
from collections.abc import Callable, Iterator
from pathlib import Path

from reconciler.adapters.git_access import TOKEN_FILE, Access, Keyring, Rights
from reconciler.adapters.git_repository import Mirrors
from reconciler.errors import HostUnfit
from reconciler.model.address import remote_of
from reconciler.model.effects import Secrets
from reconciler.model.host import Host
from reconciler.model.spec import CredentialSpec
from reconciler.settings import Settings

_ALPHABET = string.ascii_lowercase + string.digits


def prepare_state(settings: Settings) -> Host:
    """Make the state folder and what is made once in it; returns who we are on this host."""
    settings.state.mkdir(parents=True, exist_ok=True)
    settings.state.chmod(0o711)
    for name, mode in (("keys", 0o700), ("mirrors", 0o700), ("builds", 0o700), ("upstreams", 0o755)):
        (settings.state / name).mkdir(exist_ok=True)
        (settings.state / name).chmod(mode)
    instance = _once(settings.state / "instance", lambda: _random(6), mode=0o644)
    token = _once(settings.state / "keys" / "verify-token", lambda: secrets.token_urlsafe(24), mode=0o600)
    return Host(
        instance=instance,
        upstreams_folder=str(settings.upstreams.resolve()),
        verify_token=token,
        http_port=settings.http_port,
        ports=settings.ports,
        builds=settings.builds,
        disk_budget_bytes=settings.disk_budget_bytes,
    )


def _random(length: int) -> str:
    return secrets.choice(string.ascii_lowercase) + "".join(secrets.choice(_ALPHABET) for _ in range(length - 1))


def _once(path: Path, make: Callable[[], str], *, mode: int) -> str:
    """The text of a file that is made once: complete or not at all, also after a kill."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    temporary = path.with_name(f"{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(make() + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return path.read_text().strip()


@contextlib.contextmanager
def only_reconciler(settings: Settings) -> Iterator[None]:
    """Hold the state folder for this process (invariant 7). Raises HostUnfit naming who has it."""
    path = settings.state / "reconciler.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise HostUnfit(
                f"another reconciler (process {file.read().strip() or 'unknown'}) runs on {settings.state}",
                expected="one reconciler per state folder",
                remedy="Stop it first, or choose another state folder",
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def open_mirrors(
    settings: Settings,
    *,
    secrets: Secrets | None = None,
    folder: Path | None = None,
    also: str = "",
    remembers: bool = False,
) -> Mirrors:
    """Mirrors in this state folder (or `folder`), with what the host file allows and the path `also`.

    `secrets` opens the credentials that specs name; `remembers` is for the reconciler alone, which keeps the ssh
    hosts that a spec lets us meet.
    """
    fixed = {settings.platform_repo: platform_access(settings)} if settings.platform_repo else {}
    rights = Rights(
        settings.state / "met_hosts",
        Keyring(secrets, token_file=settings.platform_token_file),
        remembers=remembers,
        fixed=fixed,
    )
    return Mirrors(
        folder or settings.mirrors,
        local_paths=(*settings.local_paths, *((also,) if also.startswith("/") else ())),
        known_hosts=settings.known_hosts,
        timeout_s=settings.git_timeout_s,
        rights=rights,
    )


def platform_access(settings: Settings) -> Access:
    """How the platform repository itself is asked: with what the host file names, since no spec can say it."""
    if settings.platform_token_file is None:
        return Access()
    host = remote_of(settings.platform_repo).authority
    return Access(CredentialSpec(TOKEN_FILE, "https-token", host, "", username=settings.platform_username))
