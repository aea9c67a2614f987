"""Finds the buildx plugin of the docker client, and installs it from Debian where it is missing or too old.

Called by `doctor`. Nothing of a newer Debian is installed into the system: where the machine's own release
has no usable `docker-buildx`, the package of a newer suite is fetched from the machine's own mirror with an
apt configuration of our own, and only its plugin binary is kept.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from reconciler.adapters import processes
from reconciler.errors import GitsteadError, HostUnfit
from reconciler.host import machine, newer_packages
from reconciler.host.machine import Say

OLDEST_BUILDX = (0, 13)  # the first with --progress=rawjson
_PACKAGE = "docker-buildx"

Version = tuple[int, ...]


def version_in(text: str) -> Version:
    """The first dotted version number in a text; empty where there is none."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in match.groups() if part) if match else ()


def buildx_version() -> Version:
    """The version of the plugin that the docker client finds; empty where it finds none or hangs."""
    try:
        finished = processes.run(["docker", "buildx", "version"], timeout_s=10, check=False)
    except GitsteadError:
        return ()
    return version_in(finished.text) if finished.status == 0 else ()


def ensure_buildx(say: Say) -> Version:
    """A plugin that is new enough, installed if need be. Raises `HostUnfit` where that fails."""
    version = buildx_version()
    if version >= OLDEST_BUILDX:
        return version
    if not machine.is_debian_like():
        raise HostUnfit(
            f"buildx is {_shown(version)}",
            expected=f"buildx >= {_shown(OLDEST_BUILDX)}",
            remedy="Install the docker-buildx plugin of your system",
        )
    if machine.is_root() and version_in(_candidate()) >= OLDEST_BUILDX:
        machine.install_packages((_PACKAGE,), say)
    else:
        _install_plugin(say)
    version = buildx_version()
    if version < OLDEST_BUILDX:
        raise HostUnfit(
            f"buildx is {_shown(version)} after the installation",
            expected=f"buildx >= {_shown(OLDEST_BUILDX)}",
            remedy="Remove an older docker-buildx from ~/.docker/cli-plugins, which goes first",
        )
    say(f"buildx {_shown(version)} answers")
    return version


def plugin_folder() -> Path:
    """Where the plugin goes: for all users as root, else for this user."""
    if machine.is_root():
        return Path("/usr/local/lib/docker/cli-plugins")
    return Path.home() / ".docker/cli-plugins"


def _candidate() -> str:
    """The version of the package that the machine's own apt would install."""
    policy = processes.run(
        ["apt-cache", "policy", _PACKAGE],
        timeout_s=30,
        env=processes.inherited(machine.APT_ENVIRONMENT),
        check=False,
    )
    match = re.search(r"Candidate:\s*(\S+)", policy.text)
    return match[1] if match else ""


def _install_plugin(say: Say) -> None:
    with tempfile.TemporaryDirectory(prefix="gitstead-buildx-") as scratch:
        unpacked = newer_packages.unpack((_PACKAGE,), Path(scratch), say)
        plugin = next(unpacked.rglob("cli-plugins/docker-buildx"), None)
        if plugin is None:
            raise HostUnfit(
                f"the package {_PACKAGE} has no file cli-plugins/docker-buildx",
                expected="the plugin's binary",
                remedy="Install docker-buildx yourself",
            )
        target = plugin_folder() / plugin.name
        say(f"installing the plugin as {target}")
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(".docker-buildx.new")
        shutil.copy(plugin, fresh)
        fresh.chmod(0o755)
        fresh.rename(target)


def _shown(version: Version) -> str:
    return ".".join(str(part) for part in version) or "not installed"
