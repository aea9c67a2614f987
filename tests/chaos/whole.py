"""What must hold after a kill and a start (invariant 4), asked of Docker, Caddy, the disk and the store's file.

Used by `stage`. Nothing here goes through the reconciler: containers by the docker client, answers through
Caddy, rows by SQL, processes by /proc.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pygit2

from reconciler.adapters.git_mirror import kept
from reconciler.adapters.process_marks import marked_pids
from reconciler.adapters.processes import MARK
from reconciler.model.naming import LABEL_INSTANCE, LABEL_PROJECT
from reconciler.model.release import OPEN, State
from tests.platform_support import Platform, docker

if TYPE_CHECKING:
    from tests.chaos.stage import Stage

LOOKS = 2


def problems(stage: Stage) -> list[str]:
    """Everything that is not as it should be once `stage.project` serves `stage.serving` and all is quiet."""
    for ask in (_answers, _store, _disk, _engine, _processes):
        found = list(ask(stage))
        if found:
            return found
    return []


def is_adopted(stage: Stage) -> bool:
    """Whether what serves was found by its labels: then other containers of ours stay, stopped (invariant 10)."""
    path = stage.platform.state / "state" / "state.db"
    if not path.exists():
        return False
    with _reading(path) as store:
        return (
            store.execute("SELECT 1 FROM projects WHERE adopted AND name = ?", (stage.project,)).fetchone() is not None
        )


def _answers(stage: Stage) -> Iterator[str]:
    if stage.project:
        status, body = stage.answer()
        if (status, body.strip()) != (200, stage.serving):
            yield f"{stage.project} answers {status} {body[:60]!r}, not {stage.serving}"
    removed = [f"p{number}" for number in range(1, stage.named + 1) if f"p{number}" != stage.project]
    for name in removed[-1:]:
        status, _ = stage.platform.get(f"{name}.localhost")
        if status not in (404, 0):
            yield f"{name}, which was removed, answers {status}"


def _store(stage: Stage) -> Iterator[str]:
    path = stage.platform.state / "state" / "state.db"
    if not path.exists():
        yield "there is no store"
        return
    own = {stage.project} - {""}
    with _reading(path) as store:
        yield from _open_rows(store)
        lives = {row[0] for row in store.execute("SELECT name FROM projects WHERE live > 0")}
        if lives != own:
            yield f"live in the store: {lives}"
        told = {row[0] for row in store.execute("SELECT project FROM statuses")}
        if told != own:
            yield f"people are told of {told}"
        last = store.execute(
            "SELECT number, state FROM deployments WHERE project = ? ORDER BY number DESC LIMIT 1", (stage.project,)
        ).fetchone()
        if stage.refused and last[1] != State.FAILED:
            yield f"the deployment that cannot start: {last}"


def _open_rows(store: sqlite3.Connection) -> Iterator[str]:
    for row in store.execute("SELECT project, number, state FROM deployments"):
        if row[2] in OPEN:
            yield f"deployment is open: {row}"
    for row in store.execute("SELECT id, operation FROM operations WHERE outcome = ''"):
        yield f"journal row is open: {row}"
    for row in store.execute("SELECT project, deployment, kind FROM jobs WHERE state = 'running'"):
        yield f"job runs: {row}"
    for row in store.execute("SELECT name, open FROM projects WHERE open > 0"):
        yield f"project has an open deployment: {row}"


class _reading:  # noqa: N801 - reads as a word at its place
    def __init__(self, path: Path) -> None:
        self._store = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)

    def __enter__(self) -> sqlite3.Connection:
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


def _engine(stage: Stage) -> Iterator[str]:
    ours = f"label={LABEL_INSTANCE}={stage.platform.instance}"
    listed = docker("ps", "--all", "--no-trunc", "--format", "{{.ID}}", "--filter", ours).split()
    found = docker("inspect", *listed, check=False) if listed else "[]"  # one may be gone by now
    containers: list[dict[str, Any]] = json.loads(found)
    wanted = _numbers(stage)
    states = {str(each["Name"]).lstrip("/"): str(each["State"]["Status"]) for each in containers}
    if is_adopted(stage):
        states = {name: state for name, state in states.items() if name in wanted or state != "exited"}
    if states != wanted and states != {name: state for name, state in wanted.items() if state == "running"}:
        yield f"containers are {states}, not {wanted}"
    ports = [port for each in containers for port in _ports(each)]
    if len(set(ports)) != len(ports):
        yield f"one port twice: {ports}"
    with _reading(stage.platform.state / "state" / "state.db") as store:
        inventory = {row[0] for row in store.execute("SELECT container_id FROM inventory")}
    unknown = [each["Name"] for each in containers if each["Id"] not in inventory]
    if unknown and not is_adopted(stage):
        yield f"not in the inventory: {unknown}"
    yield from _serving(stage, containers)
    yield from _labelled(stage, "network", ours, exactly=1)
    yield from _labelled(stage, "image", ours)


def _serving(stage: Stage, containers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for each in containers:
        if each["State"]["Status"] == "running":
            named = stage.platform.upstream(stage.project).strip()
            if [named] != [f"127.0.0.1:{port}" for port in _ports(each)]:
                yield f"upstream file says {named!r}, {each['Name']} serves on {_ports(each)}"
            if each["HostConfig"]["RestartPolicy"]["Name"] != "unless-stopped":
                yield f"{each['Name']} restarts {each['HostConfig']['RestartPolicy']}"
        elif each["HostConfig"]["RestartPolicy"]["Name"] != "no":
            yield f"stopped {each['Name']} restarts {each['HostConfig']['RestartPolicy']}"


def _labelled(stage: Stage, kind: str, ours: str, exactly: int | None = None) -> Iterator[str]:
    label = f'{{{{.Label "{LABEL_PROJECT}"}}}}' if kind == "network" else "{{.Repository}}"
    found = docker(kind, "ls", "--format", label, "--filter", ours).split()
    own = stage.project if kind == "network" else f"gs-{stage.platform.instance}-{stage.project}"
    if set(found) - ({own} if stage.project else set()):
        yield f"{kind} left: {found}"
    elif exactly is not None and stage.project and len(found) != exactly:
        yield f"{len(found)} of kind {kind}: {found}"


def _numbers(stage: Stage) -> Mapping[str, str]:
    """The containers that may be there: the live one, and the one before it."""
    if not stage.project:
        return {}
    with _reading(stage.platform.state / "state" / "state.db") as store:
        live, before = store.execute(
            "SELECT live, previous_live FROM projects WHERE name = ?", (stage.project,)
        ).fetchone()
    names = {f"gs-{stage.platform.instance}-{stage.project}-d{number}-web-1": number for number in (live, before)}
    return {name: "running" if number == live else "exited" for name, number in names.items() if number}


def _ports(container: Mapping[str, Any]) -> list[int]:
    bindings = container["HostConfig"]["PortBindings"] or {}
    return [int(each["HostPort"]) for found in bindings.values() for each in found]


def _disk(stage: Stage) -> Iterator[str]:
    state, folder = stage.platform.state, stage.platform.folder
    upstreams = sorted(str(path.relative_to(state)) for path in (state / "upstreams").rglob("*") if path.is_file())
    if upstreams != ([f"upstreams/{stage.project}/current"] if stage.project else []):
        yield f"upstream files: {upstreams}"
    left = [*(state / "builds").glob("*"), *(folder / "tmp").glob("gitstead-*")]
    if left:
        yield f"left of a build: {left}"
    pinned = {each for path in (state / "mirrors").glob("*.git") for each in kept(pygit2.Repository(str(path)))}
    allowed = {(stage.project, int(name.split("-d")[-1].split("-")[0])) for name in _numbers(stage)}
    if pinned - allowed and not is_adopted(stage):
        yield f"commits pinned for nobody: {pinned - allowed}"
    half = [*(state / "mirrors").rglob("*.lock"), *(state / "mirrors").rglob("pack_git2_*")]
    if half:
        yield f"left of a fetch: {half}"


def _processes(stage: Stage) -> Iterator[str]:
    builders = {pid: job for pid, job in marked_pids(MARK).items() if job.startswith(f"{stage.platform.instance}/")}
    if builders:
        yield f"builders run: {builders}"


# ---- nothing more to do ----------------------------------------------------------------------


def facts(platform: Platform) -> Mapping[str, list[object]]:
    """All that a pass could write: every row of the store, the files, and how our containers were started."""
    ours = f"label={LABEL_INSTANCE}={platform.instance}"
    with _reading(platform.state / "state" / "state.db") as store:
        rows: list[object] = list(store.iterdump())
    files = [*(platform.state / "upstreams").rglob("*"), platform.state / "caddy" / "last-good.json"]
    return {
        "rows": rows,
        "files": sorted((str(path), path.stat().st_mtime_ns, path.stat().st_ino) for path in files if path.exists()),
        "containers": docker("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.State}}", "--filter", ours).split(
            "\n"
        ),
    }


def begin_plan(platform: Platform) -> subprocess.Popen[str]:
    """`gitstead plan`, which must find nothing to do."""
    return subprocess.Popen(
        [sys.executable, "-m", "reconciler", "plan"],
        env=platform.environment(),
        cwd=platform.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def assert_quiet(stage: Stage) -> None:
    """`gitstead plan` exits 0, and a second look at everything writes nothing (invariant 11).

    Where something failed, people are told once more when its time to be tried again has come.
    """
    plan = begin_plan(stage.platform)
    try:
        moved = _written_by_a_look(stage)
        if moved and stage.refused:
            moved = _written_by_a_look(stage)
    finally:
        text = plan.communicate(timeout=30)[0]
    assert plan.returncode == 0, f"gitstead plan has something to do:\n{text}"
    assert not moved, f"a second look wrote: {moved}"


def _written_by_a_look(stage: Stage) -> Mapping[str, set[str]]:
    """What differs between two moments with looks between them, and some before."""
    for _ in range(LOOKS):
        stage.look_again()
    before = facts(stage.platform)
    for _ in range(LOOKS):
        stage.look_again()
    after = facts(stage.platform)
    moved = {name: set(map(str, after[name])) ^ set(map(str, before[name])) for name in before}
    return {name: lines for name, lines in moved.items() if lines}
