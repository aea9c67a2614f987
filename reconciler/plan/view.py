"""What the passes of `plan` look at: one project, cut out of the whole snapshot.

Made by `planner` for each project of a pass; pure values and questions about them, no decisions.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.desired import Desired, DesiredProject
from reconciler.model.host import Host
from reconciler.model.job import Job, JobKey, JobKind
from reconciler.model.naming import Identity, container_name, digest, image_name, network_name, parse_container_name
from reconciler.model.observed import Container, Engine, Observed
from reconciler.model.release import Deployment, Failure, History, ProjectHistory
from reconciler.model.spec import DeploySpec, ProjectSpec
from reconciler.plan.ports import Ports


@dataclass(frozen=True)
class World:
    """Everything that one planning pass was given."""

    desired: Desired
    observed: Observed
    history: History
    host: Host
    ports: Ports

    @property
    def now(self) -> float:
        return self.observed.at


@dataclass(frozen=True)
class View:
    """One project. `containers` are ours only, newest deployment first; `engine` did answer."""

    world: World
    project: str
    desired: DesiredProject | None
    past: ProjectHistory
    engine: Engine
    containers: tuple[Container, ...]

    @property
    def now(self) -> float:
        return self.world.now

    @property
    def host(self) -> Host:
        return self.world.host

    @property
    def upstream(self) -> int | None:
        """The port that the upstream file names; None without a file, 0 where it is garbled."""
        return self.world.observed.upstreams.get(self.project)

    @property
    def spec(self) -> ProjectSpec:
        """What Git asks for; ValueError where it asks for nothing that can be used."""
        if self.desired is None:
            raise ValueError(f"nothing is desired of project {self.project!r}")
        return self.desired.spec

    @property
    def drain_s(self) -> float:
        return (self.desired.spec.deploy if self.desired else DeploySpec()).drain_s

    @property
    def failure(self) -> Failure | None:
        """The last operation of the project that failed, if none went well since."""
        return self.world.history.last_failures.get(self.project)

    @property
    def missing_hosts(self) -> tuple[str, ...]:
        """Domains that Caddy does not route to the project; all of them while it does not answer."""
        routes = self.world.observed.routes
        found = routes.hosts_of(self.project) if routes else ()
        return tuple(each for each in (self.desired.spec.domains if self.desired else ()) if each not in found)

    @property
    def is_routed(self) -> bool:
        """Whether Caddy takes every domain of the project to its upstream file, and the file is there.

        Of this project alone: a route of another one that Caddy refuses must not hold this one up.
        """
        return self.upstream is not None and self.world.observed.routes is not None and not self.missing_hosts

    def container_of(self, deployment: int) -> Container | None:
        return next((each for each in self.containers if identity(each).deployment == deployment), None)

    def name_is_taken(self, deployment: int) -> bool:
        """Whether somebody else's container has the name that a container of ours would get."""
        name = container_name(self.host.instance, self.project, deployment, "web", 1)
        return any(each.name == name and each not in self.containers for each in self.engine.containers)

    @property
    def served_by(self) -> Container | None:
        """The container that the upstream file points visitors at."""
        return next((each for each in self.containers if identity(each).port == self.upstream), None)

    def job(self, deployment: int, kind: JobKind) -> Job | None:
        return self.world.observed.jobs.get(JobKey(self.project, deployment, kind))

    @property
    def network(self) -> str:
        return network_name(self.host.instance, self.project)

    @property
    def has_network(self) -> bool:
        return any(each.name == self.network and each.project == self.project for each in self.engine.networks)

    @property
    def next_number(self) -> int:
        """Above every number that history, a label or somebody's container of such a name has used."""
        mine = (self.host.instance, self.project)
        labels = [each.identity for each in self.engine.containers if each.identity is not None]
        labelled = [who.deployment for who in labels if (who.instance, who.project) == mine]
        names = [parse_container_name(each.name) for each in self.engine.containers]
        named = [each[2] for each in names if each is not None and each[:2] == mine]
        return max((self.past.last_number, *labelled, *named)) + 1

    @property
    def content_key(self) -> str:
        """What an image must be built from to be reused; never equal where a base is not known."""
        wanted = self.desired
        if wanted is None or wanted.dockerfile is None:
            return ""
        bases = wanted.dockerfile.bases
        known = {name: self.image_id(name) for name in bases or ()}
        unsure = bases is None or None in known.values()
        salt = (wanted.commit.sha if wanted.commit else "") if unsure else ""
        return digest([wanted.source_key, wanted.dockerfile.text, sorted(known.items()), salt])

    @property
    def can_reuse(self) -> bool:
        wanted = self.desired
        if wanted is None or wanted.dockerfile is None or wanted.dockerfile.bases is None:
            return False
        return all(self.image_id(name) for name in wanted.dockerfile.bases)

    def image_id(self, name: str) -> str | None:
        full = name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"
        return next((each.id for each in self.engine.images if full in each.names), None)

    def built_image(self, content_key: str) -> str | None:
        """Id of the image of ours that was built from `content_key`."""
        name = image_name(self.host.instance, self.project, content_key)
        for each in self.engine.images:
            if each.instance == self.host.instance and each.content_key == content_key and name in each.names:
                return each.id
        return None

    def has_image(self, image_id: str) -> bool:
        return any(each.id == image_id for each in self.engine.images)

    def is_wanted(self, deployment: Deployment) -> bool:
        """Whether `deployment` is of exactly what Git asks for now."""
        return self.desired is not None and wanted_keys(self.desired) == keys_of(deployment)


def wanted_keys(desired: DesiredProject) -> tuple[str, str]:
    return desired.source_key, desired.config_digest


def built_as(desired: DesiredProject) -> str:
    """What the source is taken for, as people read it."""
    chosen = desired.detection.chosen if desired.detection else None
    return chosen.title if chosen else desired.spec.build.type


def keys_of(deployment: Deployment) -> tuple[str, str]:
    return deployment.source_key, deployment.config_digest


def identity(container: Container) -> Identity:
    """The labels of a container of ours; `View.containers` holds no others."""
    if container.identity is None:
        raise ValueError(f"container {container.name} has no labels of ours")
    return container.identity
