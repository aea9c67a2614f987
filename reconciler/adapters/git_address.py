"""What a repository's address is: a path of this host or a remote, and whether we may use it at all.

Called by the `git_*` adapters before anything is opened or connected to. Must not touch the network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from reconciler.errors import SourceUnusable
from reconciler.model.address import Remote, remote_of

Kind = Literal["local", "git", "http", "ssh"]

_SCHEMES: dict[str, Kind] = {"git": "git", "http": "http", "https": "http", "ssh": "ssh"}
_SCP = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*)"
    r"|(?P<dotted>[A-Za-z0-9][A-Za-z0-9-]*\.[A-Za-z0-9.-]+)):[^/:].*\Z"
)
_HOST = re.compile(r"(?:[a-z0-9_][a-z0-9._-]*|[0-9a-f:.]+)\Z")
_EXPECTED = "an absolute path of this host, or a URL with https, ssh, git or file"


@dataclass(frozen=True)
class Address:
    """`url` as the spec gave it, `shown` without a password, `host` in lower case, "" when local.

    `path` is the real path of a local repository, every symlink resolved; None for a remote.
    """

    url: str
    shown: str
    kind: Kind
    host: str = ""
    path: Path | None = None

    @property
    def remote(self) -> Remote:
        """The server, with scheme and port."""
        return remote_of(self.url)


def parse(repo: str, *, local_paths: tuple[str, ...]) -> Address:
    """The address of a repository that we may use.

    Raises `SourceUnusable` for a form we do not know, a secret in a URL, and a path outside `local_paths`.
    """
    if any(character < " " or character == "\x7f" for character in repo):
        raise SourceUnusable(f"repository {repo!r} holds a control character", expected=_EXPECTED)
    if repo.startswith("/"):
        return _local(repo, repo, local_paths)
    if repo.startswith("file://"):
        return _file_url(repo, local_paths)
    scp = _SCP.match(repo)
    if scp and "://" not in repo:
        return Address(repo, repo, "ssh", (scp["host"] or scp["dotted"]).lower())
    return _remote(repo)


def real_folders(local_paths: tuple[str, ...]) -> tuple[Path, ...]:
    """The folders of this host under which repositories may lie, with every symlink resolved."""
    return tuple(Path(folder).expanduser().resolve() for folder in local_paths)


def is_within(path: Path, folders: tuple[Path, ...]) -> bool:
    """Whether a real path is one of the folders or lies below one."""
    return any(path.is_relative_to(folder) for folder in folders)


def _file_url(repo: str, local_paths: tuple[str, ...]) -> Address:
    parts = urlsplit(repo)
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise SourceUnusable(
            f'repository "{repo}" names the host "{parts.netloc}"',
            expected="file:// and an absolute path of this host, as in file:///srv/git/blog.git",
        )
    return _local(repo, unquote(parts.path), local_paths)


def _local(repo: str, path: str, local_paths: tuple[str, ...]) -> Address:
    real = Path(path).resolve()
    if not is_within(real, real_folders(local_paths)):
        allowed = ", ".join(local_paths) or "none is"
        raise SourceUnusable(
            f'repository "{repo}" lies outside the folders that hold repositories on this host',
            expected=f"a path below one of local_paths ({allowed} allowed)",
            remedy="Move the repository, or let an administrator add its folder to local_paths in host.yaml",
        )
    return Address(repo, repo, "local", path=real)


def _remote(repo: str) -> Address:
    try:
        parts = urlsplit(repo)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise SourceUnusable(f'repository "{_shown(repo)}" is not an address: {error}', expected=_EXPECTED) from error
    kind = _SCHEMES.get(parts.scheme)
    if kind is None or not _HOST.match(host):
        raise SourceUnusable(f'repository "{_shown(repo)}" is not an address that we know', expected=_EXPECTED)
    if parts.password is not None or (parts.username and kind != "ssh"):
        raise SourceUnusable(
            f'repository "{_shown(repo)}" carries a user name or password',
            expected="an address without secrets, since everybody who reads the platform repository sees it",
            remedy="Remove the part before the @",
        )
    return Address(repo, repo, kind, host)


def _shown(repo: str) -> str:
    scheme, separator, rest = repo.partition("://")
    if not separator:
        return repo
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
