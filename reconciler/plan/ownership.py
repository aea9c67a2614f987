"""What on the engine is ours, of which project, and what to take over after the store was lost.

Used by `planner`; pure. Invariants 5, 8 and 10: labels alone prove nothing, since an image made
from one of our containers hands them on to whatever is run from it.
"""

from __future__ import annotations

from collections.abc import Set

from reconciler.model.naming import network_name
from reconciler.model.observed import Container, Engine
from reconciler.model.operation import AdoptDeployment, Cause
from reconciler.plan.creation import LIVE_POLICY
from reconciler.plan.view import View, World, identity


def owned(world: World, engine: Engine) -> dict[str, tuple[Container, ...]]:
    """Projects that we have something of, with their containers, newest deployment first."""
    found: dict[str, list[Container]] = {name: [] for name in _named(world, engine)}
    for container in engine.containers:
        if is_ours(container, instance=world.host.instance, inventory=world.history.inventory):
            found.setdefault(identity(container).project, []).append(container)
    return {
        name: tuple(sorted(each, key=lambda container: -identity(container).deployment)) for name, each in found.items()
    }


def is_ours(container: Container, *, instance: str, inventory: Set[str]) -> bool:
    """Our labels, and the name that they ask for or a row of the inventory (it may have been renamed)."""
    who = container.identity
    if who is None or who.instance != instance:
        return False
    return container.name == who.container_name or container.id in inventory


def _named(world: World, engine: Engine) -> set[str]:
    """Projects that have an upstream file, a network or image under our names, or a past that is not over."""
    names = set(world.observed.upstreams)
    instance = world.host.instance
    for network in engine.networks:
        if network.instance == instance and network.name == network_name(instance, network.project):
            names.add(network.project)
    for image in engine.images:
        ours = f"{network_name(instance, image.project)}:"
        if image.instance == instance and any(name.startswith(ours) for name in image.names):
            names.add(image.project)
    names |= {
        name for name, past in world.history.projects.items() if past.live or past.open or past.last_ended is not None
    }
    return names


def adoption(view: View) -> AdoptDeployment | None:
    """Invariant 10: what serves and is unknown to history was made by us before this store existed.

    What the upstream file names had passed its check; without the file the restart policy tells
    what had been live from what was still being checked (invariant 2).
    """
    if view.past.live is not None or view.past.open is not None:
        return None
    serving = view.served_by or next((each for each in view.containers if _was_live(each)), None)
    if serving is None or identity(serving).deployment <= view.past.last_number:
        return None
    return AdoptDeployment(
        project=view.project,
        deployment=identity(serving).deployment,
        cause=Cause("drift", "it runs, and this store does not know it"),
        identity=identity(serving),
        container_id=serving.id,
    )


def _was_live(container: Container) -> bool:
    return container.state == "running" and container.settings.restart_policy == LIVE_POLICY
