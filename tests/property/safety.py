"""What must hold at every step of every world, as sentences that fail (acceptance 6 of the first issue).

Used by the property tests: `Safety` sees each operation before it is carried out and judges it by the
simulated server alone; it knows nothing of how plans are made. Numbers are the design's invariants.
"""

from __future__ import annotations

from collections.abc import Callable

from reconciler.model import operation as ops
from reconciler.model.condition import Reason
from reconciler.model.observed import Container
from reconciler.model.release import State
from tests.world import WINDOW_S, World

STOPPED = ("exited", "dead", "created")


class Broken(AssertionError):
    """An invariant was broken by a planned operation."""


class Safety:
    """`approved_by_people` are the projects whose removal somebody approved; the world only knows digests."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.passed: set[str] = set()
        self.gated: set[str] = set()
        self.approved_by_people: set[str] = set()
        self._checks: dict[type[ops.Operation], Callable[..., None]] = {
            ops.OpenDeployment: self._open,
            ops.AdvanceDeployment: self._advance,
            ops.MarkLive: self._live,
            ops.EndDeployment: self._end,
            ops.CreateContainer: self._create,
            ops.StopContainer: self._stop_or_remove,
            ops.RemoveContainer: self._stop_or_remove,
            ops.SetRestartPolicy: self._container_is_ours,
            ops.StartContainer: self._container_is_ours,
            ops.WriteUpstream: self._switch,
            ops.RemoveUpstream: self._remove_upstream,
            ops.RemoveImage: self._remove_image,
            ops.RemoveNetwork: self._remove_network,
            ops.RetireProject: self._prune,
        }

    # ---- called by the tests -----------------------------------------------------------

    def watch(self, operation: ops.Operation) -> None:
        check = self._checks.get(type(operation))
        if check is not None:
            check(operation)

    def desired_changed(self) -> None:
        """A new revision: many removals at once wait for people until they are approved or back (invariant 8)."""
        world = self.world
        self.approved_by_people -= world.desired.names
        owned = {name for name, row in world.rows.items() if row.live or row.open or row.last_ended}
        owned |= set(world.upstreams)
        owned |= {each.project for each in world.networks.values()}
        owned |= {each.project for each in world.images.values() if any(name.startswith("gs-") for name in each.names)}
        owned |= {
            each.identity.project for each in world.containers.values() if each.id in world.inventory and each.identity
        }
        left = owned - world.desired.names
        many = len(left) >= 2 and (left == owned or 3 * len(left) > len(owned))
        self.gated = left if many and world.desired.complete else set()

    def probes_ended(self) -> None:
        """Note which containers answered their check."""
        for key, job in self.world.jobs.items():
            if key.kind == "probe" and job.state == "succeeded":
                self.passed.add(job.subject)

    # ---- a deployment's rows -----------------------------------------------------------

    def _open(self, op: ops.OpenDeployment) -> None:
        row = self.world.row(op.project)
        last = self.world.deployments.get((op.project, row.last_ended))
        cancelled = last is not None and last.reason == Reason.CANCELLED
        if last is None or op.cause.kind == "request" or not (cancelled or last.state is State.FAILED):
            return
        if op.cause.kind == "drift" and not cancelled:
            return
        asked = (op.source_key, op.config_digest, op.spec_blob, op.commit.sha, op.content_key)
        if asked != (last.source_key, last.config_digest, last.spec_blob, last.commit.sha, last.content_key):
            return
        self._hold(last.retryable, f"what failed for good is tried again: d{last.number} of {op.project}")
        self._hold(self.world.now >= last.ended_at + 0.9, "tried again without a pause")

    def _advance(self, op: ops.AdvanceDeployment) -> None:
        if op.state is State.SWITCHING:
            container = self.world.of(op.project, op.deployment)
            self._hold(self._has_passed(container), f"d{op.deployment} switches before its check (2)")

    def _live(self, op: ops.MarkLive) -> None:
        container = self.world.of(op.project, op.deployment)
        verified = [
            job
            for key, job in self.world.jobs.items()
            if (key.project, key.deployment, key.kind, job.state) == (op.project, op.deployment, "verify", "succeeded")
        ]
        self._hold(bool(verified), f"d{op.deployment} is live without an answer through the route (2)")
        self._hold(
            container is not None and self.world.upstreams.get(op.project) in container.host_ports,
            f"d{op.deployment} is live and its upstream names another port (2)",
        )

    def _end(self, op: ops.EndDeployment) -> None:
        self._hold(
            not self._is_named(op.project, op.deployment) or self._good_one(op.project) is None,
            f"d{op.deployment} of {op.project} is {op.state} and keeps the visitors though another one runs (2)",
        )

    # ---- containers --------------------------------------------------------------------

    def _create(self, op: ops.CreateContainer) -> None:
        world, port = self.world, op.identity.port
        self._hold(world.host.ports[0] <= port <= world.host.ports[1], f"port {port} is outside the range (7)")
        self._hold(port not in world.foreign_ports, f"port {port} is somebody else's (7)")
        for each in world.containers.values():
            self._hold(port not in each.host_ports, f"port {port} is leased to {each.name} (7)")
        for project, named in world.upstreams.items():
            self._hold(project == op.project or named != port, f"port {port} is named by {project}'s upstream (7)")

    def _stop_or_remove(self, op: ops.StopContainer | ops.RemoveContainer) -> None:
        self._container_is_ours(op)
        container = self._container(op)
        if container is None:
            return
        running = container.state not in STOPPED
        named = container.host_ports and self.world.upstreams.get(op.project) in container.host_ports
        self._hold(not (running and named), f"{container.name} has visitors and is to {op.verb} (2)")
        row = self.world.deployments.get((op.project, op.deployment))
        if op.project in self.world.desired.names:
            drains = running and row is not None and row.drain_until > self.world.now
            self._hold(not drains, f"{container.name} is to {op.verb} before it has drained")
        if row is not None and row.state is State.LIVE and running:
            self._prune(op)

    def _container_is_ours(self, op: ops.StopContainer | ops.RemoveContainer | ops.StartContainer) -> None:
        container = self._container(op)
        self._hold(
            container is None or container.id in self.world.ours, f"{op.name} of somebody else's {op.container} (5)"
        )

    def _container(self, op: ops.StopContainer | ops.RemoveContainer | ops.StartContainer) -> Container | None:
        key = op.container_id or op.container
        return next((each for each in self.world.containers.values() if key in (each.id, each.name)), None)

    # ---- traffic -----------------------------------------------------------------------

    def _switch(self, op: ops.WriteUpstream) -> None:
        container = next(
            (
                each
                for each in self.world.containers.values()
                if op.port in each.host_ports and each.id in self.world.ours
            ),
            None,
        )
        self._hold(container is not None, f"{op.project} is pointed at port {op.port}, which nobody serves (2)")
        assert container is not None
        assert container.identity is not None
        self._hold(container.identity.project == op.project, f"{op.project} is pointed at {container.name} (2)")
        row = self.world.deployments.get((op.project, container.identity.deployment))
        live = row is not None and row.state is State.LIVE
        self._hold(live or self._has_passed(container), f"{op.project} is pointed at {container.name} unchecked (2)")
        good = self._good_one(op.project)
        self._hold(
            container.state == "running" or good is None,
            f"{op.project} is pointed at {container.name}, which is down (2)",
        )

    def _remove_upstream(self, op: ops.RemoveUpstream) -> None:
        row = self.world.row(op.project)
        under_way = self.world.deployments.get((op.project, row.open))
        if not row.live and under_way is not None and under_way.state is State.SWITCHING:
            return  # a first deployment ends in mid-switch: nobody is left to serve its visitors
        self._prune(op)
        routed = any(project == op.project for _, project in self.world.routes.hosts)
        self._hold(not routed, f"the upstream file of {op.project} goes before its route: visitors see 502")

    # ---- removal -----------------------------------------------------------------------

    def _prune(self, op: ops.Operation) -> None:
        desired = self.world.desired
        self._hold(desired.complete, f"{op.name} of {op.project} on half a revision (3)")
        self._hold(op.project not in desired.names, f"{op.name} of {op.project}, which Git asks for (8)")
        waits = op.project in self.gated or self._is_known_by_labels_alone(op.project)
        approved = op.project in self.approved_by_people
        self._hold(approved or not waits, f"{op.name} of {op.project} before a person approved (8)")

    def _remove_image(self, op: ops.RemoveImage) -> None:
        if op.project in self.world.desired.names:
            self._collect(op)
            return
        self._prune(op)
        ours = f"gs-{self.world.host.instance}-{op.project}:"
        self._hold(op.image.startswith(ours), f"image name {op.image} is somebody else's (5)")

    def _collect(self, op: ops.RemoveImage) -> None:
        """Of a project that is wanted: only what is ours, what nothing needs, and what was measured."""
        world, image = self.world, self.world.images.get(op.image_id)
        disk, said = world.disk, f"image {op.image} of {op.project}"
        self._hold(disk is not None and op.image_id in disk.layers, f"{said} was never measured")
        self._hold(world.desired.complete, f"{said} goes though Git was not read wholly (3)")
        if image is None or disk is None:
            return
        named = image.names == (op.image,) and op.image.startswith(f"gs-{world.host.instance}-{op.project}:")
        self._hold(named or (not image.names and image.id.startswith("image-")), f"{said} is somebody else's (5)")
        used = any(each.image_id == image.id for each in world.containers.values())
        self._hold(not used, f"{said} is what a container runs")
        for (project, number), each in world.deployments.items():
            serves = each.is_open or each.state is State.LIVE
            kept = each.state is State.RETIRED and disk.at < each.ended_at + WINDOW_S
            if project == op.project and (serves or kept):
                self._hold(each.image_id != image.id, f"{said} is needed by d{number}")
            if project == op.project and each.is_open and image.names:
                self._hold(not op.image.endswith(f":{each.content_key[:16]}"), f"{said} is what d{number} builds")

    def _remove_network(self, op: ops.RemoveNetwork) -> None:
        self._prune(op)
        network = self.world.networks.get(op.network)
        self._hold(network is None or network.instance == self.world.host.instance, f"network {op.network} (5)")

    def _is_known_by_labels_alone(self, project: str) -> bool:
        world = self.world
        return world.row(project).adopted or any(
            each.id in world.ours and each.id not in world.inventory
            for each in world.containers.values()
            if each.identity is not None
            and each.identity.project == project
            and each.name == each.identity.container_name
        )

    # ---- questions ---------------------------------------------------------------------

    def _has_passed(self, container: Container | None) -> bool:
        if container is None or container.identity is None:
            return False
        return f"{container.identity.container_name}:{container.identity.port}" in self.passed

    def _is_named(self, project: str, deployment: int) -> bool:
        container = self.world.of(project, deployment)
        return container is not None and self.world.upstreams.get(project) in container.host_ports

    def _good_one(self, project: str) -> Container | None:
        row = self.world.row(project)
        live = self.world.of(project, row.live) if row.live else None
        return live if live is not None and live.state == "running" else None

    def _hold(self, fact: bool, sentence: str) -> None:
        if not fact:
            raise Broken(sentence)


def at_rest(world: World) -> None:
    """After quiet: each wanted, buildable project is served by exactly its wanted release, and nothing is left over."""
    for wanted in world.desired.projects:
        if wanted.commit is not None and wanted.commit.sha not in world.faults:
            _is_served(world, wanted.name, (wanted.source_key, wanted.config_digest))
    for row in world.rows.values():
        _that(not row.open, "a half-open deployment is left (4)")
    for container in world.containers.values():
        if container.id in world.inventory and container.identity is not None:
            _is_accounted_for(world, container)

    plan = world.plan()
    _that(plan.is_empty, "not at rest")
    world.now += 0.25
    again = world.plan()
    _that(again.is_empty, "an empty plan did not stay empty (11)")
    verdicts = [(each.project, each.verdict, each.retry_at) for each in plan.projects]
    _that(
        verdicts == [(each.project, each.verdict, each.retry_at) for each in again.projects], "words changed alone (11)"
    )


def _is_served(world: World, project: str, keys: tuple[str, str]) -> None:
    row = world.row(project)
    live = world.deployments.get((project, row.live))
    _that(live is not None, f"{project} serves nothing")
    assert live is not None
    _that((live.source_key, live.config_digest) == keys, f"{project} serves another release: d{live.number}")
    container = world.of(project, live.number)
    _that(container is not None and container.state == "running", f"d{live.number} of {project} does not run")
    assert container is not None
    _that(world.upstreams.get(project) in container.host_ports, f"{project}'s upstream names another port")
    _that(container.settings.restart_policy == "unless-stopped", f"{container.name} would not come back by itself (14)")
    hosts = {host for host, name in world.routes.hosts if name == project}
    spec = next(each.spec for each in world.desired.projects if each.name == project)
    _that(set(spec.domains) == hosts, f"{project} is routed from {hosts}")


def _is_accounted_for(world: World, container: Container) -> None:
    who = container.identity
    assert who is not None
    row = world.row(who.project)
    if who.deployment == row.live or who.project not in world.desired.names:
        return
    named = world.upstreams.get(who.project) in container.host_ports
    if named and not row.live:
        return  # nothing better to point visitors at
    _that(who.deployment == row.previous_live, f"{container.name} is left over (4)")
    _that(container.state == "exited", f"{container.name} is kept and {container.state}")
    _that(container.settings.restart_policy == "no", f"{container.name} is kept and an engine restart would revive it")


def _that(fact: bool, sentence: str) -> None:
    if not fact:
        raise Broken(sentence)


def approve(world: World, safety: Safety, project: str) -> None:
    """What `gitstead approve PROJECT` does: the digest that the plan shows for it."""
    waiting = next((each.waiting for each in world.plan().projects if each.project == project), None)
    if waiting is not None:
        world.approved.add(waiting.digest)
        safety.approved_by_people.add(project)
