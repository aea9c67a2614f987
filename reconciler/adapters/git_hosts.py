"""Which ssh hosts are known, and by which keys: the host's own file, the lines of platform.yaml, first meetings.

Called by `git_asking` before a worker connects. The library reads `.ssh/known_hosts` of a home folder: one such
folder holds what is pinned, another also what was met first, for repositories whose spec allows that alone. A
pinned key always wins over one that was met; a key that was met is never replaced (trap 17).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import structlog

from reconciler.adapters import processes
from reconciler.errors import GitsteadError, RemoteUnavailable
from reconciler.model.address import Remote

log = structlog.get_logger(__name__)

SCAN_S = 5.0
_LIMIT = 4 * 1024 * 1024


class KnownHosts:
    """`own` is the host's known_hosts file, `met` the file of first meetings. Safe from any thread.

    Where it may not be written, a host that is met holds for this process alone.
    """

    def __init__(self, folder: Path, own: Path, *, met: Path, remembers: bool) -> None:
        self._folder, self._own, self._met = folder, own, met
        self._remembers = remembers
        self._passing = ""
        self._lock = threading.Lock()
        self._written: dict[Path, str] = {}

    def home(self, remote: Remote, pinned: tuple[str, ...], *, may_meet: bool, timeout_s: float) -> Path:
        """The home folder to connect with. Where `may_meet`, a host that nobody pinned is met now and remembered.

        Raises `RemoteUnavailable` where it cannot be met, `OSError` where the folder cannot be written.
        """
        lines = self._lines(pinned)
        known = usable(lines)
        if not may_meet or keys_of(known, remote):
            return self._written_home("pinned", known)
        met = self._read_met()
        if not keys_of(met, remote):
            met = self._meet(remote, timeout_s)
        return self._written_home("met", usable(f"{lines}\n{met}"))

    def keys(self, remote: Remote, pinned: tuple[str, ...], *, may_meet: bool) -> tuple[str, ...]:
        """Fingerprints that hold for a host now."""
        lines = self._lines(pinned)
        known = keys_of(usable(lines), remote)
        return fingerprints(known or (keys_of(usable(f"{lines}\n{self._read_met()}"), remote) if may_meet else ()))

    def _lines(self, pinned: tuple[str, ...]) -> str:
        return "\n".join([_text(self._own), *pinned])

    def _read_met(self) -> str:
        return usable(_text(self._met)) + self._passing

    def _meet(self, remote: Remote, timeout_s: float) -> str:
        found = scan(remote, timeout_s=timeout_s)  # without the lock: a silent host delays nobody else
        if not found:
            raise RemoteUnavailable(
                f'"{remote.authority}" showed no ssh key that could be remembered (source.host_key first-use)',
                expected="an ssh server that answers",
                remedy="It is asked again by itself",
            )
        with self._lock:
            met = self._read_met()
            if keys_of(met, remote):
                return met
            if self._remembers:
                _replace(self._met, met + found)
            else:
                self._passing += found
        prints = ", ".join(fingerprints(keys_of(found, remote)))
        log.warning("host_key.met", host=remote.authority, fingerprints=prints, file=str(self._met))
        return met + found

    def _written_home(self, name: str, text: str) -> Path:
        home = self._folder / "homes" / name
        path = home / ".ssh" / "known_hosts"
        with self._lock:
            if self._written.get(path) != text or not path.is_file():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _replace(path, text)
                self._written[path] = text
        return home


def scan(remote: Remote, *, timeout_s: float) -> str:
    """The keys that a host shows now, as lines of known_hosts; "" where it shows none in time.

    Raises `RemoteUnavailable` where no program for it is here.
    """
    seconds = max(1, int(min(timeout_s, SCAN_S)))
    argv = ["ssh-keyscan", "-T", str(seconds), "-p", str(remote.port), "-t", "ed25519,ecdsa,rsa", "--", remote.host]
    try:
        done = processes.run(argv, timeout_s=seconds * 2.0, env=processes.inherited(), check=False)
    except GitsteadError as error:
        raise RemoteUnavailable(f'the ssh key of "{remote.authority}" could not be asked for: {error}') from error
    lines = sorted(line for line in usable(done.text).splitlines() if keys_of(line, remote))
    return "".join(f"{line}\n" for line in lines)


def usable(text: str) -> str:
    """The lines that the library can read. It knows no markers: what is @revoked is left out, whoever names it."""
    plain, revoked = [], set()
    for line in text.splitlines():
        words = line.split()
        if line.startswith("@"):
            revoked |= {words[3]} if words[0] == "@revoked" and len(words) > 3 else set()
        elif len(words) >= 3 and not line.startswith("#") and _blob(words[2]):
            plain.append((words[2], " ".join(words[:3])))
    return "".join(f"{line}\n" for key, line in plain if key not in revoked)


def keys_of(text: str, remote: Remote) -> tuple[str, ...]:
    """`kind key` of each line that is about a host; a line for its usual port counts, as for the library."""
    names = {f"[{remote.host}]:{remote.port}", remote.host}
    found = [line.split()[:3] for line in text.splitlines()]
    return tuple(f"{kind} {key}" for hosts, kind, key in found if any(_is_named(hosts, name) for name in names))


def _is_named(hosts: str, name: str) -> bool:
    if not hosts.startswith("|1|"):
        return any(_matches(pattern, name) for pattern in hosts.lower().split(","))
    salt, _, digest = hosts.removeprefix("|1|").partition("|")
    made = hmac.new(_blob(salt), name.encode(), hashlib.sha1).digest()
    return hmac.compare_digest(made, _blob(digest))


def _matches(pattern: str, name: str) -> bool:
    """A host under a pattern is no stranger, though the library itself does not follow patterns."""
    form = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(form, name) is not None


def fingerprints(keys: Iterable[str]) -> tuple[str, ...]:
    """SHA256:… of each `kind key`, as ssh prints it."""
    return tuple(_fingerprints(keys))


def _fingerprints(keys: Iterable[str]) -> Iterator[str]:
    for key in keys:
        kind, _, blob = key.partition(" ")
        yield f"{fingerprint(_blob(blob))} ({kind})"


def fingerprint(blob: bytes) -> str:
    """SHA256:… of a public key in its binary form, as ssh prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _blob(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _text(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(_LIMIT).decode("utf-8", "replace")
    return ""


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(text)
    temporary.chmod(0o600)
    temporary.replace(path)
