"""A store in a folder of the test's own, and the operations that take a deployment through its life."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reconciler.history.store import Store, open_store
from reconciler.model.condition import Reason
from reconciler.model.naming import Identity
from reconciler.model.operation import (
    AdoptDeployment,
    AdvanceDeployment,
    AssignRelease,
    Cause,
    EndDeployment,
    MarkLive,
    OpenDeployment,
    RetireProject,
)
from reconciler.model.release import Commit, State
from reconciler.model.spec import RunSpec

CHANGE = Cause("change", "commit 3f9c1e2 by Ana")
RUN = RunSpec(port=8080, env={"LOG_LEVEL": "info"}, capabilities=("CHOWN",), command=("serve", "--fast"))


def paths(folder: Path) -> dict[str, Path]:
    return {
        "state_db": folder / "state" / "state.db",
        "logs_db": folder / "state" / "logs.db",
        "inbox_db": folder / "inbox" / "inbox.db",
    }


def make_store(folder: Path, **options: Any) -> Store:
    return open_store(**paths(folder), create=True, **options)


def opening(number: int, project: str = "blog", **fields: Any) -> OpenDeployment:
    values: dict[str, Any] = {
        "previous": 0,
        "commit": Commit("3f9c1e2" + "0" * 33, "tree1", "Ana", "Fix cart total", 900.0),
        "source_key": f"source-{number}",
        "content_key": f"content-{number}",
        "config_digest": "config-1",
        "config": {"run.port": "8080"},
        "run": RUN,
        "spec_blob": "blob-1",
        "platform_revision": "main@abc",
        "deadline_s": 600.0,
        "drift_fields": ("run.memory",),
        "branch": "main",
        "build_type": "node (Next.js)",
    }
    return OpenDeployment(project=project, deployment=number, cause=CHANGE, **(values | fields))


def advancing(number: int, state: State, project: str = "blog") -> AdvanceDeployment:
    return AdvanceDeployment(project=project, deployment=number, cause=CHANGE, state=state, deadline_s=60.0)


def releasing(
    number: int, *, release: int, image: str, config: str = "config-1", project: str = "blog"
) -> AssignRelease:
    return AssignRelease(
        project=project,
        deployment=number,
        cause=CHANGE,
        release=release,
        image_id=image,
        content_key=f"content-{number}",
        config_digest=config,
        deadline_s=60.0,
    )


def going_live(number: int, *, previous: int = 0, project: str = "blog") -> MarkLive:
    return MarkLive(project=project, deployment=number, cause=CHANGE, previous=previous, drain_s=30.0)


def ending(number: int, state: State = State.FAILED, project: str = "blog", **fields: Any) -> EndDeployment:
    values: dict[str, Any] = {"reason": Reason.BUILD_FAILED, "message": "step 3 failed", "hint": "Push a fix"}
    return EndDeployment(project=project, deployment=number, cause=CHANGE, state=state, **(values | fields))


def retiring(project: str = "blog") -> RetireProject:
    return RetireProject(project=project, cause=CHANGE)


def adopting(number: int, *, release: int = 4, project: str = "blog") -> AdoptDeployment:
    identity = Identity(
        instance="abc123",
        project=project,
        process="web",
        index=1,
        deployment=number,
        release=release,
        image_id=f"sha256:{release}",
        content_key="content",
        source_key="source",
        config_digest="config-1",
        platform_revision="main@abc",
        spec_blob="blob-1",
        source_commit="77ab012" + "0" * 33,
        port=20001,
    )
    return AdoptDeployment(project=project, deployment=number, cause=CHANGE, identity=identity)


def bring_to(store: Store, number: int, state: State, *, project: str = "blog", at: float = 1000.0) -> None:
    """Open deployment `number` and take it along the straight way until it is in `state`."""
    recorder = store.recorder
    recorder.open_deployment(opening(number, project), at)
    way = [State.QUEUED, State.BUILDING, State.STARTING, State.CHECKING, State.SWITCHING, State.LIVE, State.RETIRED]
    if state not in way:
        recorder.end(ending(number, state, project), at + 1)
        return
    for seconds, step in enumerate(way[1 : way.index(state) + 1], 1):
        now = at + seconds
        if step is State.STARTING:
            recorder.assign_release(releasing(number, release=number, image=f"sha256:{number}", project=project), now)
        elif step is State.LIVE:
            recorder.mark_live(going_live(number, project=project), now)
        elif step is State.RETIRED:
            recorder.retire_project(retiring(project), now)
        else:
            recorder.advance(advancing(number, step, project), now)
