"""Removes what left Git, carefully (invariant 8).

One pass of `planner`; pure. Pruned is only what carries our labels and is absent from a wholly
parsed revision. Adopted things, and a revision that removes many projects, wait for a person.
"""

from __future__ import annotations

from reconciler.model.condition import Reason
from reconciler.model.naming import digest
from reconciler.model.operation import (
    Cause,
    Operation,
    RemoveContainer,
    RemoveImage,
    RemoveNetwork,
    RemoveUpstream,
    RetireProject,
)
from reconciler.model.plan import Waiting
from reconciler.plan.ending import cancelled
from reconciler.plan.gates import REMOVAL
from reconciler.plan.view import View, World, identity


def orphans(world: World, owned: frozenset[str]) -> frozenset[str]:
    """Projects that we own something of and that a complete revision does not name."""
    return owned - world.desired.names if world.desired.complete else frozenset()


def is_mass_removal(orphaned: frozenset[str], owned: frozenset[str]) -> bool:
    """All, or more than a third of the projects, and at least two of them."""
    return len(orphaned) >= 2 and (len(orphaned) == len(owned) or 3 * len(orphaned) > len(owned))


def gate(view: View, mass: tuple[View, ...]) -> Waiting | None:
    """Why the removal of this project waits for a person; None where it may go on.

    `mass` are the projects of a mass removal, this one among them; empty where there is none. The
    first is removed only when all are approved: else each removal would make the rest look small.
    """
    held = _held(view)
    approved = view.world.history.approved
    waits_for = [each.project for each in mass if _held(each) not in approved]
    if waits_for:
        names = ", ".join(each.project for each in mass)
        why = f"this revision removes {len(mass)} projects at once ({names}), and {_list(waits_for)} not approved yet"
        whom = view.project if view.project in waits_for else waits_for[0]
        return Waiting(view.project, REMOVAL, f"removal: {why}; gitstead approve {whom}", held)
    if not is_unproven(view) or held in approved:
        return None
    why = "it was found by its labels after the store was lost, so that Git alone is not proof enough"
    return Waiting(view.project, REMOVAL, f"removal: {why}; gitstead approve {view.project}", held)


def _list(names: list[str]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"{', '.join(names)} are"


def _held(view: View) -> str:
    """What an approval names: the project up to its last deployment, and the revision that it is missing from.

    Stays the same while it is being removed; void when the platform repository moves on, so that a consent to
    one removal is none to a later one.
    """
    return digest(["prune", view.project, view.past.last_number, view.world.desired.revision])


def is_unproven(view: View) -> bool:
    """Whether some of it is not in the inventory: adopted, or about to be."""
    return view.past.adopted or any(each.id not in view.world.history.inventory for each in view.containers)


def stay(view: View) -> tuple[Operation, ...]:
    """While the removal waits nothing new begins: the deployment under way ends."""
    if view.past.open is None:
        return ()
    return cancelled(view, view.past.open, Reason.ORPHAN, "the project left the platform repository")


def remove(view: View) -> tuple[Operation, ...]:
    """Everything of the project, once Caddy no longer routes to it."""
    cause = Cause("change", f"projects/{view.project}.yaml left the platform repository")
    project = view.project
    upstream = RemoveUpstream(project=project, cause=cause)
    containers = tuple(
        RemoveContainer(
            project=project,
            deployment=identity(each).deployment,
            cause=cause,
            container_id=each.id,
            container=each.name,
        )
        for each in view.containers
    )
    network = RemoveNetwork(project=project, cause=cause, network=view.network)
    retire = RetireProject(project=project, cause=cause)
    return (
        *stay(view),
        *((upstream,) if view.upstream is not None else ()),
        *containers,
        *_images(view, cause),
        *((network,) if view.has_network else ()),
        *((retire,) if view.past.live is not None or view.past.last_ended is not None else ()),
    )


def _images(view: View, cause: Cause) -> tuple[Operation, ...]:
    """By our own names only: labels are inherited by what people build on top, and their names are theirs."""
    return tuple(
        RemoveImage(project=view.project, cause=cause, image=name, image_id=each.id)
        for each in view.engine.images
        if each.instance == view.host.instance and each.project == view.project
        for name in each.names
        if name.startswith(f"{view.network}:")
    )
