"""Whether each project may use the credential that it names, and whether two ask for one repository alike.

Called by `validation` alone. Pure. Nothing is opened here: whether a sealed value can be opened is told by the loop.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from reconciler.desired.places import Place, diagnostic
from reconciler.model.address import remote_of
from reconciler.model.spec import CredentialSpec, Diagnostic, Location, PlatformSpec, ProjectSpec

LinesOf = Callable[[str], Sequence[str]]
_KEY = "source.credentials"


def find(specs: Mapping[str, ProjectSpec], platform: PlatformSpec, *, lines_of: LinesOf) -> list[Diagnostic]:
    """What keeps projects back that are valid by themselves; each names its project."""
    problems: list[Diagnostic] = []
    first: dict[str, ProjectSpec] = {}
    for _, spec in sorted(specs.items()):
        key, sentence = _KEY, _unusable(spec, platform.credentials)
        if not sentence:
            key, sentence = _unlike(spec, first.setdefault(spec.source.repo, spec))
        if sentence:
            problems.append(_at(spec, key, sentence, lines_of))
    return problems


def _unusable(spec: ProjectSpec, credentials: Mapping[str, CredentialSpec]) -> str:
    name, remote = spec.source.credentials, remote_of(spec.source.repo)
    if not name:
        return ""
    credential = credentials.get(name)
    if credential is None:
        return f'names "{name}", which is no credential of platform.yaml{_advice(name, credentials)}'
    if not remote.scheme:
        return f"is set, and {spec.source.repo} is a path of this host, which needs none: leave it out"
    if credential.projects and spec.name not in credential.projects:
        allowed = ", ".join(credential.projects)
        return f"names {name}, which is for {allowed} alone: add {spec.name} to its projects, or name another"
    if credential.kind == "ssh-key" and remote.scheme != "ssh":
        return f"names {name}, an ssh key, and the repository's address is {remote.scheme}://: use its ssh address"
    if credential.kind == "https-token" and not remote.may_carry_token:
        return f"names {name}, a token, and the repository's address is {remote.scheme}://: use its https address"
    if credential.host != remote.authority:
        return (
            f"names {name}, which is for {credential.host}, and the repository lies on {remote.authority}: "
            "only that very host, with its port, may get it"
        )
    return ""


def _advice(name: str, credentials: Mapping[str, CredentialSpec]) -> str:
    near = difflib.get_close_matches(name, credentials, n=1)
    if near:
        return f'. Did you mean "{near[0]}"?'
    if credentials:
        return f": its credentials are {', '.join(sorted(credentials)[:10])}"
    return ": it has none yet; gitstead deploy-key PROJECT makes one"


def _unlike(spec: ProjectSpec, other: ProjectSpec) -> tuple[str, str]:
    """(key, sentence): a repository has one mirror, so all its projects ask for it in one way."""
    for key, mine, theirs in (
        (_KEY, spec.source.credentials, other.source.credentials),
        ("source.host_key", spec.source.host_key, other.source.host_key),
    ):
        if mine != theirs:
            there = f"{theirs or 'not set'} in {_location(other, key)}"
            return key, f"is {mine or 'not set'}, and {there} for the same repository: agree on one"
    return "", ""


def _at(spec: ProjectSpec, key: str, sentence: str, lines_of: LinesOf) -> Diagnostic:
    place = _location(spec, key)
    value = {_KEY: spec.source.credentials, "source.host_key": spec.source.host_key}[key]
    width = len(value) if key in spec.locations else 1
    told = diagnostic(place.file, lines_of(place.file), Place(place.line, place.column, width), f"{key} {sentence}")
    return replace(told, project=spec.name)


def _location(spec: ProjectSpec, key: str) -> Location:
    found = spec.locations.get(key) or spec.locations.get("source.repo")
    return found or Location(f"projects/{spec.name}.yaml")
