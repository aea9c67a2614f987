"""Installs what only the tests need: a browser, an ssh server, git with its servers.

Run by `make test` after `gitstead doctor --fix`, and by hand. As root on Debian or Ubuntu it installs with
apt what is missing, saying so; elsewhere it names what is missing and ends with status 1.
"""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import which

from reconciler.errors import GitsteadError
from reconciler.host import machine

_SBIN = "/usr/sbin:/sbin"


def _has_browser() -> bool:
    return any(which(name) for name in ("chromium", "chromium-browser", "google-chrome"))


def _has_sshd() -> bool:
    return which("sshd") is not None or which("sshd", path=_SBIN) is not None


def _has_git_servers() -> bool:
    core = Path("/usr/lib/git-core")
    return which("git") is not None and all((core / name).exists() for name in ("git-daemon", "git-http-backend"))


NEEDS = {
    "a browser": (_has_browser, "chromium"),
    "an ssh server": (_has_sshd, "openssh-server"),
    "git with its daemon and http backend": (_has_git_servers, "git"),
}


def main() -> int:
    """Install what is missing; 0 when everything is there."""
    missing = {name: package for name, (is_there, package) in NEEDS.items() if not is_there()}
    for name in NEEDS:
        print(f"{'! missing:' if name in missing else '✓'} {name}", flush=True)
    if not missing:
        return 0
    try:
        machine.install_packages(tuple(missing.values()), lambda text: print(text, flush=True))
    except GitsteadError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
