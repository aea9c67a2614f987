"""Removes a demo: its containers, networks and images on the engine, its Caddy, its folder. Nothing else.

Called by the command `demo --reset`, and at the end of `demo --once`. What is somebody else's is never
touched: the engine's adapter asks each thing for our instance before it is removed.
"""

from __future__ import annotations

from collections.abc import Callable

from reconciler.adapters.caddy_process import CaddyProcess
from reconciler.adapters.docker_engine import DockerEngine
from reconciler.adapters.process_marks import end_marked, marked_pids
from reconciler.demo.folder import DemoFolder, remove_folder, require_demo, stopped
from reconciler.demo.host_file import demo_settings
from reconciler.errors import EngineUnavailable, GitsteadError
from reconciler.settings import Settings

Say = Callable[[str], None]


def remove_demo(folder: DemoFolder, base: Settings, say: Say) -> None:
    """Remove everything that this demo made and say what it was.

    Raises HostUnfit for a folder that is no demo or whose demo still runs, EngineUnavailable before
    anything was removed.
    """
    require_demo(folder)
    settings = demo_settings(folder, base)
    with stopped(folder):
        _remove_platform(settings, say)
        left = remove_folder(folder)
    if left:
        say(f"Kept the folder {folder.path}, since the demo did not make: {', '.join(left)}")
    else:
        say(f"Removed the folder {folder.path}")
    say("Kept, since other platforms use them too: the base images gitstead/base-… and the builder's cache")


def _remove_platform(settings: Settings, say: Say) -> None:
    name = settings.state / "instance"
    if name.is_file():
        instance = name.read_text().strip()
        _remove_from_engine(DockerEngine(settings.docker_host, instance=instance), instance, say)
    CaddyProcess(
        settings.state / "caddy",
        admin_socket=settings.admin_socket,
        last_good=settings.last_good_caddy,
        listen=(settings.listen_host, settings.http_port),
    ).stop()


def _remove_from_engine(engine: DockerEngine, instance: str, say: Say) -> None:
    """Containers first: they hold their networks and images."""
    seen = engine.look()
    for job_id in {each for each in marked_pids().values() if each.startswith(f"{instance}/")}:
        end_marked(job_id)
    containers = [each for each in seen.containers if each.identity is not None]
    networks = [each for each in seen.networks if each.instance == instance]
    images = [each for each in seen.images if each.instance == instance]
    _each("container", {each.name: each.id for each in containers}, engine.remove, say)
    _each("network", {each.name: each.name for each in networks}, engine.remove_network, say)
    _each("image", {_names(each.names, each.id): each.id for each in images}, engine.remove_image, say)


def _names(names: tuple[str, ...], image_id: str) -> str:
    return " ".join(names) or image_id.removeprefix("sha256:")[:12]


def _each(kind: str, things: dict[str, str], remove: Callable[[str], None], say: Say) -> None:
    """Remove each thing of `things` (what people call it, what the engine calls it)."""
    for name, handle in sorted(things.items()):
        try:
            remove(handle)
        except EngineUnavailable:
            raise
        except GitsteadError as error:
            say(f"Kept {kind} {name}: {error}")
        else:
            say(f"Removed {kind} {name}")
