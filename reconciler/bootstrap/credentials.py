"""Credentials for people: makes a deploy key, and tells of each credential all but its value.

Called by `cli.credentials`. Writes nothing; a private key leaves this module sealed alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.adapters.git_access import TOKEN_FILE
from reconciler.adapters.git_ssh_keys import make_key_pair, public_of_private
from reconciler.adapters.secret_box import ANY_PROJECT, SecretBox
from reconciler.bootstrap.reading import read_platform
from reconciler.bootstrap.sealing import seal_value
from reconciler.bootstrap.state import platform_access
from reconciler.desired.documents import parse
from reconciler.desired.validation import PLATFORM_FILE, SpecFile, validate
from reconciler.errors import GitsteadError, HostUnfit, SecretUnreadable
from reconciler.heartbeat import read_heartbeat
from reconciler.history.queries import Queries
from reconciler.loop.good_specs import good_texts
from reconciler.masking import Masker
from reconciler.model.address import remote_of
from reconciler.model.credential import CredentialUse
from reconciler.model.naming import PROJECT_NAME
from reconciler.model.spec import CredentialSpec
from reconciler.settings import Settings

KIND = "credential"


@dataclass(frozen=True)
class DeployKey:
    """`public` is the line to add at the forge, `sealed` what platform.yaml gets. `repo` is the address that the
    key opens, "" where the spec has it already.
    """

    name: str
    project: str
    host: str
    public: str
    fingerprint: str
    sealed: str
    repo: str = ""


@dataclass(frozen=True)
class CredentialRow:
    """`fingerprint` is a key's, or of a token eight digits that change with it; "" where it cannot be opened here.

    `used_at` is Unix seconds, 0 where it was not accepted since the reconciler's start.
    """

    name: str
    kind: str
    host: str
    fingerprint: str
    used_by: tuple[str, ...]
    used_at: float
    error: str


def make_deploy_key(settings: Settings, project_name: str, *, host: str, recipients: Sequence[str]) -> DeployKey:
    """A new key pair for a project, its private half sealed to `recipients`, or to this platform's own key.

    `host` "" means the host of the project's repository. Raises `HostUnfit` where that cannot be found out,
    `SecretUnreadable` where this is not the platform's host and no recipient is given, `SpecInvalid` for what is none.
    """
    if not PROJECT_NAME.match(project_name):
        raise HostUnfit(f'"{project_name}" cannot be a project', expected="the name of a project, such as blog")
    repo = "" if host else _repo_of(settings, project_name)
    host = host or _ssh_host(repo, project_name)
    name = f"{project_name}-deploy-key"
    pair = make_key_pair()
    return DeployKey(
        name=name,
        project=project_name,
        host=host,
        public=pair.public.line(f"gitstead-{name}"),
        fingerprint=pair.public.fingerprint,
        sealed=seal_value(settings, pair.private, kind=KIND, project=ANY_PROJECT, key=name, recipients=recipients),
        repo=_as_ssh(repo),
    )


def _repo_of(settings: Settings, project_name: str) -> str:
    """`source.repo` as the project's file says it, whatever else is wrong with that file."""
    path = f"projects/{project_name}.yaml"
    remedy = "Name the host that its repository lies on: --host git.example.com"
    try:
        here = Path(PLATFORM_FILE).is_file()
        _, files = read_platform(settings, "." if here else settings.platform_branch)
    except GitsteadError as error:
        raise HostUnfit(
            f"the platform repository cannot be read: {error.what}", expected=f"{path} in it", remedy=remedy
        ) from error
    document = parse(path, files.files[path][1]).document if path in files.files else None
    source = document.value.get("source") if document is not None and isinstance(document.value, dict) else None
    repo = source.get("repo") if isinstance(source, dict) else None
    if not isinstance(repo, str):
        raise HostUnfit(f"there is no {path} with a source.repo", expected="the project's spec", remedy=remedy)
    return repo


def _ssh_host(repo: str, project_name: str) -> str:
    remote = remote_of(repo)
    if not remote.scheme:
        raise HostUnfit(
            f"the repository of {project_name}, {repo}, is a path of this host",
            expected="a repository of another host: a path needs no key",
        )
    return remote.authority if remote.scheme == "ssh" else remote.host


def _as_ssh(repo: str) -> str:
    """The ssh address of a repository whose spec has its https one; a guess that nearly all forges hold true."""
    if remote_of(repo).scheme in {"", "ssh"}:
        return ""
    return f"ssh://git@{remote_of(repo).host}{urlsplit(repo).path}"


def credential_rows(settings: Settings) -> tuple[CredentialRow, ...]:
    """Every credential of the platform as the reconciler has it, by name; the host file's token last.

    Raises `StoreUnusable` where nothing has ever run here.
    """
    queries = Queries(settings.state_db)
    try:
        texts = good_texts(queries)
    finally:
        queries.close()
    checked = validate({path: SpecFile(*each) for path, each in texts.items()})
    found = list(checked.platform.credentials.values()) if checked.platform else []
    users = {
        each.name: tuple(spec.name for spec in checked.projects if spec.source.credentials == each.name)
        for each in found
    }
    own = platform_access(settings).credential
    if own is not None:
        found.append(own)
        users[own.name] = ("the platform repository",)
    uses = read_heartbeat(settings.heartbeat, now=time.time()).credentials
    box = SecretBox(settings.keys, Masker())
    return tuple(_row(each, users[each.name], uses.get(each.name, CredentialUse()), box) for each in found)


def _row(credential: CredentialSpec, users: tuple[str, ...], use: CredentialUse, box: SecretBox) -> CredentialRow:
    fingerprint, error = "", use.error
    if credential.name != TOKEN_FILE:
        try:
            fingerprint = _fingerprint(credential, box)
        except SecretUnreadable as unreadable:
            error = error or str(unreadable)
    return CredentialRow(
        name=credential.name,
        kind=credential.kind,
        host=credential.host,
        fingerprint=fingerprint,
        used_by=users,
        used_at=use.used_at,
        error=error,
    )


def _fingerprint(credential: CredentialSpec, box: SecretBox) -> str:
    if credential.kind == "https-token":
        return box.mark(credential.sealed, kind=KIND, project=ANY_PROJECT, key=credential.name)
    public = public_of_private(box.open(credential.sealed, kind=KIND, project=ANY_PROJECT, key=credential.name))
    return public.fingerprint if public else ""
