"""Installs what only the tests need: a browser, an ssh server, git with its servers, a newer Docker engine,
and base images to build with.

Run by `make test` after `gitstead doctor --fix`, and by hand. As root on Debian or Ubuntu it installs with
apt what is missing, saying so; elsewhere it names what is missing and ends with status 1. The newer engine
is only unpacked, into a folder that Git ignores.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which

from reconciler.adapters import processes
from reconciler.errors import GitsteadError
from reconciler.host import engine_setup, machine, newer_packages
from reconciler.host.base_image import ensure_base_image
from reconciler.host.buildx_setup import version_in

MODERN_ENGINE = Path(__file__).resolve().parents[1] / ".cache/modern-engine"
"""A folder with the programs of an engine from 23 on, in `usr/bin` and `usr/sbin`."""
_ENGINE_PACKAGES = ("docker.io", "containerd")
_SBIN = "/usr/sbin:/sbin"


def _has_browser() -> bool:
    return any(which(name) for name in ("chromium", "chromium-browser", "google-chrome"))


def _has_sshd() -> bool:
    return which("sshd") is not None or which("sshd", path=_SBIN) is not None


def _has_git_servers() -> bool:
    core = Path("/usr/lib/git-core")
    return which("git") is not None and all((core / name).exists() for name in ("git-daemon", "git-http-backend"))


def _has_npm() -> bool:
    return which("npm") is not None


NEEDS = {
    "a browser": (_has_browser, "chromium"),
    "an ssh server": (_has_sshd, "openssh-server"),
    "npm, which fetches Node": (_has_npm, "npm"),
    "git with its daemon and http backend": (_has_git_servers, "git"),
}


def _has_modern_engine() -> bool:
    own = which("dockerd")
    if own is not None and engine_setup.keeps_track(version_in(processes.run([own, "--version"], timeout_s=10).text)):
        return True
    return (MODERN_ENGINE / "usr/sbin/dockerd").exists()


def _unpack_modern_engine() -> None:
    shutil.rmtree(MODERN_ENGINE, ignore_errors=True)
    MODERN_ENGINE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="download-", dir=MODERN_ENGINE.parent) as scratch:
        newer_packages.unpack(_ENGINE_PACKAGES, Path(scratch), _say).rename(MODERN_ENGINE)


def _say(text: str) -> None:
    print(text, flush=True)


# Besides those of `make host`. Two at a time: making one waits for the mirror as much as it computes.
BASES = ("rust", "go", "node")


def main() -> int:
    """Install and make what is missing; 0 when everything is there."""
    missing = {name: package for name, (is_there, package) in NEEDS.items() if not is_there()}
    for name in NEEDS:
        _say(f"{'! missing:' if name in missing else '✓'} {name}")
    has_engine = _has_modern_engine()
    _say(f"{'✓' if has_engine else '! missing:'} a Docker engine from 23 on")
    try:
        if missing:
            machine.install_packages(tuple(missing.values()), _say)
        if not has_engine:
            _unpack_modern_engine()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda name: ensure_base_image(name, _say), BASES))
    except GitsteadError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
