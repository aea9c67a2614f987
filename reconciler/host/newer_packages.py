"""Fetches single packages of a newer Debian from this machine's own mirror, and unpacks them beside the system.

Called by `buildx_setup`, and by the test setup for a second engine. Installs nothing: apt runs with a
configuration, lists and cache of our own, so that the machine's own packages stay of one release.
"""

from __future__ import annotations

from pathlib import Path

from reconciler.adapters import processes
from reconciler.errors import ProgramFailed
from reconciler.host import apt_sources, machine
from reconciler.host.machine import Say

SUITE = "trixie"
_DOWNLOAD_TIMEOUT_S = 300.0


def unpack(packages: tuple[str, ...], scratch: Path, say: Say) -> Path:
    """The folder, in the empty folder `scratch`, with the files of the packages of `SUITE`.

    Raises HostUnfit where apt names no mirror of this machine's release, ProgramFailed and
    ProgramTimedOut where a package cannot be had.
    """
    source = apt_sources.release_source(machine.os_release().get("VERSION_CODENAME", ""))
    say(f"fetching {', '.join(packages)} of Debian {SUITE} from {source.uri} (nothing else of it is used)")
    unpacked = scratch / "unpacked"
    for package in _download(packages, source, scratch):
        processes.run(["dpkg-deb", "-x", str(package), str(unpacked)], timeout_s=60)
    return unpacked


def _download(packages: tuple[str, ...], source: apt_sources.Source, scratch: Path) -> list[Path]:
    for folder in ("lists/partial", "cache/archives/partial", "parts", "download"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "our.sources").write_text(source.as_deb822(SUITE))
    options = [
        f"Dir::Etc::SourceList={scratch / 'our.sources'}",
        f"Dir::Etc::SourceParts={scratch / 'parts'}",
        f"Dir::State::Lists={scratch / 'lists'}",
        f"Dir::Cache={scratch / 'cache'}",
        "APT::Sandbox::User=",  # apt's own user may not write into our folder
        "Acquire::Languages=none",
    ]
    apt = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
    env = processes.inherited(machine.APT_ENVIRONMENT)
    remedy = f"Check the machine's network and apt sources, or install {', '.join(packages)} yourself"
    processes.run([*apt, "update"], timeout_s=_DOWNLOAD_TIMEOUT_S, env=env, remedy=remedy)
    processes.run(
        [*apt, "download", *packages],
        timeout_s=_DOWNLOAD_TIMEOUT_S,
        env=env,
        cwd=scratch / "download",
        remedy=remedy,
    )
    found = sorted((scratch / "download").glob("*.deb"))
    if len(found) != len(packages):
        raise ProgramFailed(
            f"apt-get download left {len(found)} files", expected=f"a .deb file for each of {', '.join(packages)}"
        )
    return found
