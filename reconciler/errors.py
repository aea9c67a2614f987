"""The whole tree of errors, and which of them waiting can cure.

Raised everywhere, printed by `cli` and the loop; imports nothing of ours.
Adapters wrap a vendor's error once, keep it as `__cause__`, and raise one of these.

    GitsteadError
    ├── Retryable                backoff will help: the loop tries again by itself
    │   ├── EngineUnavailable    Docker does not answer
    │   ├── BuildHindered        a build lacked the network, a registry or disk
    │   ├── EngineConflict       what we acted on was changed or removed by somebody in between
    │   ├── CaddyUnavailable     the admin API does not answer
    │   ├── CaddyConflict        somebody else changed Caddy's configuration in between
    │   ├── PortTaken            a lease met a foreign listener: the next port is tried
    │   ├── RemoteUnavailable    a Git remote is down, slow or refuses us for now
    │   ├── StoreBusy            the store is locked or its disk is full for now
    │   └── ProgramTimedOut      a program was ended at its deadline
    └── Terminal                 needs a new commit, a click or an administrator
        ├── SpecInvalid          the YAML of a person cannot be used
        ├── SourceUnusable       the repository lacks the branch, the path or any commit
        ├── HostKeyMismatch      an ssh host is not the one that known_hosts names
        ├── CredentialRefused    the host of a repository refuses our credential, or asks for one
        ├── SecretUnreadable     a sealed value cannot be opened with our keys
        ├── BuildFailed          the image could not be built
        ├── EngineRefused        Docker said no to what we asked
        ├── CaddyRefused         Caddy said no to a configuration
        ├── NotOurs              a name that should be ours belongs to somebody else
        ├── StoreUnusable        no store, another application's, a newer or a corrupt one
        ├── StepRefused          a deployment may not enter that state from the one it is in
        ├── ProgramFailed        a program ended with a status other than 0
        └── HostUnfit            the machine lacks something that doctor can name
"""

from __future__ import annotations


class GitsteadError(Exception):
    """What went wrong (with the value), what was expected, and what to do.

    `str(error)` is the one sentence that people read; `expected` and `remedy` may be empty.
    """

    def __init__(self, what: str, *, expected: str = "", remedy: str = "") -> None:
        self.what = what
        self.expected = expected
        self.remedy = remedy
        super().__init__(what)

    @property
    def reason(self) -> str:
        """The CamelCase word that conditions and history carry: the class's own name."""
        return type(self).__name__

    def __str__(self) -> str:
        parts = [self.what.rstrip(".")]
        if self.expected:
            parts.append(f"expected {self.expected.rstrip('.')}")
        text = "; ".join(parts) + "."
        return f"{text} {self.remedy.rstrip('.')}." if self.remedy else text


class Retryable(GitsteadError):
    """Waiting can cure it."""


class Terminal(GitsteadError):
    """Only a new commit, a click or an administrator can cure it."""


class EngineUnavailable(Retryable):
    """Docker does not answer."""


class BuildHindered(Retryable):
    """The image could not be built for a cause outside its source: network, registry or disk."""


class EngineConflict(Retryable):
    """What we acted on was changed or removed in between: look again, then decide again."""


class CaddyUnavailable(Retryable):
    """Caddy's admin API does not answer."""


class CaddyConflict(Retryable):
    """If-Match failed: read again, then decide again."""


class PortTaken(Retryable):
    """A host port that we leased is in use by somebody else."""

    def __init__(self, port: int, *, what: str = "") -> None:
        self.port = port
        super().__init__(
            what or f"host port {port} is in use",
            expected="a port that a bind on 127.0.0.1 succeeds on",
            remedy="The next free port is tried by itself",
        )


class RemoteUnavailable(Retryable):
    """A Git remote is down, slow, or refuses us for now."""


class StoreBusy(Retryable):
    """The store is locked, or its disk is full, for now."""


class ProgramTimedOut(Retryable):
    """A program was ended, with its process group, at its deadline."""


class SpecInvalid(Terminal):
    """The YAML of a person cannot be used."""


class SourceUnusable(Terminal):
    """The repository lacks the branch, the path or any commit."""


class HostKeyMismatch(Terminal):
    """An ssh host is unknown or is not the one that known_hosts names."""


class CredentialRefused(Terminal):
    """The host of a repository refuses our credential, or asks for one and there is none."""


class SecretUnreadable(Terminal):
    """A sealed value cannot be opened: another platform's key, or another kind, project or name inside."""


class BuildFailed(Terminal):
    """The image could not be built."""


class EngineRefused(Terminal):
    """Docker refused what we asked."""


class CaddyRefused(Terminal):
    """Caddy refused a configuration."""


class NotOurs(Terminal):
    """A name that should be ours belongs to somebody else; we do not touch it."""


class StoreUnusable(Terminal):
    """No store, another application's, a newer or a corrupt one."""


class StepRefused(Terminal):
    """A deployment may not enter that state from the one that it is in."""


class ProgramFailed(Terminal):
    """A program ended with a status other than 0."""


class HostUnfit(Terminal):
    """The machine lacks something that doctor can name."""
