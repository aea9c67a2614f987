"""Reads where this machine gets its Debian packages from, in both formats of apt.

Called by `buildx_setup` (another suite of the same mirror) and `base_image` (debootstrap's mirror). Pure
but for reading the files; it knows no mirror of its own and downloads nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import HostUnfit


@dataclass(frozen=True)
class Source:
    """One place of binary packages: `signed_by` is a keyring's path, an inline key, or empty."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    def as_deb822(self, suite: str) -> str:
        """A sources file that names only this mirror, for a suite of our choice."""
        fields = {"Types": "deb", "URIs": self.uri, "Suites": suite, "Components": "main"}
        if self.signed_by:
            fields["Signed-By"] = self.signed_by
        return "".join(f"{name}: {value}\n" for name, value in fields.items())


def read_sources(folder: Path = Path("/etc/apt")) -> list[Source]:
    """Every enabled source of binary packages, in the order in which apt reads the files."""
    found = list(_one_line(folder / "sources.list"))
    for path in sorted((folder / "sources.list.d").glob("*")):
        if path.suffix == ".list":
            found += _one_line(path)
        elif path.suffix == ".sources":
            found += _deb822(path)
    return found


def release_source(codename: str, folder: Path = Path("/etc/apt")) -> Source:
    """The source that serves the machine's own release; `HostUnfit` where apt names none."""
    for source in read_sources(folder):
        if source.suite == codename and "main" in source.components:
            return source
    raise HostUnfit(
        f'no apt source of {folder} has the suite "{codename}" with the component "main"',
        expected="the mirror of this machine's own release",
        remedy="Add it to /etc/apt/sources.list, as on any Debian",
    )


def _one_line(path: Path) -> Iterator[Source]:
    for line in _lines(path):
        match = re.match(r"deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<rest>.*)", line)
        if match:
            signed_by = re.search(r"signed-by=(\S+)", match["options"] or "", re.IGNORECASE)
            yield Source(
                match["uri"],
                match["suite"],
                tuple(match["rest"].partition("#")[0].split()),
                signed_by[1] if signed_by else "",
            )


def _deb822(path: Path) -> Iterator[Source]:
    stanza: dict[str, str] = {}
    field = ""
    for line in [*_lines(path), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            yield from _from_stanza(stanza)
            stanza = {}
        elif line[0].isspace():
            stanza[field] += "\n" + line  # an inline key goes on over lines that begin with a space
        else:
            field, _, value = line.partition(":")
            field = field.lower()
            stanza[field] = value.strip()


def _from_stanza(stanza: dict[str, str]) -> Iterator[Source]:
    if "deb" not in stanza.get("types", "").split() or stanza.get("enabled", "yes").lower() in ("no", "false"):
        return
    for uri in stanza.get("uris", "").split():
        for suite in stanza.get("suites", "").split():
            components = tuple(stanza.get("components", "").split())
            yield Source(uri, suite, components, stanza.get("signed-by", ""))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
