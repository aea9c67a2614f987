"""A simulated server: what Docker, Caddy, the upstream files, the jobs and the store would do.

The test model of the planner, in plain Python, no adapter in sight: `observe()` and `history()` are what
a pass is given, `apply()` carries a plan out the way the real ones do, with their refusals, and `now`
moves only when a test moves it. A step that history would refuse is an `AssertionError`: plans must not ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from reconciler import errors
from reconciler.model import operation as ops
from reconciler.model.condition import Reason
from reconciler.model.desired import Desired, DesiredProject, Dockerfile
from reconciler.model.detection import Detected, Detection
from reconciler.model.disk import Disk, Layers
from reconciler.model.host import Host
from reconciler.model.job import Job, JobKey
from reconciler.model.naming import digest
from reconciler.model.observed import Container, ContainerSettings, Engine, Image, Network, Observed, Routes
from reconciler.model.plan import Plan, ProjectPlan
from reconciler.model.release import TRANSITIONS, Commit, Deployment, Failure, History, ProjectHistory, Release, State
from reconciler.model.spec import (
    BuildSpec,
    BuildType,
    DeploySpec,
    HealthSpec,
    Location,
    PlatformSpec,
    ProjectSpec,
    RunSpec,
    SourceSpec,
)
from reconciler.plan import planner
from reconciler.plan.routes import document_digest

INSTANCE = "k3v9qa"
HOST = Host(instance=INSTANCE, upstreams_folder="/state/upstreams", verify_token="token", ports=(20000, 20011))
BASE = "gitstead/base-python:latest"
START = 1_000_000.0
MB = 2**20
DRAIN_S, WINDOW_S = 30.0, 86400.0


class Crash(Exception):
    """The reconciler was killed between two operations."""


def desired_project(
    name: str,
    commit: str = "aaa1111",
    *,
    memory_m: int = 256,
    blob: str = "",
    domains: tuple[str, ...] = (),
    detected: tuple[BuildType, ...] = (),
) -> DesiredProject:
    """A project of which the app's tree is named by `commit` and the spec's text by `blob`.

    `detected` is what build.type auto took it for, then what else it could be; empty where the type is said.
    """
    run = RunSpec(memory_bytes=memory_m * MB)
    spec = ProjectSpec(
        name=name,
        blob=blob or digest([name, memory_m, domains])[:8],
        source=SourceSpec(f"/srv/git/{name}.git"),
        build=BuildSpec("auto" if detected else "python"),
        run=run,
        health=HealthSpec("/healthz"),
        deploy=DeploySpec(rollback_window_s=WINDOW_S, drain_s=DRAIN_S),
        domains=domains or (f"{name}.localhost",),
        locations={"run.memory": Location(f"projects/{name}.yaml", 9, 3)},
    )
    return DesiredProject(
        spec,
        commit=Commit(commit, tree=f"tree-{commit}", author="Ana", subject=f"Change {commit}"),
        dockerfile=Dockerfile("Dockerfile", f"FROM {BASE}", (BASE,)),
        source_key=digest([name, commit]),
        config_digest=digest([memory_m]),
        config=(("run.memory", f"{memory_m}m"),),
        detection=_detection(*detected) if detected else None,
    )


def _detection(chosen: BuildType, *others: BuildType) -> Detection:
    likely = [Detected(each, "likely", (f"there is a file of {each}",)) for each in (chosen, *others)]
    return Detection(likely[0], tuple(likely[1:]))


@dataclass
class Row:
    """What history keeps of a project beside its deployments; numbers, 0 = none."""

    last_number: int = 0
    live: int = 0
    open: int = 0
    last_ended: int = 0
    previous_live: int = 0
    adopted: bool = False
    repairs: list[float] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)


class World:
    """`faults` maps a commit to what is wrong with its app: build, start, crash or check."""

    def __init__(self, host: Host = HOST) -> None:
        self.host = host
        self.now = START
        self.desired = Desired("main@0000000", PlatformSpec(), complete=True)
        self.engine_up = self.caddy_up = True
        self.faults: dict[str, str] = {}
        self.containers: dict[str, Container] = {}
        self.images: dict[str, Image] = {"base": Image("base", (BASE,))}
        self.networks: dict[str, Network] = {}
        self.upstreams: dict[str, int] = {}
        self.routes = Routes("")
        self.foreign_ports: set[int] = set()
        self.layers: dict[str, Layers] = {}
        self.disk: Disk | None = None
        self.disk_problem = ""
        self.refusals: dict[str, errors.GitsteadError] = {}
        self.done: list[ops.Operation] = []
        self._ids = 0
        self.lose_store()

    # ---- what a pass is given ----------------------------------------------------------

    def observe(self) -> Observed:
        engine = Engine(tuple(self.containers.values()), tuple(self.images.values()), tuple(self.networks.values()))
        return Observed(
            at=self.now,
            engine=engine if self.engine_up else None,
            engine_problem="" if self.engine_up else "connection refused",
            routes=self.routes if self.caddy_up else None,
            caddy_problem="" if self.caddy_up else "connection refused",
            upstreams=dict(self.upstreams),
            listening=frozenset(self.foreign_ports | self._ports_in_use()),
            jobs=dict(self.jobs),
            disk=self.disk,
            disk_problem=self.disk_problem,
        )

    def history(self) -> History:
        return History(
            projects={name: self._past(name, row) for name, row in self.rows.items()},
            approved=frozenset(self.approved),
            inventory=frozenset(self.inventory),
            last_failures=dict(self.failures),
            routes_digest=self.routes_digest,
        )

    def plan(self) -> Plan:
        return planner.plan(self.desired, self.observe(), self.history(), self.host)

    def _past(self, name: str, row: Row) -> ProjectHistory:
        return ProjectHistory(
            name,
            last_number=row.last_number,
            live=self.deployments.get((name, row.live)),
            open=self.deployments.get((name, row.open)),
            last_ended=self.deployments.get((name, row.last_ended)),
            previous_live=self.deployments.get((name, row.previous_live)),
            releases=tuple(row.releases),
            repairs=tuple(row.repairs[-20:]),
            adopted=row.adopted,
            draining={
                number: each.drain_until
                for (project, number), each in self.deployments.items()
                if project == name and each.drain_until
            },
            retired={
                each.image_id: each.ended_at
                for (project, _), each in sorted(self.deployments.items())
                if project == name and each.state is State.RETIRED and each.image_id
            },
        )

    # ---- what people and accidents do --------------------------------------------------

    def want(self, *projects: DesiredProject, revision: str = "main@1111111", complete: bool = True) -> None:
        names = frozenset(each.name for each in projects)
        self.desired = Desired(revision, PlatformSpec(), tuple(projects), names, complete=complete)

    def lose_store(self) -> None:
        self.rows: dict[str, Row] = {}
        self.deployments: dict[tuple[str, int], Deployment] = {}
        self.inventory: set[str] = set()
        self.approved: set[str] = set()
        self.failures: dict[str, Failure] = {}
        self.routes_digest = ""
        self.jobs: dict[JobKey, Job] = {}

    def crash(self) -> None:
        """Killed and started again: jobs are lost, what was open is interrupted."""
        self.jobs = {}
        for name, row in self.rows.items():
            if row.open:
                self._end(name, row.open, State.INTERRUPTED, reason=Reason.INTERRUPTED, retryable=True)

    def edit(self, name: str, /, **changes: object) -> None:
        """Change a container; `memory_bytes`, `restart_policy` and the like are its settings."""
        container = self.containers.pop(name)
        settings = {key: value for key, value in changes.items() if key in ContainerSettings.__dataclass_fields__}
        rest = {key: value for key, value in changes.items() if key not in settings}
        changed = replace(container, settings=replace(container.settings, **settings), **rest)  # type: ignore[arg-type]
        self.containers[changed.name] = changed

    def kill(self, name: str, exit_code: int = 137) -> None:
        self.edit(name, state="exited", exit_code=exit_code, finished_at=self.now)

    def add_foreign(self, name: str, /, **values: object) -> None:
        """A container of somebody else."""
        settings = ContainerSettings(0, 0.0, 0, "no", ("bridge",))
        base = Container(self.new_id("foreign"), name, "other", "running", self.now, None, (), settings)
        self.containers[name] = replace(base, **values)  # type: ignore[arg-type]

    def of(self, project: str, deployment: int) -> Container | None:
        """The container of a deployment, by its labels, ours only."""
        for each in self.containers.values():
            who = each.identity
            if each.id in self.ours and who is not None and (who.project, who.deployment) == (project, deployment):
                return each
        return None

    @property
    def ours(self) -> set[str]:
        """Ids of containers that really were made by us, whatever the store remembers."""
        return {each.id for each in self.containers.values() if each.id.startswith("c")}

    def new_id(self, prefix: str) -> str:
        self._ids += 1
        return f"{prefix}{self._ids}"

    def _ports_in_use(self) -> set[int]:
        return {
            port for each in self.containers.values() if each.state in ("running", "paused") for port in each.host_ports
        }

    def measure(self, **values: int) -> None:
        """The disk as it is now: each image of ours takes 100 MB of its own, unless `layers` says otherwise."""
        layers = {each: self.layers.get(each, ((each, 100 * MB),)) for each in self.images}
        before = self.disk or Disk(self.now)
        self.disk = replace(before, at=self.now, layers=layers, **values)

    # ---- jobs --------------------------------------------------------------------------

    def running_jobs(self) -> list[JobKey]:
        return sorted((key for key, job in self.jobs.items() if job.state == "running"), key=str)

    def finish(self, key: JobKey) -> None:
        """The job ends the way its app and this world make it end."""
        job = self.jobs[key]
        if key.kind == "prune":
            self.measure(build_cache_bytes=self.disk.build_cache_limit_bytes, cache_pruned_at=int(self.now))  # type: ignore[union-attr]
            del self.jobs[key]
            return
        if key.kind == "stop":
            container = next((each for each in self.containers.values() if each.name == job.subject), None)
            if container is not None and container.state not in ("exited", "dead"):
                self.kill(container.name, exit_code=0)
            del self.jobs[key]
            return
        finisher: Mapping[str, Callable[[Job], Job]] = {
            "build": self._built,
            "probe": self._probed,
            "verify": self._verified,
        }
        self.jobs[key] = replace(finisher[key.kind](job), ended_at=self.now)

    def finish_jobs(self) -> None:
        for key in self.running_jobs():
            self.finish(key)

    def fail_job(self, key: JobKey, reason: Reason, message: str, *, retryable: bool = False) -> None:
        self.jobs[key] = replace(
            self.jobs[key],
            state="failed",
            reason=reason,
            message=message,
            hint="Push a fix",
            retryable=retryable,
            ended_at=self.now,
        )

    def _fault(self, project: str, deployment: int) -> str:
        return self.faults.get(self.deployments[project, deployment].commit.sha, "")

    def _built(self, job: Job) -> Job:
        row = self.deployments[job.key.project, job.key.deployment]
        if self._fault(row.project, row.number) == "build":
            return _failed(job, Reason.BUILD_FAILED, 'step 3/6 "pip install": no version of "flsk" found')
        if self._fault(row.project, row.number) == "network":
            what = 'step 3/6 "pip install" failed: the network was not reachable'
            return _failed(job, Reason.BUILD_HINDERED, what, retryable=True)
        image = Image(
            f"image-{job.subject[:8]}",
            (f"gs-{self.host.instance}-{row.project}:{job.subject[:16]}",),
            self.host.instance,
            row.project,
            job.subject,
            self.now,
        )
        self.images[image.id] = image
        return replace(job, state="succeeded", image_id=image.id)

    def _probed(self, job: Job) -> Job:
        container = self.of(job.key.project, job.key.deployment)
        healthy = self._fault(job.key.project, job.key.deployment) != "check"
        if container is not None and container.state in ("running", "restarting") and healthy:
            return replace(job, state="succeeded")
        return _failed(job, Reason.CHECK_FAILED, "no good answer to GET /healthz within 60s: connection refused")

    def _verified(self, job: Job) -> Job:
        project, container = job.key.project, self.of(job.key.project, job.key.deployment)
        routed = self.caddy_up and any(name == project for _, name in self.routes.hosts)
        serves = container is not None and container.state in ("running", "restarting")
        if routed and serves and container is not None and self.upstreams.get(project) in container.host_ports:
            return replace(job, state="succeeded")
        return _failed(job, Reason.ROUTE_NOT_VERIFIED, f"{project} did not answer through Caddy", retryable=True)

    # ---- carrying out ------------------------------------------------------------------

    def apply(
        self,
        plan: Plan,
        *,
        watch: Callable[[ops.Operation], None] | None = None,
        crash_after: int | None = None,
    ) -> None:
        """Every project's part; `watch` sees each operation before it is done. Raises `Crash` after `crash_after`."""
        for each in plan.projects:
            before = len(self.done)
            self.apply_project(each, watch=watch, crash_after=crash_after)
            crash_after = None if crash_after is None else crash_after - (len(self.done) - before)

    def apply_project(
        self,
        plan: ProjectPlan,
        *,
        watch: Callable[[ops.Operation], None] | None = None,
        crash_after: int | None = None,
    ) -> None:
        for at, operation in enumerate(plan.operations):
            if crash_after is not None and at >= crash_after:
                raise Crash
            if watch is not None:
                watch(operation)
            try:
                self._refuse(operation)
                _HANDLERS[type(operation)](self, operation)
            except errors.GitsteadError as error:
                self._remember(plan.project, operation, error)
                return
            self.done.append(operation)
        if plan.operations and not plan.partial:
            self.failures.pop(plan.project, None)

    def _refuse(self, operation: ops.Operation) -> None:
        error = self.refusals.get(operation.name) or self.refusals.get(operation.resource)
        if error is not None:
            raise error

    def _remember(self, project: str, operation: ops.Operation, error: errors.GitsteadError) -> None:
        known = self.failures.get(project)
        self.failures[project] = Failure(
            project,
            operation.resource,
            error.reason,
            str(error),
            isinstance(error, errors.Retryable),
            known.attempts + 1 if known else 1,
            self.now,
        )

    # ---- rows of history ---------------------------------------------------------------

    def row(self, project: str) -> Row:
        return self.rows.setdefault(project, Row())

    def _enter(self, project: str, number: int, state: State, **changes: object) -> Deployment:
        deployment = self.deployments[project, number]
        assert state in TRANSITIONS[deployment.state], f"d{number} of {project}: {deployment.state} → {state}"
        changed = replace(deployment, state=state, changed_at=self.now, **changes)  # type: ignore[arg-type]
        self.deployments[project, number] = changed
        return changed

    def _end(self, project: str, number: int, state: State, **changes: object) -> None:
        self._enter(project, number, state, ended_at=self.now, deadline_at=0.0, **changes)
        row = self.row(project)
        assert row.open == number, f"d{number} of {project} is not the open one"
        row.open, row.last_ended = 0, max(number, row.last_ended)

    def _retire(self, project: str, drain_until: float) -> None:
        row = self.row(project)
        if row.live:
            self._enter(project, row.live, State.RETIRED, ended_at=self.now, drain_until=drain_until)
            row.previous_live, row.live = row.live, 0

    def _open_deployment(self, op: ops.OpenDeployment) -> None:
        row = self.row(op.project)
        assert op.deployment > row.last_number, f"number d{op.deployment} was used before"
        assert not row.open, f"d{row.open} of {op.project} is open already"
        row.last_number = row.open = op.deployment
        self.deployments[op.project, op.deployment] = Deployment(
            project=op.project,
            number=op.deployment,
            state=State.QUEUED,
            cause=op.cause.kind,
            cause_text=op.cause.text,
            commit=op.commit,
            source_key=op.source_key,
            config_digest=op.config_digest,
            spec_blob=op.spec_blob,
            platform_revision=op.platform_revision,
            created_at=self.now,
            changed_at=self.now,
            deadline_at=self.now + op.deadline_s,
            content_key=op.content_key,
            previous=op.previous,
            attempt=op.attempt,
            config=op.config,
            run=op.run,
            drift_fields=op.drift_fields,
        )

    def _assign_release(self, op: ops.AssignRelease) -> None:
        releases = self.row(op.project).releases
        by_number = {each.number: (each.image_id, each.config_digest) for each in releases}
        pair = (op.image_id, op.config_digest)
        assert by_number.get(op.release, pair) == pair, f"r{op.release} of {op.project} is another pair"
        assert pair not in by_number.values() or by_number.get(op.release) == pair, "one pair, two numbers"
        if op.release not in by_number:
            releases.append(Release(op.release, op.image_id, op.config_digest, op.content_key))
        self._enter(
            op.project,
            op.deployment,
            State.STARTING,
            release=op.release,
            image_id=op.image_id,
            deadline_at=self.now + op.deadline_s,
        )

    def _advance(self, op: ops.AdvanceDeployment) -> None:
        self._enter(op.project, op.deployment, op.state, deadline_at=self.now + op.deadline_s)

    def _mark_live(self, op: ops.MarkLive) -> None:
        row = self.row(op.project)
        assert op.previous == row.live, f"d{op.previous} is not what served"
        self._retire(op.project, self.now + op.drain_s)
        self._enter(op.project, op.deployment, State.LIVE, live_at=self.now, deadline_at=0.0)
        row.live, row.open, row.adopted = op.deployment, 0, False
        row.last_ended = row.last_ended if row.last_ended > op.deployment else 0
        self._forget_jobs(op)

    def _end_deployment(self, op: ops.EndDeployment) -> None:
        self._end(
            op.project,
            op.deployment,
            op.state,
            reason=str(op.reason),
            message=op.message,
            hint=op.hint,
            retryable=op.retryable,
        )
        self._forget_jobs(op)

    def _retire_project(self, op: ops.RetireProject) -> None:
        self._retire(op.project, 0.0)
        row = self.row(op.project)
        row.previous_live = row.last_ended = 0
        row.adopted = False

    def _adopt(self, op: ops.AdoptDeployment) -> None:
        who, row = op.identity, self.row(op.project)
        assert not row.live, "adopted beside a live one"
        assert not row.open, "adopted beside an open one"
        self.deployments[op.project, who.deployment] = Deployment(
            project=op.project,
            number=who.deployment,
            state=State.LIVE,
            cause="change",
            cause_text=f"adopted {who.container_name}",
            commit=Commit(who.source_commit),
            source_key=who.source_key,
            config_digest=who.config_digest,
            spec_blob=who.spec_blob,
            platform_revision=who.platform_revision,
            created_at=self.now,
            changed_at=self.now,
            release=who.release,
            image_id=who.image_id,
            content_key=who.content_key,
            live_at=self.now,
        )
        row.live, row.adopted = who.deployment, True
        self.inventory.add(op.container_id)
        row.last_number = max(row.last_number, who.deployment)
        row.releases.append(Release(who.release, who.image_id, who.config_digest, who.content_key))

    def _forget_jobs(self, op: ops.Operation) -> None:
        for key in list(self.jobs):
            if (key.project, key.deployment) == (op.project, op.deployment) and self.jobs[key].state != "running":
                del self.jobs[key]

    # ---- Docker ------------------------------------------------------------------------

    def _need_engine(self) -> None:
        if not self.engine_up:
            raise errors.EngineUnavailable("Docker does not answer")

    def _start_job(self, op: ops.StartBuild | ops.StartProbe | ops.StartVerify, kind: str, subject: str) -> None:
        key = JobKey(op.project, op.deployment, kind)  # type: ignore[arg-type]
        self.jobs[key] = Job(key, "running", subject, self.now, self.now + op.timeout_s)

    def _start_build(self, op: ops.StartBuild) -> None:
        self._start_job(op, "build", op.content_key)

    def _start_probe(self, op: ops.StartProbe) -> None:
        self._start_job(op, "probe", op.subject)

    def _start_verify(self, op: ops.StartVerify) -> None:
        self._start_job(op, "verify", op.subject)

    def _cancel_job(self, op: ops.CancelJob) -> None:
        self.jobs.pop(JobKey(op.project, op.deployment, op.kind), None)

    def _create_network(self, op: ops.CreateNetwork) -> None:
        self._need_engine()
        there = self.networks.get(op.network)
        if there is not None and there.instance != self.host.instance:
            raise errors.NotOurs(f"network {op.network} is not ours")
        self.networks.setdefault(op.network, Network(self.new_id("n"), op.network, self.host.instance, op.project))

    def _create_container(self, op: ops.CreateContainer) -> None:
        self._need_engine()
        name = op.identity.container_name
        if name in self.containers:
            raise errors.NotOurs(f"the name {name} is in use")
        if op.image not in self.images:
            raise errors.EngineConflict(f"no such image: {op.image}")
        if op.network not in self.networks:
            raise errors.EngineConflict(f"no such network: {op.network}")
        settings = ContainerSettings(op.run.memory_bytes, op.run.cpus, op.run.pids, op.restart_policy, (op.network,))
        created = Container(
            self.new_id("c"), name, op.image, "created", self.now, op.identity, (op.identity.port,), settings
        )
        self.containers[name] = created
        self.inventory.add(created.id)

    def _find(self, key: str) -> Container | None:
        return next((each for each in self.containers.values() if key in (each.id, each.name)), None)

    def _existing(self, op: ops.StartContainer | ops.StopContainer | ops.SetRestartPolicy) -> Container:
        self._need_engine()
        container = self._find(op.container_id or op.container)
        if container is None:
            raise errors.EngineConflict(f"no such container: {op.container}")
        return container

    def _start_container(self, op: ops.StartContainer) -> None:
        container = self._existing(op)
        if container.state in ("dead", "removing", "paused"):
            raise errors.EngineRefused(f"{container.name} is {container.state} and cannot be started")
        if container.state != "running":
            taken = set(container.host_ports) & (self.foreign_ports | self._ports_in_use())
            if taken:
                raise errors.PortTaken(min(taken))
            assert container.identity is not None
            fault = self.faults.get(container.identity.source_commit, "")
            if fault == "start":
                raise errors.EngineRefused('exec: "gunicorn": not found')
            crashes = fault == "crash"
            self.edit(container.name, state="exited" if crashes else "running", exit_code=1 if crashes else 0)
        if op.cause.kind == "drift":
            self.row(op.project).repairs.append(self.now)

    def _stop_container(self, op: ops.StopContainer) -> None:
        container = self._existing(op)
        key = JobKey(op.project, op.deployment, "stop")
        self.jobs[key] = Job(key, "running", container.name, self.now, self.now + op.grace_s)

    def _remove_container(self, op: ops.RemoveContainer) -> None:
        self._need_engine()
        container = self._find(op.container_id)
        if container is not None:
            del self.containers[container.name]
            self.inventory.discard(container.id)

    def _set_restart_policy(self, op: ops.SetRestartPolicy) -> None:
        container = self._existing(op)
        if container.state == "dead":
            raise errors.EngineRefused(f"{container.name} is marked for removal and cannot be updated")
        self.edit(container.name, restart_policy=op.policy)

    def _remove_network(self, op: ops.RemoveNetwork) -> None:
        self._need_engine()
        if any(op.network in each.settings.networks for each in self.containers.values()):
            raise errors.EngineConflict(f"network {op.network} has endpoints")
        self.networks.pop(op.network, None)

    def _remove_image(self, op: ops.RemoveImage) -> None:
        self._need_engine()
        for image in list(self.images.values()):
            if op.image in (*image.names, image.id):
                if any(each.image_id == image.id for each in self.containers.values()):
                    raise errors.EngineConflict(f"image {op.image} is in use")
                names = tuple(name for name in image.names if name != op.image)
                self.images[image.id] = replace(image, names=names)
                if not names:
                    del self.images[image.id]

    def _prune_build_cache(self, op: ops.PruneBuildCache) -> None:
        key = JobKey(op.project, 0, "prune")
        self.jobs[key] = Job(key, "running", "build cache", self.now, self.now + 600)

    # ---- traffic -----------------------------------------------------------------------

    def _write_upstream(self, op: ops.WriteUpstream) -> None:
        self.upstreams[op.project] = op.port

    def _remove_upstream(self, op: ops.RemoveUpstream) -> None:
        self.upstreams.pop(op.project, None)

    def _put_routes(self, op: ops.PutRoutes) -> None:
        if not self.caddy_up:
            raise errors.CaddyUnavailable("Caddy does not answer")
        self.routes = Routes(document_digest(op.document), op.hosts)
        self.routes_digest = op.document_digest


