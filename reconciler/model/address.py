"""Which server a repository's address names: what a credential, a pinned key and a redirect are held against.

Used by `desired` (rules across projects) and the `git_*` adapters, so that both mean the same host. Refuses nothing:
whether an address may be used at all is decided by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

_USUAL_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Remote:
    """`scheme` is https, http, ssh or git, "" for a path of this host; `host` is in lower case."""

    scheme: str = ""
    host: str = ""
    port: int = 0

    @property
    def authority(self) -> str:
        """As `credentials.*.host` writes it: the host, with its port where that is not the usual one."""
        return self.host if self.port == _USUAL_PORTS.get(self.scheme) else f"{self.host}:{self.port}"

    @property
    def may_carry_token(self) -> bool:
        """Whether a token stays secret on the way there."""
        return self.scheme == "https" or (self.scheme == "http" and self.host in _LOOPBACK)


def remote_of(repo: str) -> Remote:
    """The server of an address; of `git@host:path` too. An empty one for a path, a file URL and what is no address."""
    if repo.startswith(("/", "file://")):
        return Remote()
    if "://" not in repo:
        host = repo.partition(":")[0].rpartition("@")[2].lower()
        return Remote("ssh", host, _USUAL_PORTS["ssh"])
    try:
        parts = urlsplit(repo)
        return Remote(parts.scheme, (parts.hostname or "").lower(), parts.port or _USUAL_PORTS.get(parts.scheme, 0))
    except ValueError:
        return Remote()
