"""Lists the refs of a repository and fetches the wanted ones into its mirror, within limits.

Runs in a worker process for remotes (`git_worker`) and in our own for paths of this host. Imports
nothing heavy, since each worker pays for it. Must not word messages for people: `git_trouble` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pygit2
from pygit2.credentials import Keypair, KeypairFromMemory, Username, UserPass
from pygit2.enums import CredentialType

from reconciler.adapters.bounds import current
from reconciler.adapters.git_mirror import held_bytes, mirror_ref, open_bare, target_of
from reconciler.model.address import remote_of

MAX_REFS = 200_000
MAX_ALL = 1_000
MAX_OBJECTS = 5_000_000
FULL = 2
SHOWN_NAMES = 20
Given = Username | UserPass | Keypair | KeypairFromMemory


@dataclass(frozen=True)
class Request:
    """What to fetch. `refs` are full names; empty means every branch, up to 1,000.

    `secret`, with `username`, is a token or a private ssh key in plain, for the server of `url` alone; without
    one the first of the private key files `keys` that exists is used. `home` holds `.ssh/known_hosts`.
    `timeout_s` bounds connecting and listing, `transfer_s` the transfer after it. `too_big` are targets that were more
    than `max_bytes`, as `too_big_said` told: together they are not fetched again. With `into`, a folder beside the
    mirror, nothing is asked: see `git_repack`.
    """

    url: str
    mirror: str
    refs: tuple[str, ...]
    timeout_s: float
    transfer_s: float
    max_bytes: int
    home: str = ""
    keys: tuple[str, ...] = ()
    username: str = ""
    secret: str = field(default="", repr=False)
    too_big: tuple[str, ...] = ()
    too_big_said: str = ""
    into: str = ""

    @property
    def is_ssh(self) -> bool:
        return remote_of(self.url).scheme == "ssh"


@dataclass(frozen=True)
class Answer:
    """`refs` are the wanted refs that the remote has; `names` some of its branches, for messages.

    `trouble` is "" or one of the keys of `git_trouble`, `detail` what the library said. `fetched`: new
    objects came.
    """

    refs: dict[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    trouble: str = ""
    detail: str = ""
    fetched: bool = False


class Refused(Exception):
    """We ended the connection ourselves: `trouble` says why."""

    def __init__(self, trouble: str, detail: str) -> None:
        self.trouble = trouble
        self.detail = detail
        super().__init__(detail)


class Callbacks(pygit2.RemoteCallbacks):
    """The one answer to every question of a remote: verified peers only, credentials once, limits kept.

    pygit2 on its own accepts unknown and wrong ssh host keys, and asks for credentials up to 15 times,
    also on behalf of a host that a redirect named (traps 17 and 18).
    """

    def __init__(self, request: Request, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._request = request
        self._clock = clock
        self._given = False
        self._bounds = current()
        self._deadline = clock() + request.timeout_s

    def begin_transfer(self) -> None:
        self._deadline = self._clock() + self._request.transfer_s

    def certificate_check(self, certificate: None, valid: bool, host: bytes | str) -> bool:
        if valid:
            return True
        name = host.decode("utf-8", "replace") if isinstance(host, bytes) else host
        raise Refused("host_key" if self._request.is_ssh else "tls", name)

    def credentials(self, url: str, username_from_url: str | None, allowed_types: CredentialType) -> Given:
        asked = remote_of(url)
        if asked != remote_of(self._request.url):
            raise Refused("redirect", asked.authority)
        if not self._request.is_ssh:
            return self._token(allowed_types)
        name = username_from_url or "git"
        if allowed_types & CredentialType.SSH_KEY:
            return self._key(name)
        if allowed_types & CredentialType.USERNAME:
            return Username(name)
        raise Refused("auth", "the host asks for a password, not for an ssh key")

    def _token(self, allowed_types: CredentialType) -> UserPass:
        if not self._request.secret:
            raise Refused("asks", "the host asks for a user name and password")
        if self._given or not allowed_types & CredentialType.USERPASS_PLAINTEXT:
            raise Refused("auth", "the host does not accept it")
        self._given = True
        return UserPass(self._request.username, self._request.secret)

    def _key(self, name: str) -> Keypair | KeypairFromMemory:
        if self._given:
            raise Refused("auth", "the host does not accept the ssh key")
        self._given = True
        if self._request.secret:
            return KeypairFromMemory(name, "", self._request.secret, "")
        key = next((key for key in self._request.keys if Path(key).is_file()), None)
        if key is None:
            places = " or ".join(self._request.keys)
            raise Refused(
                "asks", "the host asks for an ssh key" + (f" and there is none at {places}" if places else "")
            )
        public = f"{key}.pub"
        return Keypair(name, public if Path(public).is_file() else None, key, "")

    def transfer_progress(self, stats: pygit2.remotes.TransferProgress) -> None:
        if stats.received_bytes > self._request.max_bytes or stats.total_objects > MAX_OBJECTS:
            raise Refused("too_big", f"{stats.total_objects} objects, {stats.received_bytes} bytes and more to come")
        self._in_time()

    def sideband_progress(self, string: str) -> None:
        self._in_time()

    def _in_time(self) -> None:
        self._bounds.check()
        if self._clock() > self._deadline:
            raise Refused("deadline", f"{self._request.transfer_s:g}")


def exchange(request: Request, *, on_transfer: Callable[[], None] = lambda: None) -> Answer:
    """One connection: list, compare with the mirror, fetch only what differs.

    Never raises for trouble with the remote or the mirror. `on_transfer` is called between the listing
    and a transfer. Nothing is written where nothing is new (invariant 11).
    """
    callbacks = Callbacks(request)
    answer = Answer()
    try:
        mirror = open_bare(Path(request.mirror))
        remote = mirror.remotes["origin"]
        remote.connect(callbacks=callbacks, proxy=True)
        answer = _listed(remote, request.refs)
        wanted = [ref for ref, target in answer.refs.items() if target_of(mirror, mirror_ref(ref)) != target]
        if wanted:
            check_size(request, {answer.refs[ref] for ref in wanted})
            on_transfer()
            callbacks.begin_transfer()
            fetch(remote, wanted, callbacks)
            answer = replace(answer, fetched=True)
    except Refused as refused:
        return Answer(answer.refs, answer.names, refused.trouble, refused.detail)
    except (pygit2.GitError, OSError, ValueError, KeyError) as error:
        return Answer(answer.refs, answer.names, classify(error), words(error))
    return answer


def check_size(request: Request, targets: set[str]) -> None:
    """Before a transfer of these. Raises `Refused` where it was too big before, or the mirror has no room for more."""
    if request.too_big and targets.issuperset(request.too_big):
        raise Refused("too_big", request.too_big_said)
    held = held_bytes(Path(request.mirror))
    if held > FULL * request.max_bytes:
        raise Refused("full", f"its mirror has {held} bytes")


def fetch(remote: pygit2.Remote, refs: list[str], callbacks: Callbacks) -> None:
    """Fetch full refs into the mirror; a force-push is followed."""
    remote.fetch([f"+{ref}:{mirror_ref(ref)}" for ref in refs], callbacks=callbacks, proxy=True)


def _listed(remote: pygit2.Remote, refs: tuple[str, ...]) -> Answer:
    heads = remote.list_heads(connect=False)
    if len(heads) > MAX_REFS:
        raise Refused("too_big", f"{len(heads)} refs")
    targets = {head.name: str(head.oid) for head in heads if head.name}
    branches = sorted(name for name in targets if name.startswith("refs/heads/"))
    wanted = refs or tuple(branches[:MAX_ALL])
    names = tuple(name.removeprefix("refs/heads/") for name in branches[:SHOWN_NAMES])
    return Answer({ref: targets[ref] for ref in wanted if ref in targets}, names)


_SIGNS: tuple[tuple[str, str], ...] = (
    ("timed out", "deadline"),
    ("timeout", "deadline"),
    ("redirect", "redirect"),
    ("content type", "not_git"),
    ("content-type", "not_git"),
    ("status code: 401", "auth"),
    ("status code: 403", "forbidden"),
    ("status code: 404", "not_found"),
    ("not found", "not_found"),
    ("does not appear to be a git repository", "not_found"),
    ("not exported", "not_found"),
    ("access denied", "not_found"),
    ("sha256", "sha256"),
    ("object format", "sha256"),
    ("authenticat", "auth"),
    ("certificate", "tls"),
    ("ssl", "tls"),
    ("no space left", "mirror"),
    ("failed to lock", "mirror"),
    ("failed to create", "mirror"),
    ("failed to write", "mirror"),
)


def classify(error: Exception) -> str:
    """The kind of trouble behind an error of the library, by its type and words."""
    if isinstance(error, pygit2.errors.AuthError):
        return "auth"
    if isinstance(error, pygit2.errors.CertificateError):
        return "tls"
    if isinstance(error, TimeoutError):
        return "deadline"
    said = words(error).lower()
    return next((trouble for sign, trouble in _SIGNS if sign in said), "down")


def words(error: Exception) -> str:
    """What the library or the server said, on one line and without what could move a cursor."""
    text = " ".join(str(error.args[0] if error.args else error).split())
    return "".join(letter for letter in text if letter.isprintable())[:500]
