"""Fetches a Debian package from the machine's own mirror and unpacks it into a folder; installs nothing.

Used by `image` (a static busybox) and `compose` (the Compose plugin). As in `reconciler.host.buildx_setup`,
apt gets a configuration of our own, so that nothing of the system is touched.
"""

from __future__ import annotations

from pathlib import Path

from reconciler.adapters import processes
from reconciler.errors import HostUnfit
from reconciler.host import apt_sources, machine

SUITE = "trixie"  # the first with Compose v2; a static busybox of any suite runs anywhere
_TIMEOUT_S = 300.0


class Mirror:
    """The machine's own mirror, for one suite; `folder` holds apt's lists and what was fetched."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_ready = False

    def unpacked(self, package: str) -> Path:
        """The folder with the files of a package. Raises `GitsteadError` where it cannot be had."""
        target = self._folder / "unpacked" / package
        if not target.is_dir():
            downloads = self._folder / "download"
            self._apt("update") if not self._is_ready else None
            self._is_ready = True
            self._apt("download", package)
            found = sorted(downloads.glob(f"{package}_*.deb"))
            if not found:
                raise HostUnfit(f"apt-get download left no {package}", expected="one .deb file")
            target.mkdir(parents=True)
            processes.run(["dpkg-deb", "-x", str(found[-1]), str(target)], timeout_s=60)
        return target

    def _apt(self, *words: str) -> None:
        processes.run(
            ["apt-get", "-q", *self._options(), *words],
            timeout_s=_TIMEOUT_S,
            env=processes.inherited(machine.APT_ENVIRONMENT),
            cwd=self._folder / "download",
        )

    def _options(self) -> list[str]:
        for name in ("lists/partial", "cache/archives/partial", "parts", "download"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        if not machine.is_debian_like():
            raise HostUnfit("this system has no apt", expected="Debian or Ubuntu, for the programs of the baselines")
        source = apt_sources.release_source(machine.os_release().get("VERSION_CODENAME", ""))
        (self._folder / "our.sources").write_text(source.as_deb822(SUITE))
        options = {
            "Dir::Etc::SourceList": self._folder / "our.sources",
            "Dir::Etc::SourceParts": self._folder / "parts",
            "Dir::State::Lists": self._folder / "lists",
            "Dir::Cache": self._folder / "cache",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
        }
        return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
