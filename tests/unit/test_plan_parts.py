"""The small parts of the planner, each on its own: backoff, ports, endings, ownership, trouble, status."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler import errors
from reconciler.model.condition import Health, Reason
from reconciler.model.desired import Desired
from reconciler.model.host import Host
from reconciler.model.naming import Identity
from reconciler.model.observed import Engine, Network, Observed
from reconciler.model.plan import ProjectPlan
from reconciler.model.release import Failure, History, ProjectHistory, State
from reconciler.plan import planner, trouble
from reconciler.plan.backoff import LONGEST_S, delay_s, repair_at
from reconciler.plan.ports import Ports
from reconciler.plan.prune import is_mass_removal
from reconciler.plan.status import status_of
from reconciler.plan.view import View, identity
from reconciler.plan.view import World as Looked
from tests.world import HOST, MB, World, desired_project, names, settle

BLOG = "gs-k3v9qa-blog-d1-web-1"


def lived() -> World:
    """A server on which blog is live and nothing is to do."""
    world = World()
    world.want(desired_project("blog"))
    settle(world, until=world.now + 60)
    world.done.clear()
    return world


def view_of(world: World, project: str = "blog") -> View:
    observed, history = world.observe(), world.history()
    assert observed.engine is not None
    looked = Looked(world.desired, observed, history, world.host, Ports(world.host, observed))
    own = tuple(each for each in observed.engine.containers if each.identity is not None)
    return View(looked, project, world.desired.find(project), history.of(project), observed.engine, own)


def failure(
    reason: str = "EngineConflict", *, resource: str = "blog", retryable: bool = True, attempts: int = 1
) -> Failure:
    return Failure("blog", resource, reason, "it said no", retryable, attempts, 1000.0)


def next_names(world: World) -> list[str]:
    return [operation.name for project in world.plan().projects for operation in project.operations]


# ---- backoff -------------------------------------------------------------------------------


def test_delays_double_up_to_a_quarter_of_an_hour_and_differ_a_little() -> None:
    assert [round(delay_s(attempt, "blog")) for attempt in (1, 2, 3)] == [1, 2, 4]
    assert 0.9 * LONGEST_S <= delay_s(11, "blog") <= 1.1 * LONGEST_S
    assert 0.9 * LONGEST_S <= delay_s(10_000, "blog") <= 1.1 * LONGEST_S
    assert delay_s(3, "blog") == delay_s(3, "blog") != delay_s(3, "docs")


def test_the_first_repair_is_at_once_and_old_ones_are_forgotten() -> None:
    assert repair_at((), 500.0, "blog") == 500.0
    assert repair_at((10.0,), 10.0 + LONGEST_S, "blog") == 10.0 + LONGEST_S
    assert repair_at((400.0, 499.0), 500.0, "blog") == pytest.approx(501.0, abs=0.3)


# ---- ports ---------------------------------------------------------------------------------


def test_a_port_is_leased_once_and_never_one_that_somebody_names_listens_on_or_is_given() -> None:
    observed = Observed(
        0.0, Engine(), upstreams={"docs": 20000}, listening=frozenset({20001}), reserved=frozenset({20002})
    )
    ports = Ports(replace(HOST, ports=(20000, 20004)), observed)
    assert [ports.lease(), ports.lease(), ports.lease()] == [20003, 20004, None]


@pytest.mark.parametrize("named", [None, 0, 22, 20001])
def test_the_named_port_is_not_taken_again_if_it_is_no_port_of_ours_to_give(named: int | None) -> None:
    observed = Observed(0.0, Engine(), upstreams={} if named is None else {"blog": named}, listening=frozenset({20001}))
    assert Ports(HOST, observed).lease_again(named) == 20000


def test_a_port_that_two_upstream_files_name_is_given_to_neither() -> None:
    observed = Observed(0.0, Engine(), upstreams={"blog": 20000, "docs": 20000})
    assert Ports(HOST, observed).lease_again(20000) == 20001


def test_labels_hold_a_lease_even_where_the_engine_shows_no_port() -> None:
    world = lived()
    world.edit(BLOG, host_ports=())
    world.upstreams.clear()
    assert Ports(HOST, world.observe()).lease() == 20001


# ---- endings -------------------------------------------------------------------------------


def deploying(state: str, commit: str = "bbb2222") -> World:
    """blog is live on d1, and d2 is in `state`."""
    world = lived()
    world.want(desired_project("blog", commit))
    for _ in range(20):
        if world.row("blog").open and world.deployments["blog", world.row("blog").open].state == state:
            return world
        found = world.plan()
        world.finish_jobs() if found.is_empty else world.apply(found)
    raise AssertionError(f"never {state}")


def ended(world: World) -> tuple[str, bool]:
    """Why d2 ended, and whether it is tried again by itself."""
    world.apply(world.plan())
    row = world.deployments["blog", 2]
    assert row.state is State.FAILED
    return row.message, row.retryable


def test_a_container_removed_while_it_is_checked_is_tried_again() -> None:
    world = deploying("checking")
    del world.containers["gs-k3v9qa-blog-d2-web-1"]
    assert ended(world) == ("its container was removed from outside while it was being checked", True)


def test_a_container_paused_while_it_is_switched_is_tried_again_and_visitors_go_back_first() -> None:
    world = deploying("switching")
    world.edit("gs-k3v9qa-blog-d2-web-1", state="paused")
    assert ended(world) == ("its container was paused from outside", True)
    assert names(world.done)[-3:] == ["CancelJob", "WriteUpstream", "EndDeployment"]


def test_an_app_that_outgrew_its_memory_is_told_so_and_not_tried_again() -> None:
    world = deploying("checking")
    world.edit("gs-k3v9qa-blog-d2-web-1", state="exited", exit_code=137, oom_killed=True)
    assert ended(world) == ("the app was ended for using more than its memory (256m)", False)


def test_what_docker_said_stands_beside_the_exit_code() -> None:
    world = deploying("checking")
    world.edit("gs-k3v9qa-blog-d2-web-1", state="exited", exit_code=127, error="exec: gunicorn")
    assert ended(world) == ("the app ended by itself with exit code 127 (command not found): exec: gunicorn", False)


def test_visitors_stay_where_they_are_if_the_old_container_does_not_run_either() -> None:
    world = deploying("switching")
    world.kill(BLOG)
    world.edit("gs-k3v9qa-blog-d2-web-1", state="paused")
    world.rows["blog"].repairs = [world.now] * 5
    ended(world)
    assert "WriteUpstream" not in names(world.done)[-2:]


def test_the_old_container_is_revived_before_a_switch_that_took_too_long_ends() -> None:
    """Invariant 2: else the end would leave the visitors where they are for one more pass."""
    world = deploying("switching")
    world.kill(BLOG)
    world.now += 200
    assert next_names(world) == ["StartContainer"]
    world.apply(world.plan())
    assert next_names(world) == ["CancelJob", "WriteUpstream", "EndDeployment"]


def test_a_job_that_fails_for_a_reason_of_its_own_ends_the_deployment_all_the_same() -> None:
    world = deploying("building")
    (key,) = world.running_jobs()
    world.jobs[key] = replace(world.jobs[key], state="failed", reason="Gremlins", message="odd", retryable=True)
    world.apply(world.plan())
    assert world.deployments["blog", 2].reason == Reason.OPERATION_FAILED


# ---- starting ------------------------------------------------------------------------------


def starting(world: World) -> World:
    """d2 has its container, made and not started."""
    world.want(desired_project("blog", memory_m=512))
    world.refusals = {"StartContainer": errors.EngineConflict("busy")}
    world.apply(world.plan())
    world.refusals = {}
    world.now += 5
    assert world.deployments["blog", 2].state is State.STARTING
    return world


NEW = "gs-k3v9qa-blog-d2-web-1"


def test_a_container_that_was_made_is_started_and_checked() -> None:
    assert next_names(starting(lived())) == ["StartContainer", "AdvanceDeployment", "StartProbe"]


def test_a_container_that_runs_already_is_checked() -> None:
    world = starting(lived())
    world.edit(NEW, state="running")
    assert next_names(world) == ["AdvanceDeployment", "StartProbe"]


def test_a_container_that_is_being_removed_is_waited_for() -> None:
    world = starting(lived())
    world.edit(NEW, state="removing")
    assert next_names(world) == []


def test_a_dead_container_makes_way_for_another() -> None:
    world = starting(lived())
    world.edit(NEW, state="dead")
    assert next_names(world)[:3] == ["RemoveContainer", "CreateContainer", "StartContainer"]


def test_an_image_that_goes_before_the_container_is_made_leads_to_another_try() -> None:
    world = starting(lived())
    del world.containers[NEW]
    world.images.clear()
    assert ended(world) == ("the image of r2 was removed while it was being started", True)


def test_a_name_that_is_somebody_elses_by_now_leads_to_the_next_number() -> None:
    world = starting(lived())
    del world.containers[NEW]
    world.add_foreign(NEW)
    message, retryable = ended(world)
    assert "belongs to somebody else's" in message
    assert retryable
    settle(world, until=world.now + 60)
    assert world.row("blog").live == 3


def test_a_build_whose_job_is_lost_begins_again() -> None:
    world = deploying("building")
    world.jobs.clear()
    assert next_names(world) == ["StartBuild"]


def test_a_build_waits_while_its_source_is_not_known() -> None:
    world = World()
    world.want(desired_project("blog"))
    world.apply(world.plan())
    world.jobs.clear()
    unread = replace(desired_project("blog"), commit=None, dockerfile=None, source_key="", config_digest="")
    world.desired = replace(world.desired, projects=(unread,))
    assert next_names(world) == []


# ---- repair --------------------------------------------------------------------------------


def test_a_dead_container_is_made_again() -> None:
    world = lived()
    world.edit(BLOG, state="dead")
    assert next_names(world) == ["RemoveContainer", "CreateContainer", "StartContainer", "WriteUpstream"]


def test_a_name_taken_by_somebody_else_leads_to_a_new_deployment() -> None:
    world = lived()
    del world.containers[BLOG]
    world.add_foreign(BLOG)
    assert next_names(world)[:1] == ["OpenDeployment"]
    settle(world, until=world.now + 20)
    assert world.row("blog").live == 2
    assert BLOG in world.containers


def test_without_a_free_port_nothing_is_removed_and_the_page_says_why() -> None:
    world = lived()
    world.kill(BLOG)
    world.foreign_ports.add(20000)
    world.host = replace(HOST, ports=(20000, 20000))
    found = world.plan().of("blog")
    assert found is not None
    assert found.verdict is not None
    assert found.operations == ()
    assert found.verdict.health is Health.MISSING
    assert found.verdict.conditions[0].message.endswith("no host port from 20000 to 20000 is free")


def test_settings_that_nobody_knows_any_more_cannot_be_put_back() -> None:
    world = lived()
    world.lose_store()
    world.apply(world.plan())
    del world.containers[BLOG]
    world.desired = replace(world.desired, projects=())
    found = world.plan().of("blog")
    assert found is not None
    assert found.verdict is not None
    assert found.verdict.conditions[0].message.endswith("its run settings are not known any more")


def test_a_kept_container_stays_while_the_spec_cannot_be_read() -> None:
    """Invariant 3: without a last good spec the project is left exactly as it is."""
    world = lived()
    world.want(desired_project("blog", memory_m=512))
    settle(world, until=world.now + 60)
    world.desired = replace(world.desired, projects=())
    world.now += 10**6
    assert next_names(world) == []


def test_sizes_are_compared_to_the_byte() -> None:
    world = lived()
    world.edit(BLOG, memory_bytes=256 * MB + 1)
    found = world.plan().of("blog")
    assert found is not None
    assert "memory 268435457 bytes → 256m" in found.operations[0].cause.text


# ---- trouble -------------------------------------------------------------------------------


def test_a_taken_port_and_a_lost_compare_and_swap_are_tried_again_at_once_a_few_times() -> None:
    assert trouble.due_at(failure("PortTaken")) == trouble.due_at(failure("CaddyConflict", attempts=5)) == 0.0
    assert trouble.due_at(failure("PortTaken", attempts=6)) > 1000.0
    assert trouble.due_at(None) == trouble.quiet_until(None) == 0.0


def test_after_a_failure_all_is_quiet_for_a_moment_and_the_resource_for_longer() -> None:
    later = failure(attempts=5)
    assert trouble.quiet_until(later) == 1001.0
    assert trouble.due_at(later) == pytest.approx(1016, abs=2)


def test_a_failure_that_comes_back_while_it_is_being_ended_waits_for_its_backoff() -> None:
    world = deploying("building")
    refused = failure("StepRefused", retryable=False, attempts=4)
    world.failures["blog"] = replace(refused, at=world.now)
    assert next_names(world) == []
    world.now += 20
    assert next_names(world)[-1:] == ["EndDeployment"]


def test_a_failure_of_something_else_does_not_end_what_is_under_way() -> None:
    world = deploying("building")
    world.failures["blog"] = replace(failure(resource="gs-k3v9qa-blog-d9-web-1", retryable=False), at=world.now)
    assert "EndDeployment" not in next_names(world)


def test_a_failure_older_than_the_state_of_what_is_under_way_does_not_end_it() -> None:
    world = deploying("building")
    world.failures["blog"] = replace(failure(retryable=False), at=world.now - 100)
    assert "EndDeployment" not in next_names(world)


def test_routes_that_caddy_refused_wait_for_their_backoff() -> None:
    world = lived()
    world.caddy_up = True
    world.routes = replace(world.routes, digest="edited")
    world.refusals = {"PutRoutes": errors.CaddyRefused("unknown module")}
    world.apply(world.plan())
    found = world.plan()
    platform = found.of("")
    assert platform is not None
    assert platform.operations == ()
    assert platform.wake_at == platform.retry_at > world.now
    assert found.wake_at == platform.wake_at


def test_a_route_that_does_not_come_back_says_what_caddy_said() -> None:
    world = lived()
    world.routes = replace(world.routes, digest="", hosts=())
    world.refusals = {"PutRoutes": errors.CaddyRefused("unknown module")}
    world.apply(world.plan())
    found = world.plan().of("blog")
    assert found is not None
    assert found.verdict is not None
    assert "the last try failed: unknown module" in found.verdict.conditions[0].message


# ---- whole plans ---------------------------------------------------------------------------


def test_what_could_not_be_read_is_said() -> None:
    world = lived()
    world.desired = replace(world.desired, problem="the platform repository did not answer within 10s")
    assert world.plan().unknown == ("the platform repository did not answer within 10s",)


def test_a_project_that_is_gone_is_not_told_of_while_docker_is_silent() -> None:
    history = History(projects={"old": ProjectHistory("old", last_number=3)})
    found = planner.plan(Desired("main@1", World().desired.platform), Observed(1.0), history, HOST)
    assert found.of("old") is None


@pytest.mark.parametrize(
    ("left", "all_of_them", "mass"),
    [(1, 1, False), (1, 9, False), (2, 2, True), (2, 5, True), (2, 6, False), (3, 9, False), (4, 9, True)],
)
def test_a_mass_removal_is_all_or_more_than_a_third_and_at_least_two(left: int, all_of_them: int, mass: bool) -> None:
    own = frozenset(f"p{number}" for number in range(all_of_them))
    assert is_mass_removal(frozenset(sorted(own)[:left]), own) is mass


def test_a_removal_that_waits_keeps_what_runs_and_ends_what_was_begun() -> None:
    world = lived()
    world.lose_store()
    world.apply(world.plan())
    world.want(desired_project("blog", "bbb2222"))
    world.apply(world.plan())
    world.want()
    world.kill(BLOG)
    found = world.plan().of("blog")
    assert found is not None
    assert found.waiting is not None
    assert [each.name for each in found.operations] == ["StartContainer", "CancelJob", "EndDeployment"]
    assert "RemoveContainer" in [each.name for each in found.held]


# ---- views and status ----------------------------------------------------------------------


def test_questions_about_nothing_are_refused() -> None:
    world = lived()
    view = replace(view_of(world), desired=None)
    with pytest.raises(ValueError, match="nothing is desired of project 'blog'"):
        _ = view.spec
    assert (view.content_key, view.can_reuse) == ("", False)
    world.add_foreign("my-app")
    with pytest.raises(ValueError, match="container my-app has no labels of ours"):
        identity(world.containers["my-app"])


def test_an_image_is_not_reused_while_its_base_cannot_be_told() -> None:
    world = lived()
    known = view_of(world)
    assert known.can_reuse
    wanted = known.desired
    assert wanted is not None
    assert wanted.dockerfile is not None
    unsure = replace(known, desired=replace(wanted, dockerfile=replace(wanted.dockerfile, bases=None)))
    assert not unsure.can_reuse
    assert unsure.content_key != known.content_key


def test_numbers_go_on_above_labels_names_and_history() -> None:
    world = lived()
    world.add_foreign("gs-k3v9qa-blog-d7-web-1")
    assert view_of(world).next_number == 8
    worn = world.containers[BLOG].identity
    assert isinstance(worn, Identity)
    world.add_foreign("copy", identity=replace(worn, deployment=9))
    assert view_of(world).next_number == 10


def test_a_status_needs_a_verdict() -> None:
    world = lived()
    with pytest.raises(ValueError, match="no verdict on project 'blog'"):
        status_of(
            ProjectPlan("blog"),
            desired=world.desired,
            observed=world.observe(),
            history=world.history(),
            host=world.host,
        )


def test_a_status_row_does_not_change_while_nothing_changes() -> None:
    """Invariant 11: also while something is waited for."""
    world = deploying("checking", commit="bad3333")
    world.faults = {"bad3333": "check"}

    def row() -> object:
        found = world.plan().of("blog")
        assert found is not None
        return status_of(
            found,
            desired=world.desired,
            observed=world.observe(),
            history=world.history(),
            host=Host("k3v9qa", "/u", "t"),
        )

    checking = row()
    world.now += 7
    assert row() == checking
    world.finish_jobs()
    for _ in range(3):
        world.apply(world.plan())
    failed = row()
    world.now += 300
    assert row() == failed


def test_a_status_tells_of_our_container_and_not_of_one_that_wears_its_labels() -> None:
    world = lived()
    mine = world.containers.pop(BLOG)
    world.add_foreign("copy", identity=mine.identity)
    world.containers[BLOG] = mine
    found = world.plan().of("blog")
    assert found is not None
    row = status_of(found, desired=world.desired, observed=world.observe(), history=world.history(), host=world.host)
    assert row.observed["container"] == f"{BLOG} running"


def test_a_network_that_wears_our_labels_under_another_name_is_nobodys_project() -> None:
    world = lived()
    world.networks["theirs"] = Network("n9", "theirs", world.host.instance, "docs")
    assert world.plan().of("docs") is None
