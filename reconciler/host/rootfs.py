"""Makes a Debian file system as a tar file, from this machine's own mirrors, security updates included.

Called by `base_image` where no image registry answers. Changes nothing of this machine but for installing
the package `mmdebstrap`, which unlike plain debootstrap takes security updates and needs no second pass.
"""

from __future__ import annotations

from pathlib import Path

from reconciler.adapters import processes
from reconciler.errors import HostUnfit
from reconciler.host import apt_sources, machine
from reconciler.host.apt_sources import Source
from reconciler.host.machine import Say

_TIMEOUT_S = 1200.0
# Manuals and translations are a third of a minimal Debian; licences stay.
_SLIM = (
    "--dpkgopt=path-exclude=/usr/share/man/*",
    # Java's packages put links there and fail where the folder is missing.
    "--dpkgopt=path-include=/usr/share/man/man1",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=APT::Install-Recommends "false"',
)
_STAGES = {
    "running apt-get update": "reading package lists",
    "downloading packages": "downloading packages",
    "installing essential packages": "installing the essential packages",
    "installing remaining packages": "installing the others",
}


def make_rootfs(target: Path, suite: str, packages: tuple[str, ...], say: Say) -> None:
    """Write a minimal Debian of this suite, with these packages, as the tar file `target`."""
    codename = machine.os_release().get("VERSION_CODENAME", "")
    mirrors = mirrors_for(suite or codename, codename, apt_sources.read_sources())
    machine.install_packages(("mmdebstrap",), say)
    say(f"making a minimal {suite or codename} from {mirrors[0].uri} with {', '.join(packages)}")
    errors: list[str] = []

    def follow(_: processes.Stream, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()
        if text.startswith("E:"):
            errors.append(text[2:].strip())
        for sign, stage in _STAGES.items():
            if sign in text:
                say(f"  {stage}")

    finished = processes.stream(
        [
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(packages)}",
            "--format=tar",
            *_SLIM,
            suite or codename,
            str(target),
            *(f"deb {mirror.uri} {mirror.suite} main" for mirror in mirrors),
        ],
        follow,
        timeout_s=_TIMEOUT_S,
        env=processes.inherited(machine.APT_ENVIRONMENT),
    )
    if finished.status != 0:
        raise HostUnfit(
            f"mmdebstrap ended with status {finished.status}: {' | '.join(errors[:3]) or 'no reason given'}",
            expected="a minimal Debian system",
            remedy="Check that the machine's apt mirror answers (apt-get update)",
        )


def mirrors_for(suite: str, codename: str, sources: list[Source]) -> list[Source]:
    """The mirrors of a release, its updates and security fixes, translated from the machine's own release."""
    wanted = (codename, f"{codename}-updates", f"{codename}-security")
    mirrors = [
        Source(source.uri, suite + source.suite.removeprefix(codename), ("main",), source.signed_by)
        for name in wanted
        for source in sources
        if source.suite == name and "main" in source.components
    ]
    if not codename or not mirrors or mirrors[0].suite != suite:
        raise HostUnfit(
            f'apt has no source of this machine\'s own release "{codename}"',
            expected="one in /etc/apt/sources.list or /etc/apt/sources.list.d",
            remedy="Add it, as on any Debian; base images come from the same mirror",
        )
    return list(dict.fromkeys(mirrors))
