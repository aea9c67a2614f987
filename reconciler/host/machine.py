"""What kind of machine this is, and how its packages are installed.

Called by `engine_setup`, `buildx_setup` and `base_image`. Installs only what a caller names, says so
first, and never holds a mirror's address: packages come from the machine's own apt configuration.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path

from reconciler.adapters import processes
from reconciler.adapters.bounds import unbounded
from reconciler.errors import HostUnfit

Say = Callable[[str], None]

APT_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
_INSTALL_TIMEOUT_S = 900.0


def is_root() -> bool:
    """Whether we may install and start things."""
    return os.geteuid() == 0


def has_systemd() -> bool:
    """Whether systemd is this machine's init (the test that sd_booted makes)."""
    return Path("/run/systemd/system").is_dir()


def os_release(root: Path = Path("/")) -> dict[str, str]:
    """The fields of os-release: ID, ID_LIKE, VERSION_CODENAME, …; empty where there is no such file."""
    try:
        return platform.freedesktop_os_release() if root == Path("/") else _parse(root / "etc/os-release")
    except OSError:
        return {}


def is_debian_like() -> bool:
    """Whether apt installs packages here: Debian, Ubuntu and what derives from them."""
    fields = os_release()
    family = {fields.get("ID", ""), *fields.get("ID_LIKE", "").split()}
    return bool(family & {"debian", "ubuntu"}) and Path("/usr/bin/apt-get").exists()


def require_installer(purpose: str, remedy: str) -> None:
    """Refuse clearly where we cannot install: not root, or not a Debian-like system."""
    if not is_debian_like():
        raise HostUnfit(
            f"{purpose} cannot be installed here: {os_release().get('PRETTY_NAME', 'this system')} has no apt",
            expected="Debian or Ubuntu",
            remedy=remedy,
        )
    if not is_root():
        raise HostUnfit(
            f"{purpose} cannot be installed by user {os.geteuid()}",
            expected="root (uid 0)",
            remedy=f"Run it with sudo, or {remedy[0].lower()}{remedy[1:]}",
        )


def missing_packages(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the Debian packages that are not installed."""
    listed = processes.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
        timeout_s=30,
        env=processes.inherited(APT_ENVIRONMENT),
        check=False,
    )
    present = {line.split()[0] for line in listed.text.splitlines() if line.endswith(" installed")}
    return tuple(name for name in names if name not in present)


def install_packages(names: tuple[str, ...], say: Say) -> None:
    """Install the missing ones of these packages with apt, and say which."""
    missing = missing_packages(names)
    if not missing:
        return
    require_installer(" ".join(missing), f"Install the packages {' '.join(missing)} yourself")
    env = processes.inherited(APT_ENVIRONMENT)
    say(f"installing {', '.join(missing)} with apt")
    with unbounded():  # dpkg, ended half way, leaves a machine that cannot install anything
        _install(missing, env)


def _install(packages: tuple[str, ...], env: dict[str, str]) -> None:
    processes.run(["apt-get", "update", "-q"], timeout_s=_INSTALL_TIMEOUT_S, env=env)
    processes.run(
        [
            "apt-get", "install", "-y", "-q", "--no-install-recommends",
            "-o", "Dpkg::Options::=--force-confold", "-o", "DPkg::Lock::Timeout=120", *packages,
        ],
        timeout_s=_INSTALL_TIMEOUT_S,
        env=env,
        remedy="Run apt-get install yourself to see the whole output",
    )  # fmt: skip


def _parse(path: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