def _failed(job: Job, reason: Reason, message: str, *, retryable: bool = False) -> Job:
    return replace(job, state="failed", reason=reason, message=message, hint="Push a fix", retryable=retryable)


_HANDLERS: Mapping[type[ops.Operation], Callable[..., None]] = {
    ops.OpenDeployment: World._open_deployment,
    ops.AssignRelease: World._assign_release,
    ops.AdvanceDeployment: World._advance,
    ops.MarkLive: World._mark_live,
    ops.EndDeployment: World._end_deployment,
    ops.RetireProject: World._retire_project,
    ops.AdoptDeployment: World._adopt,
    ops.StartBuild: World._start_build,
    ops.StartProbe: World._start_probe,
    ops.StartVerify: World._start_verify,
    ops.CancelJob: World._cancel_job,
    ops.CreateNetwork: World._create_network,
    ops.CreateContainer: World._create_container,
    ops.StartContainer: World._start_container,
    ops.StopContainer: World._stop_container,
    ops.RemoveContainer: World._remove_container,
    ops.SetRestartPolicy: World._set_restart_policy,
    ops.RemoveNetwork: World._remove_network,
    ops.RemoveImage: World._remove_image,
    ops.WriteUpstream: World._write_upstream,
    ops.RemoveUpstream: World._remove_upstream,
    ops.PutRoutes: World._put_routes,
    ops.PruneBuildCache: World._prune_build_cache,
}
assert set(_HANDLERS) == set(ops.OPERATIONS), "an operation that the simulated server does not know"

Planner = Callable[[World], Plan]


class NotConverged(AssertionError):
    """The world did not come to rest."""


def settle(
    world: World,
    *,
    planner_: Planner = World.plan,
    watch: Callable[[ops.Operation], None] | None = None,
    passes: int = 150,
    until: float | None = None,
) -> Plan:
    """Pass after pass; jobs end and time moves on when nothing else is to do. Returns the last, empty plan.

    Time goes no further than `until` (default: as far as plans ask to be woken).
    """
    for _ in range(passes):
        plan = planner_(world)
        if not plan.is_empty:
            world.apply(plan, watch=watch)
        elif world.running_jobs():
            world.now += 0.5
            world.finish_jobs()
        elif plan.wake_at and (until is None or plan.wake_at <= until):
            world.now = max(plan.wake_at, world.now)
        else:
            return plan
    raise NotConverged(f"still not at rest after {passes} passes: {_texts(planner_(world))}")


def _texts(plan: Plan) -> list[str]:
    return [
        f"{each.verb} {each.sentence} ({each.cause.text})" for project in plan.projects for each in project.operations
    ]


def names(operations: Iterable[ops.Operation]) -> list[str]:
    return [each.name for each in operations]
