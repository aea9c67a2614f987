"""Keeps builds from starving the apps: CPU weight and memory of the group in which BuildKit runs its steps.

Called by `apply.build` before each build and by `host.doctor`. The engine itself ignores limits on builds, but
with the cgroupfs driver each step runs in `<parent>/buildkit/<id>`, beside the apps' `<parent>/<id>`, so that
what is set on `<parent>/buildkit` holds for all steps together. Must never touch another group, and says where
nothing can be set.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.adapters.engine_process import engine_process
from reconciler.adapters.process_marks import arguments_of

CGROUPS = Path("/sys/fs/cgroup")
WEIGHT = 8
_SHARES, _V2_WEIGHT = 1024 // WEIGHT, 100 // WEIGHT
_CONFIG = Path("/etc/docker/daemon.json")


@dataclass(frozen=True)
class BuilderGroup:
    """`files` maps the files to write to what is wanted in them; `problem` says why there is nothing to write."""

    files: Mapping[Path, int]
    memory_bytes: int
    problem: str = ""

    def apply(self) -> None:
        """Set what is not so already, best effort: `sentence` tells what holds."""
        for file, wanted in self.files.items():
            with contextlib.suppress(OSError):
                file.parent.mkdir(parents=True, exist_ok=True)
                if not _holds(file, wanted):
                    file.write_text(str(wanted))

    @property
    def wanted(self) -> str:
        memory = f"{self.memory_bytes / 2**30:.1f} GiB"
        return f"CPU weight 1/{WEIGHT} of an app's, memory up to {memory} for all builds together"

    @property
    def applies(self) -> bool:
        """Whether every limit is set now."""
        return bool(self.files) and all(_holds(file, wanted) for file, wanted in self.files.items())

    @property
    def sentence(self) -> str:
        """What holds for builds on this engine, for page and doctor."""
        if self.applies:
            return self.wanted
        return f"no limit applies: {self.problem or 'the group of the builder cannot be written'}"


def builder_group(
    docker_host: str, *, driver: str, is_rootless: bool, memory_bytes: int, root: Path = CGROUPS
) -> BuilderGroup:
    """The group of the engine at `docker_host`, of the cgroup driver that it names."""
    pid = engine_process(docker_host).pid
    problem = _problem(docker_host, driver=driver, is_rootless=is_rootless, pid=pid)
    if problem:
        return BuilderGroup({}, memory_bytes, problem)
    return BuilderGroup(group_files(root, _parent(pid), memory_bytes), memory_bytes)


def _problem(docker_host: str, *, driver: str, is_rootless: bool, pid: int) -> str:
    if not docker_host.startswith("unix:"):
        return "the engine runs on another machine"
    if is_rootless:
        return "a rootless engine has no group that we may write"
    if driver != "cgroupfs":
        return f"with the engine's cgroup driver {driver} builds run beside the apps, in no group of their own"
    if not pid:
        return "the engine's process is not visible from here"
    if _namespace(pid) != _namespace("self"):
        return "the engine runs in another cgroup namespace"
    return ""


def group_files(root: Path, parent: str, memory_bytes: int) -> Mapping[Path, int]:
    """The files of `<parent>/buildkit` below `root`, of cgroups version 2 or 1, with what is wanted in them."""
    group = Path(parent.lstrip("/"), "buildkit")
    memory_bytes = memory_bytes // 4096 * 4096  # the kernel keeps whole pages
    if (root / "cgroup.controllers").exists():
        return {root / group / "cpu.weight": _V2_WEIGHT, root / group / "memory.max": memory_bytes}
    cpu = "cpu" if (root / "cpu").is_dir() else "cpu,cpuacct"
    return {
        root / cpu / group / "cpu.shares": _SHARES,
        root / "memory" / group / "memory.limit_in_bytes": memory_bytes,
    }


def _holds(file: Path, wanted: int) -> bool:
    try:
        return file.read_text().strip() == str(wanted)
    except OSError:
        return False


def _parent(pid: int) -> str:
    """The engine's parent group: of its command line, else of its configuration, else the default."""
    words = arguments_of(pid)
    for at, word in enumerate(words):
        if word.startswith("--cgroup-parent"):
            return word.partition("=")[2] or (words[at + 1] if at + 1 < len(words) else "")
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return str(json.loads(_CONFIG.read_text()).get("cgroup-parent") or "docker")
    return "docker"


def _namespace(pid: int | str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/cgroup").readlink())
    except OSError:
        return ""
