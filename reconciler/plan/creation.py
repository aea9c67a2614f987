"""The operations that make a container of a deployment and start it.

Used by the passes that roll out and that repair; pure. Decides names and labels, never whether.
"""

from __future__ import annotations

from reconciler.model.naming import Identity
from reconciler.model.observed import Container
from reconciler.model.operation import Cause, CreateContainer, CreateNetwork, Operation, StartContainer
from reconciler.model.release import Deployment
from reconciler.plan.view import View, identity

NEW_POLICY = "on-failure:3"
LIVE_POLICY = "unless-stopped"
KEPT_POLICY = "no"


def new_identity(view: View, deployment: Deployment, *, release: int, image_id: str, port: int) -> Identity:
    return Identity(
        instance=view.host.instance,
        project=view.project,
        process="web",
        index=1,
        deployment=deployment.number,
        release=release,
        image_id=image_id,
        content_key=deployment.content_key,
        source_key=deployment.source_key,
        config_digest=deployment.config_digest,
        platform_revision=deployment.platform_revision,
        spec_blob=deployment.spec_blob,
        source_commit=deployment.commit.sha,
        port=port,
    )


def create(
    view: View, deployment: Deployment, who: Identity, *, restart_policy: str, cause: Cause
) -> tuple[Operation, ...]:
    """Network, container, start; nothing where it is not known what the container should be.

    What Git asks for now comes first where it is the same: its secrets may be sealed to a newer key.
    """
    run = view.desired.spec.run if view.desired and view.is_wanted(deployment) else deployment.run
    if run is None:
        return ()
    network = CreateNetwork(project=view.project, deployment=who.deployment, cause=cause, network=view.network)
    return (
        *(() if view.has_network else (network,)),
        CreateContainer(
            project=view.project,
            deployment=who.deployment,
            cause=cause,
            identity=who,
            image=who.image_id,
            network=view.network,
            run=run,
            restart_policy=restart_policy,
        ),
        StartContainer(
            project=view.project, deployment=who.deployment, cause=cause, container_id="", container=who.container_name
        ),
    )


def start_operation(container: Container, cause: Cause) -> StartContainer:
    who = identity(container)
    return StartContainer(
        project=who.project, deployment=who.deployment, cause=cause, container_id=container.id, container=container.name
    )


def port_is_taken(view: View, container: Container) -> bool:
    """Whether a container that does not run could not be started on its port: somebody else has it.

    Told by the ports in use, and by the last failure where a look at the ports does not show it.
    """
    failure = view.failure
    refused = failure is not None and (failure.reason, failure.resource) == ("PortTaken", container.name)
    return refused or identity(container).port in view.world.observed.listening
