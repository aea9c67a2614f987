"""Random worlds and random interference: the planner breaks no invariant on the way and comes to rest.

`Safety` judges every operation before it is done; when it gets quiet, pass after pass must end in an
empty plan with each project served by exactly what Git asks for (acceptance 6; invariants 2 to 5, 7, 8, 11).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from reconciler import errors
from reconciler.model.naming import Identity
from reconciler.model.observed import Image, Routes
from reconciler.model.operation import OPERATIONS
from reconciler.model.plan import Plan
from reconciler.plan import gates
from reconciler.plan.planner import plan
from reconciler.plan.status import status_of
from tests.property.safety import Broken, Safety, approve, at_rest
from tests.world import INSTANCE, MB, Crash, World, desired_project, settle

NAMES = ("blog", "docs", "shop")
COMMITS = ("aaa1111", "bbb2222", "ccc3333", "bad0build", "bad1start", "bad2crash", "bad3check")
FAULTS = {"bad0build": "build", "bad1start": "start", "bad2crash": "crash", "bad3check": "check"}
REFUSALS = {each.__name__: errors.StoreBusy("database is locked") for each in OPERATIONS} | {
    "StartContainer": errors.PortTaken(20000),
    "CreateContainer": errors.EngineUnavailable("Docker does not answer"),
    "RemoveContainer": errors.EngineConflict("device or resource busy"),
    "PutRoutes": errors.CaddyRefused("unknown module"),
}
names, numbers = st.sampled_from(NAMES), st.integers(0, 11)


class Server(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.faults = FAULTS
        self.safety = Safety(self.world)
        self.specs = dict.fromkeys(NAMES, (COMMITS[0], 256))
        self.invalid: set[str] = set()
        self.complete = True

    @initialize(started=st.booleans())
    def begin(self, *, started: bool) -> None:
        self.revision()
        if started:
            settle(self.world, watch=self.watch, until=self.world.now + 100)

    def revision(self) -> None:
        """The platform repository at a new commit."""
        projects = tuple(
            desired_project(name, commit, memory_m=memory)
            for name, (commit, memory) in self.specs.items()
            if name not in self.invalid
        )
        self.world.want(*projects, complete=self.complete)
        desired = self.world.desired
        self.world.desired = replace(desired, names=desired.names | (self.invalid & self.specs.keys()))
        self.safety.desired_changed()

    def watch(self, operation: object) -> None:
        self.safety.probes_ended()
        self.safety.watch(operation)  # type: ignore[arg-type]

    # ---- the reconciler ----------------------------------------------------------------

    @rule()
    def one_pass(self) -> None:
        found = self.world.plan()
        self.tell(found)
        if found.is_empty:
            self.only_time_at_wake(found)
        self.world.apply(found, watch=self.watch)

    def tell(self, found: Plan) -> None:
        for each in found.projects:
            if each.project:
                status_of(
                    each,
                    desired=self.world.desired,
                    observed=self.world.observe(),
                    history=self.world.history(),
                    host=self.world.host,
                )

    def only_time_at_wake(self, found: Plan) -> None:
        """Nothing that time alone changes is missed: an empty plan stays empty until `wake_at`."""
        now = self.world.now
        times = (now + 300_000,) if not found.wake_at else (found.wake_at - 0.001, (now + found.wake_at) / 2)
        for at in times:
            self.world.now = at
            later = self.world.plan()
            self.world.now = now
            if not later.is_empty:
                raise Broken(f"empty at {now}, woken at {found.wake_at}, and not empty at {at}")

    @rule()
    def two_passes_and_jobs(self) -> None:
        self.one_pass()
        self.world.finish_jobs()
        self.one_pass()

    @rule(after=st.integers(0, 6))
    def killed_in_mid_apply(self, after: int) -> None:
        try:
            self.world.apply(self.world.plan(), watch=self.watch, crash_after=after)
        except Crash:
            self.world.crash()

    @rule(index=numbers)
    def a_job_ends(self, index: int) -> None:
        keys = self.world.running_jobs()
        if keys:
            self.world.finish(keys[index % len(keys)])

    @rule(index=numbers)
    def a_job_is_lost(self, index: int) -> None:
        keys = sorted(self.world.jobs, key=str)
        if keys:
            del self.world.jobs[keys[index % len(keys)]]

    @rule(seconds=st.sampled_from([0.3, 2.0, 31.0, 200.0, 4000.0, 90000.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    # ---- people ------------------------------------------------------------------------

    @rule(name=names, commit=st.sampled_from(COMMITS))
    def push(self, name: str, commit: str) -> None:
        if name in self.specs:
            self.specs[name] = (commit, self.specs[name][1])
            self.revision()

    @rule(name=names, memory=st.sampled_from([256, 512]))
    def edit_spec(self, name: str, memory: int) -> None:
        self.specs[name] = (self.specs.get(name, (COMMITS[0], 256))[0], memory)
        self.invalid.discard(name)
        self.revision()

    @rule(name=names)
    def break_spec(self, name: str) -> None:
        self.invalid.add(name)
        self.revision()

    @rule(name=names)
    def remove_project(self, name: str) -> None:
        self.specs.pop(name, None)
        self.revision()

    @rule()
    def everything_is_back(self) -> None:
        self.specs = {name: self.specs.get(name, (COMMITS[1], 256)) for name in NAMES}
        self.revision()

    @rule(complete=st.booleans())
    def platform_repository(self, *, complete: bool) -> None:
        self.complete = complete
        self.revision()

    @rule(name=names)
    def somebody_approves(self, name: str) -> None:
        approve(self.world, self.safety, name)

    @rule(name=names, kind=st.sampled_from([gates.cancellation, gates.retry]))
    def somebody_cancels_or_retries(self, name: str, kind: Callable[[str, int], str]) -> None:
        """Of whatever came last, under way or not: a wish that came too late changes nothing."""
        self.world.approved.add(kind(name, self.world.row(name).last_number))

    # ---- accidents ---------------------------------------------------------------------

    @rule(
        index=numbers,
        what=st.sampled_from(
            ["kill", "remove", "memory", "pause", "rename", "policy", "dead", "restarting", "network"]
        ),
    )
    def container(self, index: int, what: str) -> None:
        ours = sorted(each.name for each in self.world.containers.values() if each.id in self.world.ours)
        if not ours:
            return
        name = ours[index % len(ours)]
        if what == "kill":
            self.world.kill(name)
        elif what == "remove":
            del self.world.containers[name]
        elif what == "memory":
            self.world.edit(name, memory_bytes=64 * MB)
        elif what == "rename":
            self.world.edit(name, name=f"renamed-{self.world.new_id('')}")
        elif what == "policy":
            self.world.edit(name, restart_policy="always")
        elif what == "network":
            self.world.edit(name, networks=("bridge",))
        else:
            self.world.edit(name, state={"pause": "paused"}.get(what, what))

    @rule(index=numbers)
    def image_is_removed(self, index: int) -> None:
        ours = sorted(image for image in self.world.images if image.startswith("image-"))
        if ours:
            del self.world.images[ours[index % len(ours)]]

    @rule(index=numbers)
    def image_loses_its_name(self, index: int) -> None:
        ours = sorted(image for image in self.world.images if image.startswith("image-"))
        if ours:
            image = self.world.images[ours[index % len(ours)]]
            self.world.images[image.id] = replace(image, names=())

    @rule(budget_mb=st.sampled_from([1, 150, 1000]), cache_gb=st.sampled_from([0, 5]))
    def disk_is_measured(self, budget_mb: int, cache_gb: int) -> None:
        self.world.host = replace(self.world.host, disk_budget_bytes=budget_mb * MB)
        self.world.measure(build_cache_bytes=6 * 2**30, build_cache_limit_bytes=cache_gb * 2**30)

    @rule(problem=st.sampled_from(["", "1.2 GB free at /var/lib/docker, 2.0 GB is the floor"]))
    def disk_fills_or_empties(self, problem: str) -> None:
        self.world.disk_problem = problem

    @rule(name=names, port=st.sampled_from([0, 20000, 20001, 8080, None]))
    def upstream_file(self, name: str, port: int | None) -> None:
        if name in self.world.upstreams:
            del self.world.upstreams[name]
            if port is not None:
                self.world.upstreams[name] = port

    @rule(how=st.sampled_from(["empty", "edited"]))
    def caddy_configuration(self, how: str) -> None:
        self.world.routes = Routes("") if how == "empty" else Routes("edited", self.world.routes.hosts[1:])

    @rule(up=st.booleans())
    def caddy(self, *, up: bool) -> None:
        self.world.caddy_up = up

    @rule(up=st.booleans())
    def engine(self, *, up: bool) -> None:
        self.world.engine_up = up

    @rule(name=st.sampled_from([*REFUSALS, ""]))
    def operations_are_refused(self, name: str) -> None:
        self.world.refusals = {name: REFUSALS[name]} if name else {}

    @rule()
    def reconciler_is_killed(self) -> None:
        self.world.crash()

    @rule()
    def store_is_lost(self) -> None:
        self.world.lose_store()

    # ---- strangers ---------------------------------------------------------------------

    @precondition(lambda self: len(self.world.foreign_ports) < 3)
    @rule(port=st.integers(20000, 20005))
    def foreign_program_listens(self, port: int) -> None:
        if port not in self.world._ports_in_use():
            self.world.foreign_ports.add(port)

    @rule(name=names, ahead=st.integers(0, 1))
    def foreign_container_has_our_name(self, name: str, ahead: int) -> None:
        wanted = f"gs-{INSTANCE}-{name}-d{self.world.row(name).last_number + ahead}-web-1"
        if wanted not in self.world.containers:
            self.world.add_foreign(wanted)

    @rule(index=numbers, instance=st.sampled_from([INSTANCE, "other1"]))
    def foreign_container_wears_labels(self, index: int, instance: str) -> None:
        """Run from an image that somebody made out of one of ours, or of another Gitstead."""
        worn: list[Identity] = [each.identity for each in self.world.containers.values() if each.identity is not None]
        if worn:
            who = replace(worn[index % len(worn)], instance=instance)
            name = f"copy-{self.world.new_id('')}" if instance == INSTANCE else f"gs-other1-{self.world.new_id('x')}"
            self.world.add_foreign(name, identity=who)

    @rule(name=names)
    def foreign_image_is_built_on_ours(self, name: str) -> None:
        """Labels are inherited, also without a name; a name of somebody's own is also put on ours."""
        self.world.images["theirs"] = Image("theirs", ("theirs:latest",), INSTANCE, name, "0123456789abcdef")
        self.world.images["step"] = Image("step", (), INSTANCE, name, "0123456789abcdef")
        for image in list(self.world.images.values()):
            if image.project == name and image.id not in ("theirs", "step") and len(image.names) == 1:
                self.world.images[image.id] = replace(image, names=("aaa/tagged-by-hand:1", *image.names))

    # ---- quiet -------------------------------------------------------------------------

    def teardown(self) -> None:
        world = self.world
        strangers = {each.name: each for each in world.containers.values() if each.id.startswith("foreign")}
        world.caddy_up = world.engine_up = True
        world.refusals, world.disk_problem = {}, ""
        self.invalid, self.complete = set(), True
        for container in list(world.containers.values()):
            renamed = container.name.startswith("renamed-")
            if container.state == "restarting":
                world.edit(container.name, state="running")
            if renamed and container.id not in world.inventory:
                del world.containers[container.name]  # nobody can know that it was ours: a person cleans up
        self.revision()
        settle(world, watch=self.watch)
        world.approved |= {gates.retry(name, row.last_ended) for name, row in world.rows.items()}
        settle(world, watch=self.watch)
        at_rest(world)
        for stranger in strangers.values():
            if world.containers.get(stranger.name) != stranger:
                raise Broken(f"{stranger.name} is somebody else's and was changed (5)")


TestServer = Server.TestCase
TestServer.settings = settings(
    max_examples=300,
    stateful_step_count=30,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def test_the_first_pass_of_a_fresh_world_is_empty_and_stays_so() -> None:
    world = World()
    found = plan(world.desired, world.observe(), world.history(), world.host)
    assert found.is_empty
    at_rest(world)
