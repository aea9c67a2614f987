"""The checks of `doctor` that concern Docker: engine, buildx, clipping of build logs, base images.

Called by `doctor`. Each function looks at one thing and returns a `Check`; none changes anything.
"""

from __future__ import annotations

from reconciler.adapters import processes
from reconciler.errors import GitsteadError
from reconciler.host import base_image, buildx_setup, engine_setup, machine
from reconciler.host.base_recipes import RECIPES
from reconciler.host.buildx_setup import OLDEST_BUILDX, Version
from reconciler.host.check import Check
from reconciler.host.engine_setup import Engine

OLDEST_ENGINE: Version = (20, 10)
_FIX = "gitstead doctor --fix"


def check_engine(engine: Engine | None) -> Check:
    """An engine that answers, is new enough, and stores its images in a way that lasts."""
    if engine is None:
        return Check(
            "docker",
            "problem",
            "no engine answers",
            f"{_FIX} installs and starts one (as root on Debian or Ubuntu)",
        )
    version = buildx_setup.version_in(engine.version)
    shown = ".".join(engine.version.split(".")[:2])
    cpus = f"{engine.cpus} CPU{'' if engine.cpus == 1 else 's'}"
    text = f"{shown}, {engine.storage_driver}, {cpus}, {engine.memory_bytes / 2**30:.0f} GB"
    if version < OLDEST_ENGINE:
        return Check(
            "docker", "problem", f"{shown} is older than {'.'.join(map(str, OLDEST_ENGINE))}", "upgrade the engine"
        )
    if engine.storage_driver == "vfs":
        return Check(
            "docker",
            "warning",
            f"{text}: vfs copies every layer in full",
            "put the engine's data on ext4 or xfs, so that it uses overlay2",
        )
    return Check("docker", "ok", text)


def check_buildx(version: Version, driver: str) -> Check:
    """The plugin that builds images, and a builder that puts them into the engine itself."""
    shown = ".".join(map(str, version))
    if not version:
        return Check(
            "buildx",
            "problem",
            "not installed, or it does not answer: builds need it",
            f"{_FIX} installs the plugin from Debian's docker-buildx",
        )
    if version < OLDEST_BUILDX:
        return Check(
            "buildx",
            "problem",
            f"{shown} is older than {'.'.join(map(str, OLDEST_BUILDX))}: its progress cannot be read",
            f"{_FIX} installs a newer plugin from Debian's docker-buildx",
        )
    if driver not in ("docker", ""):
        return Check(
            "buildx",
            "warning",
            f"the selected builder is of driver {driver}, which does not see the engine's own images",
            "docker buildx use default",
        )
    return Check("buildx", "ok", shown)


def buildx_driver() -> str:
    """The driver of the builder that a build without `--builder` would use; empty where unknown."""
    try:
        shown = processes.run(["docker", "buildx", "inspect"], timeout_s=20, check=False).text
    except GitsteadError:
        return ""
    fields = (line.partition(":") for line in shown.splitlines())
    return next((value.strip() for name, _, value in fields if name == "Driver"), "")


def check_build_logs(engine: Engine, limits: dict[str, str] | None) -> Check:
    """Whether the engine leaves out output of a build step, or loses track of a build that prints much."""
    version = buildx_setup.version_in(engine.version)
    wanted, keeps_track = engine_setup.log_limits(version), engine_setup.keeps_track(version)
    if limits is None:
        return Check("build logs", "ok", "limits not visible from here")
    if limits == wanted:
        speed = "" if keeps_track else ", 1 MB a second (an engine from 23 on: 10 MB a second)"
        return Check("build logs", "ok", f"whole up to 10 MB a step{speed}")
    if machine.has_systemd():
        hint = f"{_FIX} sets {' and '.join(wanted)}, and restarts the engine if nothing runs in it"
    else:
        hint = "restart dockerd with " + " ".join(f"{name}={value}" for name, value in wanted.items())
    text = "the engine cuts each step at 2 MiB and 200 KiB a second"
    if limits:
        set_to = " ".join(f"{name}={value}" for name, value in limits.items())
        why = "" if keeps_track else ", and one before 23 loses track of a build that prints more than 1 MB at once"
        text = f"the engine has {set_to}{why}"
    return Check("build logs", "warning", text, hint)


def check_base_images() -> Check:
    """Whether generated Dockerfiles have something to start from: an image here, or a registry."""
    present = [name for name in RECIPES if _is_ours(name)]
    if "python" in present:
        return Check("base images", "ok", ", ".join(present))
    public = RECIPES["python"].public
    try:
        answer = processes.run(["docker", "buildx", "imagetools", "inspect", public], timeout_s=15, check=False)
        reachable = answer.status == 0
    except GitsteadError:
        reachable = False
    if reachable:
        return Check("base images", "ok", "the registry answers")
    return Check(
        "base images",
        "warning",
        "none here, and no image registry answers",
        "gitstead base-image python makes one from Debian packages",
    )


def read_buildx() -> tuple[Version, str]:
    """Version and driver, for `check_buildx`."""
    version = buildx_setup.buildx_version()
    return version, buildx_driver() if version else ""


def read_limits(engine: Engine) -> dict[str, str] | None:
    """The limits of the engine, where it is the dockerd of this machine and we may look at it."""
    return engine_setup.read_log_limits() if engine.id else None


def _is_ours(name: str) -> bool:
    try:
        image = base_image.find_image(base_image.base_reference(name))
    except GitsteadError:
        return False
    return image is not None and image.labels.get("gitstead.base") == name
