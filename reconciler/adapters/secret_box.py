"""Sealed values: texts that lie in Git and that only this platform's key opens; the only importer of pyrage.

Called by `loop` and `apply` (open), by the CLI and `deploy-key` (seal) and by `bootstrap` (the key files). What it
opened is masked from then on, in a project's logs what is its own. It must not write, log or put into an error what is
inside a value.

A sealed text is `age:` and, in base64, an age file whose plaintext is `gitstead/v1`, kind, project (or `*`), key and
value, one a line; the value is the rest, newlines included. tests/vectors/sealed.json holds it to that.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import shlex
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyrage
from pyrage import x25519

from reconciler.errors import HostUnfit, SecretUnreadable, SpecInvalid
from reconciler.masking import SHORTEST, Masker
from reconciler.model.operation import PLATFORM

VERSION = "gitstead/v1"
KINDS = ("run-secret", "build-secret", "credential")
ANY_PROJECT = "*"
PREFIX = "age:"
LONGEST_VALUE = 64 * 1024
_LONGEST_SEALED = 100_000
_KEPT_OPEN = 4096
_MARK_KEY_DIGITS = 64
_IDENTITY = "AGE-SECRET-KEY-"
_AGAIN = "Seal it again: gitstead seal"


class Sealed(NamedTuple):
    """What stands inside one sealed text."""

    kind: str
    project: str
    key: str
    value: str


class SecretBox:
    """Implements `model.effects.Secrets` with the key files of the folder `keys`. Safe from any thread.

    The files are read when they are first needed and again when they change; none has to be there yet. `masker` learns
    all that was opened, `masker_of` a project what was opened for it; "", the platform, has the former.
    """

    def __init__(self, keys: Path, masker: Masker) -> None:
        self._keys, self._masker = keys, masker
        self._maskers = {PLATFORM: masker}
        self._lock = threading.Lock()
        self._read_at: tuple[int, ...] = ()
        self._identities: Sequence[x25519.Identity] = ()
        self._opened: OrderedDict[str, Sealed] = OrderedDict()

    def generation(self) -> tuple[int, ...]:
        """Changes when the key files do: what could not be opened may be opened now."""
        try:
            found = [(self._keys / name).stat() for name in ("identity", "mark")]
        except OSError:
            return ()
        return tuple(part for each in found for part in (each.st_ino, each.st_mtime_ns, each.st_size))

    def masker_of(self, project_name: str) -> Masker:
        """Knows the project's own secrets alone, so that what it prints or pushes tells it nothing of another's.

        The same one each time: it learns what is opened later. Credentials are in none: no build or app gets one.
        """
        with self._lock:
            return self._maskers.setdefault(project_name, Masker())

    def open(self, sealed: str, *, kind: str, project: str, key: str) -> str:
        """The plaintext. Raises `SecretUnreadable` where it cannot be opened or is of another kind, project or key."""
        place = f"{kind} {key} of {project}"
        try:
            with self._lock:
                found = self._open(sealed)
            self._masker.add(found.value)
        except SecretUnreadable as error:
            raise SecretUnreadable(f"{place} {error.what}", expected=error.expected, remedy=error.remedy) from error
        except HostUnfit as error:
            raise SecretUnreadable(
                f"{place} cannot be opened: {error.what}", expected=error.expected, remedy=error.remedy
            ) from error
        except SpecInvalid as error:
            raise SecretUnreadable(f"{place}: {error.what}", expected=error.expected, remedy=error.remedy) from error
        if (found.kind, found.key) != (kind, key) or found.project not in (project, ANY_PROJECT):
            raise SecretUnreadable(
                f"{place} was sealed as {found.kind} {_shown(found.key)} of {_shown(found.project)}",
                expected="a value sealed for this place",
                remedy=f"gitstead seal {shlex.quote(project)} {key} --kind {kind}",
            )
        if project != ANY_PROJECT:  # and not before it is known to belong there: anybody can copy a sealed text
            self.masker_of(project).add(found.value)
        return found.value

    def mark(self, sealed: str, *, kind: str, project: str, key: str) -> str:
        """Eight hex digits that change with the plaintext alone; raises as `open` does.

        Made with a key of this host, so that nobody can try values against it.
        """
        value = self.open(sealed, kind=kind, project=project, key=key)
        plain = "\n".join((kind, project, key, value)).encode("utf-8", "surrogateescape")
        return hmac.new(self._mark_key(f"{kind} {key} of {project}"), plain, hashlib.sha256).hexdigest()[:8]

    def _mark_key(self, place: str) -> bytes:
        path = self._keys / "mark"
        try:
            found = path.read_bytes().strip()
        except OSError as error:
            raise _no_mark_key(place, path, f"cannot be read: {error.strerror}") from error
        if len(found) < _MARK_KEY_DIGITS:
            raise _no_mark_key(place, path, "is damaged")
        return found

    def _open(self, sealed: str) -> Sealed:
        now = self.generation()
        if now != self._read_at or not now:
            self._identities, self._read_at = _read_identities(self._keys / "identity"), now
            self._opened.clear()
        found = self._opened.get(sealed)
        if found is None:
            found = self._opened[sealed] = _decrypted(sealed, self._identities)
            if len(self._opened) > _KEPT_OPEN:
                self._opened.popitem(last=False)
        return found


def _no_mark_key(place: str, path: Path, what: str) -> SecretUnreadable:
    return SecretUnreadable(
        f"{place} needs {path}, which {what}",
        expected="the file that the reconciler made at its first start",
        remedy=f"Put it back, or remove {path} and run gitstead key, which makes another",
    )


def seal(value: str, *, kind: str, project: str, key: str, recipients: Sequence[str]) -> str:
    """The sealed text of a value, which any of the recipients' identities opens.

    Raises SpecInvalid for a value that is too short or too long or holds a NUL, and for what is no recipient.
    """
    _check(value, kind=kind, project=project, key=key)
    plain = "\n".join((VERSION, kind, project, key, value)).encode()
    file = pyrage.encrypt(plain, [_recipient(each) for each in recipients])
    return PREFIX + base64.b64encode(file).decode()


def unseal(sealed: str, keys: Path) -> Sealed:
    """What stands inside, whatever it is for; for sealing it again. Raises SecretUnreadable, HostUnfit."""
    return _decrypted(sealed, _read_identities(keys / "identity"))


def ensure_keys(keys: Path) -> None:
    """Make the folder and the files of it that are missing: the identity, and the key of the marks.

    Raises HostUnfit where they cannot be written.
    """
    with _only_writer(keys):
        if not (keys / "identity").exists():
            _write(keys / "identity", _new_identity())
        if not (keys / "mark").exists():
            _write(keys / "mark", secrets.token_hex(_MARK_KEY_DIGITS // 2) + "\n")


def add_identity(keys: Path) -> None:
    """Put a new identity before the others: its recipient is what is sealed to, and all still open.

    Raises HostUnfit where it cannot be written, or where what is there is damaged.
    """
    with _only_writer(keys):
        _read_identities(keys / "identity")
        _write(keys / "identity", _new_identity() + (keys / "identity").read_text())


def recipients_of(keys: Path) -> tuple[str, ...]:
    """The public halves of our identities, the newest first. Raises HostUnfit where there is none."""
    return tuple(str(each.to_public()) for each in _read_identities(keys / "identity"))


def _check(value: str, *, kind: str, project: str, key: str) -> None:
    if kind not in KINDS or not project or not key or any(c < " " for c in project + key):
        raise SpecInvalid(
            f"{kind} {_shown(key)} of {_shown(project)} is no place for a sealed value",
            expected=f"one of {', '.join(KINDS)}, a project or *, and a key, each on one line",
        )
    if len(value.strip()) < SHORTEST:
        raise SpecInvalid(
            f"the value has {len(value.strip())} characters",
            expected=f"at least {SHORTEST}, since a shorter one cannot be hidden in logs",
            remedy="Choose a longer value",
        )
    size = len(value.encode("utf-8", "surrogatepass"))
    if "\0" in value or not _is_unicode(value) or size > LONGEST_VALUE:
        fault = f"has {size} bytes" if size > LONGEST_VALUE else "holds a NUL or bytes that are no text"
        raise SpecInvalid(f"the value {fault}", expected=f"text without NUL of at most {LONGEST_VALUE} bytes")


def _is_unicode(value: str) -> bool:
    return not any("\ud800" <= each <= "\udfff" for each in value)


def _recipient(text: str) -> x25519.Recipient:
    try:
        return x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise SpecInvalid(f"{_shown(text)} is no recipient", expected="age1…, as gitstead key prints it") from error


def _decrypted(sealed: str, identities: Sequence[x25519.Identity]) -> Sealed:
    """Not a word of what is inside gets into an error, unless it is one of ours in every other respect."""
    if not sealed.startswith(PREFIX) or len(sealed) > _LONGEST_SEALED:
        raise SecretUnreadable("is no sealed value", expected=f"{PREFIX} and base64", remedy=_AGAIN)
    try:
        plain = pyrage.decrypt(base64.b64decode(sealed.removeprefix(PREFIX), validate=True), list(identities))
    except ValueError as error:  # no base64
        raise SecretUnreadable("is damaged", expected="the text as it was printed", remedy=_AGAIN) from error
    except pyrage.DecryptError as error:
        raise SecretUnreadable(
            "cannot be opened with this platform's key",
            expected="a value sealed to a recipient that gitstead key prints",
            remedy=f"{_AGAIN}, or put the earlier keys/identity back",
        ) from error
    text = plain.decode("utf-8", "replace")  # an error of decoding would hold the plaintext
    version, *rest = text.split("\n", 4)
    if version != VERSION or len(rest) != 4 or rest[0] not in KINDS or not all(rest[1:3]):
        raise SecretUnreadable("holds something that is none of ours", expected=f"what {VERSION} says", remedy=_AGAIN)
    if "\0" in text or text.encode() != plain:
        raise SecretUnreadable("holds a NUL or bytes that are no text", expected="UTF-8", remedy=_AGAIN)
    return Sealed(*rest)


def _read_identities(path: Path) -> list[x25519.Identity]:
    try:
        lines = [line.strip() for line in path.read_text("utf-8", "replace").splitlines()]
        found = [x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except OSError as error:
        raise HostUnfit(
            f"the key file {path} cannot be read: {error.strerror}",
            expected="the identity that the reconciler, or gitstead key, made on this host",
            remedy="Run this as the reconciler's user, or put the file back. To seal elsewhere, name --recipient age1…",
        ) from error
    except pyrage.IdentityError:
        found = []
    if not found:
        raise HostUnfit(
            f"the key file {path} is damaged",
            expected=f"lines that begin with {_IDENTITY}, or with #",
            remedy="Put a good copy back",
        )
    return found


def _new_identity() -> str:
    identity = x25519.Identity.generate()
    return f"# public key: {identity.to_public()}\n{identity}\n"


@contextlib.contextmanager
def _only_writer(keys: Path) -> Iterator[None]:
    """The folder, made if need be, for this process alone."""
    try:
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(keys, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
            os.fsync(folder)  # a value sealed to a key that a power cut takes back is lost
        finally:
            os.close(folder)
    except OSError as error:
        raise HostUnfit(
            f"the folder of the keys, {keys}, cannot be written: {error.strerror}",
            expected="a state folder of ours",
            remedy="Run this as the reconciler's user",
        ) from error


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and for its owner alone from the first moment."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _shown(text: str) -> str:
    """A name that somebody else wrote, as far as an error may carry it."""
    return ascii(text if len(text) <= 60 else f"{text[:59]}…")
