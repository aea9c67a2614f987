"""Removes what left Git, carefully (invariant 8).

One pass of `planner`; pure. Pruned is only what carries our labels and is absent from a wholly
parsed revision. Adopted things, and a revision that removes many projects, wait for a person.
"""

from __future__ import annotations

from reconciler.model.condition import Reason
from reconciler.model.naming import digest
from reconciler.model.operation import (
    Cause,
    EndDeployment,
    Operation,
    RemoveContainer,
    RemoveImage,
    RemoveNetwork,
    RemoveUpstream,
    RetireProject,
)
from reconciler.model.plan import Waiting
from reconciler.model.release import State
from reconciler.plan.rollout import cancel_jobs
from reconciler.plan.view import View, World, identity


def orphans(world: World, owned: frozenset[str]) -> frozenset[str]:
    """Projects that we own something of and that a complete revision does not name."""
    return owned - world.desired.names if world.desired.complete else frozenset()


def is_mass_removal(orphaned: frozenset[str], owned: frozenset[str]) -> bool:
    """All, or more than a third of the projects, and at least two of them."""
    return len(orphaned) >= 2 and (len(orphaned) == len(owned) or 3 * len(orphaned) > len(owned))


def gate(view: View, *, mass: bool) -> Waiting | None:
    """Why the removal of this project waits for a person; None where it may go on."""
    if not mass and not view.past.adopted:
        return None
    held = digest(["prune", view.project, sorted(each.name for each in view.containers)])
    if held in view.world.history.approved:
        return None
    why = (
        "this revision removes many projects at once"
        if mass
        else "it was adopted after the store was lost, so that Git alone is not proof enough"
    )
    return Waiting(view.project, "removal", f"removal: {why}; gitstead approve {view.project}", held)


def remove(view: View) -> tuple[Operation, ...]:
    """Everything of the project, once Caddy no longer routes to it."""
    cause = Cause("change", f"projects/{view.project}.yaml left the platform repository")
    project = view.project
    operations: list[Operation] = []
    if view.past.open is not None:
        number = view.past.open.number
        operations += cancel_jobs(view, view.past.open, cause)
        operations.append(
            EndDeployment(
                project=project,
                deployment=number,
                cause=cause,
                state=State.CANCELLED,
                reason=Reason.ORPHAN,
                message="the project left the platform repository",
            )
        )
    if view.upstream is not None:
        operations.append(RemoveUpstream(project=project, cause=cause))
    operations += [
        RemoveContainer(
            project=project,
            deployment=identity(each).deployment,
            cause=cause,
            container_id=each.id,
            container=each.name,
        )
        for each in view.containers
    ]
    operations += _images_and_network(view, cause)
    if view.past.live is not None:
        operations.append(RetireProject(project=project, cause=cause))
    return tuple(operations)


def _images_and_network(view: View, cause: Cause) -> list[Operation]:
    operations: list[Operation] = [
        RemoveImage(project=view.project, cause=cause, image=each.names[0] if each.names else each.id, image_id=each.id)
        for each in view.engine.images
        if each.instance == view.host.instance and each.project == view.project
    ]
    if view.has_network:
        operations.append(RemoveNetwork(project=view.project, cause=cause, network=view.network))
    return operations
