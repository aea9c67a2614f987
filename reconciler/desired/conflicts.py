"""Finds domains that two projects ask for, and decides who keeps each.

Called by `validation` alone. Pure and independent of the order of files: who has a domain now keeps it,
else the alphabetically first; both sides are told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from reconciler.desired.places import Place, diagnostic
from reconciler.model.spec import Diagnostic, Location, ProjectSpec

LinesOf = Callable[[str], Sequence[str]]


@dataclass
class Clashes:
    """`losers` are projects that do not get a domain that they ask for; `notes` are for those who keep one."""

    losers: set[str] = field(default_factory=set)
    problems: list[Diagnostic] = field(default_factory=list)
    notes: list[Diagnostic] = field(default_factory=list)


def find(
    specs: Mapping[str, ProjectSpec], names: Set[str], holders: Mapping[str, str], *, lines_of: LinesOf
) -> Clashes:
    """Compare all specs that are valid by themselves.

    `names` are all projects with a file, `holders` who has a domain now: a holder whose own file is invalid
    runs on with its last good spec, and so keeps its domains.
    """
    clashes = Clashes()
    claims = _claims(specs)
    for domain, claimants in sorted(claims.items()):
        if len(claimants) > 1:
            holder = holders.get(domain)
            keeper = holder if holder in claimants else min(claimants)
            for loser in claimants:
                if loser != keeper:
                    _tell(clashes, specs[loser], specs[keeper], domain, lines_of)
    _protect_holders(clashes, specs, names, holders, lines_of)
    return clashes


def _claims(specs: Mapping[str, ProjectSpec]) -> dict[str, list[str]]:
    claims: dict[str, list[str]] = {}
    for name, spec in sorted(specs.items()):
        for domain in spec.domains:
            claims.setdefault(domain, []).append(name)
    return claims


def _protect_holders(
    clashes: Clashes, specs: Mapping[str, ProjectSpec], names: Set[str], holders: Mapping[str, str], lines_of: LinesOf
) -> None:
    """A project that becomes a loser keeps what it has, which may make another one a loser: until none is new."""
    told: set[tuple[str, str]] = set()
    grew = True
    while grew:
        grew = False
        running_on = {name for name in names if name not in specs or name in clashes.losers}
        for name, spec in sorted(specs.items()):
            for domain in spec.domains:
                holder = holders.get(domain, name)
                if holder == name or holder not in running_on or (name, domain) in told:
                    continue
                told.add((name, domain))
                if holder in specs and domain in specs[holder].domains:
                    continue
                grew = grew or name not in clashes.losers
                clashes.losers.add(name)
                sentence = f"is still held by {holder}, whose own file has problems: solve those first"
                clashes.problems.append(_about(spec, domain, sentence, lines_of))


def _tell(clashes: Clashes, loser: ProjectSpec, keeper: ProjectSpec, domain: str, lines_of: LinesOf) -> None:
    clashes.losers.add(loser.name)
    taken = f"is already taken by {_location(keeper, domain)}"
    wanted = f"is also asked for by {_location(loser, domain)}, which does not get it"
    clashes.problems.append(_about(loser, domain, taken, lines_of))
    clashes.notes.append(_about(keeper, domain, wanted, lines_of))


def _about(spec: ProjectSpec, domain: str, sentence: str, lines_of: LinesOf) -> Diagnostic:
    location = _location(spec, domain)
    is_default = location.line == 1 and "domains" not in spec.locations
    subject = f"domain {domain}{' (the default, since domains is not set)' if is_default else ''}"
    width = 1 if is_default else len(domain)
    told = diagnostic(
        location.file, lines_of(location.file), Place(location.line, location.column, width), f"{subject} {sentence}"
    )
    return Diagnostic(told.location, told.message, project=spec.name, excerpt=told.excerpt, width=told.width)


def _location(spec: ProjectSpec, domain: str) -> Location:
    index = spec.domains.index(domain)
    return spec.locations.get(f"domains[{index}]", Location(f"projects/{spec.name}.yaml"))
