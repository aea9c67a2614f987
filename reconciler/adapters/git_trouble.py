"""Says for people what was wrong with a repository: the value, what was expected, what to do.

Called by `git_repository` with an answer of `git_fetch`. Pure: words in, errors out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reconciler.adapters.git_address import Address
from reconciler.adapters.git_fetch import Answer
from reconciler.errors import CredentialRefused, GitsteadError, HostKeyMismatch, RemoteUnavailable, SourceUnusable
from reconciler.model.condition import Reason
from reconciler.model.desired import SourceProblem

_AGAIN = "It is asked again by itself; what runs goes on"


def problem_of(error: GitsteadError) -> SourceProblem:
    """The same facts as a value; the class's name is the reason."""
    return SourceProblem(Reason(error.reason), str(error))


@dataclass(frozen=True)
class Asked:
    """What was asked, and how: `credential` names it for people, "" where there was none; keys are fingerprints."""

    address: Address
    timeout_s: float
    known_hosts: Path
    met: Path
    credential: str = ""
    known_keys: tuple[str, ...] = ()
    shown_keys: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        return f'"{self.address.shown}"'


def explain(answer: Answer, asked: Asked) -> GitsteadError:
    """The error for an answer whose `trouble` is not empty."""
    if answer.trouble == "host_key":
        return _host_key(asked)
    if answer.trouble in {"auth", "asks"} or (answer.trouble == "forbidden" and asked.credential):
        return _refused(answer, asked)
    where = asked.where
    unusable = {
        "not_found": (
            f"{where} is not there, or we may not see it: {answer.detail}",
            "the address of a Git repository",
            f"Correct the address, or let {asked.credential} read it"
            if asked.credential
            else "Correct the address, or name a credential in source.credentials",
        ),
        "sha256": (
            f"{where} keeps its objects as sha256: {answer.detail}",
            "a repository with sha1 objects, the only kind that we can read",
            "Push it to a repository made with git init --object-format=sha1",
        ),
        "too_big": (
            f"{where} is too big to mirror: {answer.detail}",
            "at most 1 GiB, five million objects and 200,000 refs",
            "Remove what is large from its history, or use a smaller repository",
        ),
    }
    unusable["full"] = unusable["too_big"]
    if answer.trouble in unusable:
        what, expected, remedy = unusable[answer.trouble]
        return SourceUnusable(what, expected=expected, remedy=remedy)
    what, expected, remedy = _passing(answer, asked)
    return RemoteUnavailable(what, expected=expected, remedy=remedy)


def _host_key(asked: Asked) -> HostKeyMismatch:
    host = asked.address.remote.authority
    shown = f" shows {' and '.join(asked.shown_keys)}" if asked.shown_keys else " shows another key"
    if asked.known_keys:
        return HostKeyMismatch(
            f'"{host}" ({asked.where}) is not the ssh host that is pinned: it{shown}',
            expected=f"{' or '.join(asked.known_keys)}; a changed key can mean an attack",
            remedy=f"Ask its administrator. If the change is right, correct known_hosts in platform.yaml, "
            f"{asked.known_hosts} or {asked.met}, whichever names it",
        )
    return HostKeyMismatch(
        f'the ssh host "{host}" ({asked.where}) is not known'
        + (f": it shows {' and '.join(asked.shown_keys)}" if asked.shown_keys else ""),
        expected=f"a line for it in known_hosts of platform.yaml, or in {asked.known_hosts}",
        remedy="Compare the fingerprint with the one that its administrator publishes, then add the line that "
        "ssh-keyscan prints for it",
    )


def _refused(answer: Answer, asked: Asked) -> CredentialRefused:
    host, is_ssh = asked.address.remote.authority, asked.address.kind == "ssh"
    if answer.trouble == "asks":
        return CredentialRefused(
            f"{asked.where} asks for credentials, and none is named: {answer.detail}",
            expected="source.credentials with the name of a credential of platform.yaml",
            remedy="Name one (gitstead deploy-key PROJECT makes one); what runs goes on",
        )
    remedy = (
        "Add its public half at that host again, or make another with gitstead deploy-key PROJECT"
        if is_ssh
        else "Make a new token there, seal it with gitstead seal and commit it in platform.yaml"
    )
    return CredentialRefused(
        f"{host} refused {'the credential ' + asked.credential if asked.credential else 'the ssh key of this host'}: "
        f"{answer.detail}",
        expected=f"a{'n ssh key' if is_ssh else ' token'} that may read {asked.where}",
        remedy=f"{remedy}; what runs goes on",
    )


def _passing(answer: Answer, asked: Asked) -> tuple[str, str, str]:
    """Trouble that may pass by itself, or with a change outside of Git."""
    where = asked.where
    table = {
        "deadline": (f"{where} did not answer in time", f"an answer within {asked.timeout_s:g} s", _AGAIN),
        "forbidden": (f"{where} refused us: {answer.detail}", "a repository that this host may read", _AGAIN),
        "tls": (
            f"the certificate of {where} is not valid: {answer.detail}",
            "a certificate for that name, in date, from an authority that this host trusts",
            "Renew it, or add its authority to this host",
        ),
        "redirect": (
            f"{where} sends us to another host, which we do not follow: {answer.detail}",
            "the repository itself at this address",
            "Use the final address (it may only lack .git at its end)",
        ),
        "not_git": (
            f"{where} answered with a page, not with a repository: {answer.detail}",
            "a Git server's answer; a login page or a proxy stands in between",
            "Check that the address can be cloned without a browser",
        ),
        "mirror": (
            f"the mirror of {where} could not be written: {answer.detail}",
            "a writable state folder with free space",
            _AGAIN,
        ),
        "busy": (
            f"{where} was not asked: all {answer.detail} connections wait for slow hosts",
            "hosts that answer in time",
            _AGAIN,
        ),
        "died": (f"the worker that talked to {where} ended: {answer.detail}", "an answer of a Git server", _AGAIN),
    }
    return table.get(answer.trouble, (f"{where} cannot be reached: {answer.detail}", "a Git server's answer", _AGAIN))


def empty(where: str) -> SourceUnusable:
    return SourceUnusable(
        f'"{where}" has no commits yet', expected="a branch with at least one commit", remedy="Push to it"
    )


def branch_missing(where: str, branch: str, names: tuple[str, ...]) -> SourceUnusable:
    there = ", ".join(f'"{name}"' for name in names[:5]) + (" and more" if len(names) > 5 else "")
    return SourceUnusable(
        f'"{where}" has no branch "{branch}"',
        expected=f"one of its branches: {there}" if there else "one of its branches",
        remedy="Push that branch, or correct the name",
    )
