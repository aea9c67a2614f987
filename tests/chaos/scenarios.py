"""What the reconciler is doing when it is killed: each scenario says where it begins, what happens, and what it passes.

Used by `cases` and the tests. `passes` maps an operation, a job or a write to how often the scenario passes it;
the tests hold it against what really was reached, so that it cannot go stale.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.chaos.stage import SICK, Stage
from tests.platform_support import docker, wait_for

ROLLOUT: Mapping[str, int] = {
    "OpenDeployment": 1,
    "open_deployment": 1,
    "AdvanceDeployment": 3,
    "advance": 3,
    "StartBuild": 1,
    "build": 1,
    "AssignRelease": 1,
    "assign_release": 1,
    "CreateContainer": 1,
    "add_inventory": 1,
    "StartContainer": 1,
    "StartProbe": 1,
    "probe": 1,
    "WriteUpstream": 1,
    "StartVerify": 1,
    "verify": 1,
    "MarkLive": 1,
    "mark_live": 1,
    "SetRestartPolicy": 1,
    "job_started": 3,
    "job_ended": 3,
    "clear_failure": 3,
    "save_statuses": 6,
}
ROUTES: Mapping[str, int] = {"PutRoutes": 1, "save_routes_digest": 1}
REMOVAL: Mapping[str, int] = {"RemoveContainer": 1, "remove_inventory": 1}


@dataclass(frozen=True)
class Scenario:
    """`begin` brings the stage to where it starts, before anybody aims; `act` is what leads to the place.

    A scenario that begins or ends as another one does names only what that one does not pass.
    `serves_throughout`: at the kill, the version before or the one after answers.
    """

    name: str
    begin: Callable[[Stage], None]
    act: Callable[[Stage], None]
    passes: Mapping[str, int]
    serves_throughout: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether `passes` names each passing of its operations: those that the others build on."""
        return self.name in ("update", "first")


# ---- begin -----------------------------------------------------------------------------------


def nothing(stage: Stage) -> None:
    stage.empty()


def serving(stage: Stage) -> None:
    """Live, with the release before it kept, so that an update has something to remove."""
    stage.live()
    if not stage.updates:
        stage.serving = stage.push_version()
        stage.be_whole()


def container_lost(stage: Stage) -> None:
    """Removed by hand while the reconciler is down; for the first time, since a repair that comes again waits."""
    stage.live()
    with stage.platform.queries() as queries:
        repairs = queries.history().of(stage.project).repairs
    if repairs:
        stage.empty()
        stage.live()
    stage.platform.kill()
    docker("rm", "--force", stage.platform.live(stage.project))


def store_lost(stage: Stage) -> None:
    """Deleted while the reconciler is down."""
    stage.live()
    stage.lose_store()


# ---- act -------------------------------------------------------------------------------------


def push_spec(stage: Stage) -> None:
    stage.name_project()
    stage.serving = stage.push_version()
    stage.push_spec()


def push_commit(stage: Stage) -> None:
    stage.serving = stage.push_version()


def push_twice(stage: Stage) -> None:
    """A commit whose check never passes, and a good one while it is being checked."""
    stage.push_version(health=SICK)
    wait_for(lambda: "begin:probe" in stage.reached(), "the check of the sick one")
    stage.serving = stage.push_version()


def push_what_cannot_be(stage: Stage) -> None:
    """More processors than this host has, which the engine refuses: what serves goes on serving."""
    stage.refused = True
    stage.push_spec(run={"memory": "64m", "cpus": (os.cpu_count() or 1) + 1})


def remove_spec(stage: Stage) -> None:
    stage.leave()


def start(stage: Stage) -> None:
    stage.start()


SCENARIOS = (
    Scenario(
        "update",
        serving,
        push_commit,
        {**ROLLOUT, **REMOVAL, "StopContainer": 1, "stop": 1, "SetRestartPolicy": 2, "job_started": 4, "job_ended": 4},
        serves_throughout=True,
    ),
    Scenario(
        "first",
        nothing,
        push_spec,
        {**ROLLOUT, **ROUTES, "CreateNetwork": 1, "save_good_spec": 1, "save_good_platform": 1, "clear_failure": 4},
    ),
    Scenario(
        "repair",
        container_lost,
        start,
        {
            "interrupt_open": 1,
            "CreateContainer": 1,
            "StartContainer": 1,
            "add_inventory": 1,
            "record_repair": 1,
            "record_event": 1,
        },
    ),
    Scenario(
        "prune",
        serving,
        remove_spec,
        {
            **ROUTES,
            **REMOVAL,
            "RemoveUpstream": 1,
            "RemoveImage": 1,
            "RemoveNetwork": 1,
            "RetireProject": 1,
            "retire_project": 1,
            "forget_good_spec": 1,
            "forget_status": 1,
        },
    ),
    Scenario("adopt", store_lost, start, {"AdoptDeployment": 1, "adopt": 1}, serves_throughout=True),
    Scenario("supersede", serving, push_twice, {"CancelJob": 1, "EndDeployment": 1, "end": 1}, serves_throughout=True),
    Scenario("refuse", serving, push_what_cannot_be, {"fail": 1, "record_failure": 1}, serves_throughout=True),
)
