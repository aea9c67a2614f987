"""Says for people what was wrong with a repository: the value, what was expected, what to do.

Called by `git_repository` with an answer of `git_fetch`. Pure: words in, errors out.
"""

from __future__ import annotations

from pathlib import Path

from reconciler.adapters.git_address import Address
from reconciler.adapters.git_fetch import Answer
from reconciler.errors import GitsteadError, HostKeyMismatch, RemoteUnavailable, SourceUnusable
from reconciler.model.condition import Reason
from reconciler.model.desired import SourceProblem

_AGAIN = "It is asked again by itself; what runs goes on"


def problem_of(error: GitsteadError) -> SourceProblem:
    """The same facts as a value; the class's name is the reason."""
    return SourceProblem(Reason(error.reason), str(error))


def explain(answer: Answer, address: Address, *, timeout_s: float, known_hosts: Path) -> GitsteadError:
    """The error for an answer whose `trouble` is not empty."""
    where = f'"{address.shown}"'
    if answer.trouble == "host_key":
        return HostKeyMismatch(
            f'the ssh key of "{answer.detail}" ({where}) is not one that {known_hosts} holds for it',
            expected="the key that its administrator publishes: a changed key can mean an attack",
            remedy=f"Compare the fingerprint with a trusted source, then add the host to {known_hosts}",
        )
    unusable = {
        "not_found": (
            f"{where} is not there, or we may not see it: {answer.detail}",
            "the address of a Git repository",
            "Correct the address, or give this host access",
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
    if answer.trouble in unusable:
        what, expected, remedy = unusable[answer.trouble]
        return SourceUnusable(what, expected=expected, remedy=remedy)
    what, expected, remedy = _passing(answer, address, timeout_s)
    return RemoteUnavailable(what, expected=expected, remedy=remedy)


def _passing(answer: Answer, address: Address, timeout_s: float) -> tuple[str, str, str]:
    """Trouble that may pass by itself, or with a change outside of Git."""
    where = f'"{address.shown}"'
    table = {
        "deadline": (f"{where} did not answer in time", f"an answer within {timeout_s:g} s", _AGAIN),
        "auth": (
            f"{where} refused us: {answer.detail}",
            "a repository that this host may read",
            "Give this host's ssh key read access"
            if address.kind == "ssh"
            else "Use its ssh address with this host's ssh key, or make it readable without a password",
        ),
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
