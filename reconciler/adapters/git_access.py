"""By what right each repository is asked: its credential, its host key policy, and how credentials fared.

Made by `loop.sources` and `bootstrap`, used by `git_asking` and `git_submodules`. Opened values live for one
request only; they are never kept, printed or compared here.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from reconciler.adapters.git_ssh_keys import public_of_private
from reconciler.errors import CredentialRefused, GitsteadError, SecretUnreadable
from reconciler.masking import SHORTEST
from reconciler.model.address import Remote
from reconciler.model.credential import CredentialUse
from reconciler.model.effects import Secrets
from reconciler.model.spec import CredentialKind, CredentialSpec, HostKeyPolicy

TOKEN_FILE = "platform.token_file"  # noqa: S105 - the name of a key; no credential of platform.yaml can have a dot
_TOKEN_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Access:
    """How one repository is opened. Without a credential it is asked with this host's own ssh keys, where
    `own_keys` allows it, or without any.
    """

    credential: CredentialSpec | None = None
    host_key: HostKeyPolicy = "pinned"
    own_keys: bool = True


@dataclass(frozen=True)
class Permissions:
    """What platform.yaml and the specs of one revision allow; `access` is by address."""

    access: Mapping[str, Access] = field(default_factory=lambda: MappingProxyType({}))
    known_hosts: tuple[str, ...] = ()
    submodule_hosts: tuple[str, ...] = ()

    def of(self, repo: str) -> Access:
        return self.access.get(repo, Access())


@dataclass(frozen=True)
class Opened:
    """A credential for one request. `shown` names it for people, with the fingerprint of a key."""

    kind: CredentialKind
    username: str
    text: str = field(repr=False)
    shown: str = ""


class Keyring:
    """Opens credentials, and remembers by name how each fared. Safe from any thread."""

    def __init__(self, secrets: Secrets | None = None, *, token_file: Path | None = None) -> None:
        self._secrets, self._token_file = secrets, token_file
        self._uses: dict[str, CredentialUse] = {}
        self._lock = threading.Lock()

    def open(self, credential: CredentialSpec, remote: Remote) -> Opened:
        """The credential in plain, for exactly the host that it names.

        Raises `SecretUnreadable` where it cannot be opened, `CredentialRefused` where it may not be sent there.
        """
        try:
            return self._open(credential, remote)
        except GitsteadError as error:
            self.failed(credential.name, str(error))
            raise

    def _open(self, credential: CredentialSpec, remote: Remote) -> Opened:
        if credential.host != remote.authority:
            raise _unfit(credential, f'is for "{credential.host}", not for "{remote.authority}"')
        if credential.kind == "ssh-key" and remote.scheme != "ssh":
            raise _unfit(credential, f"is an ssh key, and the address is {remote.scheme}://")
        if credential.kind == "https-token" and not remote.may_carry_token:
            raise _unfit(credential, f"is a token, and {remote.scheme}:// would not keep it secret")
        text = self._text(credential)
        shown = f'"{credential.name}" ({credential.kind}{_print(credential, text)})'
        return Opened(credential.kind, credential.username, text, shown)

    def _text(self, credential: CredentialSpec) -> str:
        if credential.name == TOKEN_FILE and self._token_file is not None:
            return read_token(self._token_file)
        if self._secrets is None:
            raise _unfit(credential, "is sealed, and no key that could open it is at hand")
        text = self._secrets.open(credential.sealed, kind="credential", project="*", key=credential.name)
        return text.rstrip() + "\n" if credential.kind == "ssh-key" else text.strip()

    def used(self, name: str, at: float) -> None:
        """A host accepted it."""
        with self._lock:
            self._uses[name] = CredentialUse(at)

    def failed(self, name: str, error: str) -> None:
        """A host refused it, or it could not be opened."""
        with self._lock:
            self._uses[name] = replace(self._uses.get(name, CredentialUse()), error=error)

    def uses(self) -> Mapping[str, CredentialUse]:
        """How each credential fared since the start; what was never tried is not in it."""
        with self._lock:
            return dict(self._uses)


@dataclass(frozen=True)
class Rights:
    """What this host gives to ask with. ssh hosts that a spec allows to be met are kept in the file `met_hosts`,
    which is written only where `remembers`. `fixed` is the access of repositories that no spec decides on.
    """

    met_hosts: Path
    keyring: Keyring = field(default_factory=Keyring)
    remembers: bool = False
    fixed: Mapping[str, Access] = field(default_factory=lambda: MappingProxyType({}))


def read_token(path: Path) -> str:
    """The token of a file that nobody else may read. Raises `SecretUnreadable`."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(_TOKEN_LIMIT).decode("utf-8", "replace").strip()
    except OSError as error:
        raise SecretUnreadable(
            f"{path} cannot be read: {error.strerror}", expected="the file of platform.token_file, with a token in it"
        ) from error
    if mode & 0o077:
        raise SecretUnreadable(
            f"{path} has mode {mode:04o}, so that others may read the token",
            expected="mode 0600",
            remedy=f"chmod 600 {path}, and make a new token if others use this host",
        )
    if len(text) < SHORTEST:
        raise SecretUnreadable(f"{path} has {len(text)} characters", expected=f"a token of at least {SHORTEST}")
    return text


def _print(credential: CredentialSpec, text: str) -> str:
    public = public_of_private(text) if credential.kind == "ssh-key" else None
    return f" {public.fingerprint}" if public else ""


def _unfit(credential: CredentialSpec, what: str) -> CredentialRefused:
    return CredentialRefused(
        f'the credential "{credential.name}" {what}', expected="a credential that fits the address"
    )
