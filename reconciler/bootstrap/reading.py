"""What the CLI looks at without changing anything: revisions, plans, what apps print.

Called by `cli`. Builds adapters for one question each; starts no thread and writes no row.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from reconciler.adapters.caddy_admin import CaddyAdmin
from reconciler.adapters.docker_engine import DockerEngine
from reconciler.adapters.git_platform import PlatformFiles, read_folder
from reconciler.adapters.secret_box import SecretBox
from reconciler.adapters.upstream_files import UpstreamFiles
from reconciler.bootstrap.limits import shortage
from reconciler.bootstrap.state import open_mirrors, prepare_state
from reconciler.desired.base_names import BASE_NAMES
from reconciler.errors import HostUnfit, SecretUnreadable
from reconciler.history.queries import Queries
from reconciler.loop.good_specs import good_texts
from reconciler.loop.preview import preview_desired
from reconciler.loop.sources import PLATFORM_FILE, Files
from reconciler.masking import Masker, PieceMasker
from reconciler.model.desired import Desired, Dockerfile
from reconciler.model.job import Job, JobKey
from reconciler.model.naming import container_name
from reconciler.model.plan import Plan
from reconciler.model.release import History
from reconciler.model.spec import RunSpec
from reconciler.observe import Observer
from reconciler.plan.planner import plan as make_plan
from reconciler.settings import Settings


def read_platform(settings: Settings, place: str) -> tuple[str, PlatformFiles]:
    """(revision, texts) of a working tree's folder, of `REPO@REV`, or of a revision of the platform repository.

    Raises HostUnfit, SourceUnusable, RemoteUnavailable or HostKeyMismatch.
    """
    folder = Path(place)
    if folder.is_dir():
        return f"working tree {folder}", read_folder(folder)
    repo, _, rev = place.rpartition("@")
    with tempfile.TemporaryDirectory(prefix="gitstead-read-") as scratch:
        address = repo or settings.platform_repo
        if not address:
            raise HostUnfit(
                f'"{place}" is no folder, and no platform repository is set',
                expected="a folder, REPO@REV, or a revision of the platform repository",
                remedy="Set platform.repo in the host file or GITSTEAD_PLATFORM_REPO",
            )
        mirrors = open_mirrors(settings, folder=Path(scratch), also=address if repo else "")
        sha = mirrors.resolve(address, rev)
        return f"{rev}@{sha}", mirrors.read_platform(address, sha)


def preview(settings: Settings, place: str) -> tuple[Plan, Desired]:
    """The plan that `place` (see `read_platform`) would lead to now; observes, changes nothing."""
    host = prepare_state(settings)
    platform = read_platform(settings, place)
    engine = DockerEngine(settings.docker_host, instance=host.instance)
    caddy = CaddyAdmin(
        settings.admin_socket,
        instance=host.instance,
        listen=(settings.listen_host, settings.http_port),
        last_good=settings.last_good_caddy,
    )
    history, good, jobs = _remembered(settings)
    observer = Observer(
        engine,
        caddy,
        UpstreamFiles(settings.upstreams),
        lambda: jobs,
        time.time,
        disk_problem=lambda: shortage(settings),
    )
    observed = observer.observe()
    secrets = SecretBox(settings.keys, Masker())
    desired = preview_desired(
        open_mirrors(settings, secrets=secrets, folder=settings.state / "preview"),
        platform,
        good,
        instance=host.instance,
        holders=dict(observed.routes.hosts) if observed.routes else {},
        secrets=secrets,
        base_name=BASE_NAMES[settings.bases],
    )
    return make_plan(desired, observed, history, host), desired


def read_dockerfile(settings: Settings, project_name: str) -> Dockerfile:
    """The Dockerfile that is made for a project of the platform repository, at its source's newest commit.

    Raises HostUnfit where there is none to show, saying why.
    """
    host = prepare_state(settings)
    revision, files = read_platform(settings, settings.platform_branch)
    spec = f"projects/{project_name}.yaml"
    wanted = {path: text for path, text in files.files.items() if path in (PLATFORM_FILE, spec)}
    secrets = SecretBox(settings.keys, Masker())
    desired = preview_desired(
        open_mirrors(settings, secrets=secrets, folder=settings.state / "preview"),
        (revision, replace(files, files=wanted)),
        {},
        instance=host.instance,
        holders={},
        secrets=secrets,
        base_name=BASE_NAMES[settings.bases],
    )
    project = desired.find(project_name)
    if project is None:
        names = ", ".join(Path(path).stem for path in sorted(files.files) if path != PLATFORM_FILE) or "none yet"
        problems = " ".join(str(each) for each in desired.diagnostics)
        raise HostUnfit(
            problems or f"{revision} has no {spec}", expected="" if problems else f"one of: {names}", remedy=""
        )
    if project.source_problem is not None:
        raise HostUnfit(project.source_problem.message)
    if project.dockerfile is None or project.dockerfile.text is None:
        path = project.dockerfile.path if project.dockerfile else spec
        raise HostUnfit(f"{project_name} is built with {path} of its own repository: it is yours already")
    return project.dockerfile


def app_output(settings: Settings, project_name: str, *, tail: int, follow: bool) -> Iterator[tuple[str, float, bytes]]:
    """What the container that serves the project prints: (stream, Unix seconds, line).

    Secrets of the project that can be opened here are masked.
    """
    host = prepare_state(settings)
    queries = Queries(settings.state_db)
    past = queries.history().of(project_name)
    queries.close()
    if past.live is None:
        raise HostUnfit(
            f"nothing of {project_name} has gone live yet",
            expected="a live deployment",
            remedy=f"See gitstead status {project_name}, or its build: gitstead logs {project_name} --build 0",
        )
    engine = DockerEngine(settings.docker_host, instance=host.instance)
    name = container_name(host.instance, project_name, past.live.number, "web", 1)
    pieces = PieceMasker(_masker_of(settings, project_name, past.live.run or RunSpec()))
    for stream, at, data in engine.container_logs(name, follow=follow, tail=tail):
        text = pieces.mask(data.decode("utf-8", "replace"), origin=stream, ends=data.endswith(b"\n"))
        yield stream, at, text.encode()


def _masker_of(settings: Settings, project_name: str, run: RunSpec) -> Masker:
    """Knows what of a container's secrets this machine can open; that it cannot is nobody's trouble here."""
    masker = Masker()
    box = SecretBox(settings.keys, masker)
    for key, sealed in run.secrets.items():
        with contextlib.suppress(SecretUnreadable):
            box.open(sealed, kind="run-secret", project=project_name, key=key)
    return masker


def _remembered(settings: Settings) -> tuple[History, Files, Mapping[JobKey, Job]]:
    """What the store knows, or nothing where there is no store yet."""
    if not settings.state_db.exists():
        return History(), {}, {}
    queries = Queries(settings.state_db)
    try:
        history = queries.history()
        under_way = [past.open for past in history.projects.values() if past.open is not None]
        rows = [job for each in under_way for job in queries.job_rows(each.project, each.number)]
        return history, good_texts(queries), {job.key: job for job in rows}
    finally:
        queries.close()
