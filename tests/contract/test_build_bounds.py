"""A build ends when it is cancelled and at its deadline, whatever it is at: also before there is a builder to end.

Real git, real servers that keep silent, real jobs, processes and workers.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.adapters import process_marks, processes
from reconciler.adapters.bounds import Bounds, Cancellation, within
from reconciler.adapters.git_access import Permissions
from reconciler.adapters.git_export import write_tree
from reconciler.adapters.git_mirror import open_bare
from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.image_builder import ImageBuilder
from reconciler.adapters.secret_box import SecretBox, ensure_keys
from reconciler.apply.build import Builds
from reconciler.apply.failpoints import Failpoints
from reconciler.apply.jobs import Jobs
from reconciler.errors import BuildFailed, ProgramTimedOut, SourceUnusable
from reconciler.masking import Masker
from reconciler.model.condition import Reason
from reconciler.model.desired import Dockerfile
from reconciler.model.effects import BuildStep, Stream
from reconciler.model.job import Job, JobKey
from reconciler.model.operation import StartBuild
from tests.git_servers import HttpServer, Source, git, until

pytestmark = pytest.mark.real

MAIN = frozenset({"main"})
KEY = JobKey("shop", 1, "build")
AT_ONCE_S = 2.0


class Rows:
    """Collects how jobs ended."""

    def __init__(self) -> None:
        self.ended: list[Job] = []

    def job_started(self, job: Job) -> None:
        """The start is no matter here."""

    def job_ended(self, job: Job) -> None:
        self.ended.append(job)


class Lines:
    """A build log."""

    def __init__(self) -> None:
        self.printed: list[str] = []

    def write(self, stream: Stream, text: str, *, at: float, step: str = "") -> None:
        self.printed.append(text)

    def step(self, step: BuildStep) -> None:
        """No build comes so far."""

    def close(self) -> None:
        """It is all in memory."""


class Place:
    """The jobs of one reconciler, as far as a build needs them; `ensure` makes base images."""

    def __init__(self, folder: Path) -> None:
        ensure_keys(folder / "keys")
        self.folder = folder
        self.mirrors = Mirrors(
            folder / "mirrors", local_paths=(str(folder),), known_hosts=folder / "known", timeout_s=30
        )
        self.rows, self.lines = Rows(), Lines()
        self.jobs = Jobs(self.rows, clock=time.time, on_change=lambda _: None, failpoints=Failpoints())  # type: ignore[arg-type]
        self.ensure: Callable[[str], None] = lambda _: None
        secrets = SecretBox(folder / "keys", Masker())
        self.builds = Builds(
            instance="gs-test",
            mirrors=self.mirrors,
            builder=ImageBuilder(None),
            folder=folder / "builds",
            open_log=lambda *_: self.lines,
            ensure_base=lambda name, _: self.ensure(name),
            base_version=lambda _: "",
            clock=time.time,
            secrets=secrets,
            masker_of=secrets.masker_of,
        )
        self.builds.folder.mkdir()

    def operation(self, repo: str, *, timeout_s: float = 60, bases: tuple[str, ...] = ()) -> StartBuild:
        state = self.mirrors.refresh(repo, MAIN)
        assert state.problem is None, state.problem
        return StartBuild(
            cause="a push",
            project="shop",
            deployment=1,
            repo=repo,
            path=".",
            commit=state.branches["main"],
            build_type="python",
            dockerfile=Dockerfile(".gitstead/Dockerfile", "FROM scratch\n", bases),
            content_key="key",
            tag="gs-test/shop:1",
            timeout_s=timeout_s,
        )

    def start(self, op: StartBuild, key: JobKey = KEY) -> None:
        self.jobs.start(
            key, lambda cancel: self.builds.build(op, cancel), subject=op.content_key, deadline_s=op.timeout_s
        )

    def cancelled_in_s(self, key: JobKey = KEY) -> float:
        began = time.monotonic()
        self.jobs.cancel(key)
        assert key not in self.jobs.snapshot(), "the job is over"
        return time.monotonic() - began

    def ended(self, *, within_s: float) -> Job:
        until(lambda: self.rows.ended, timeout_s=within_s, what="the end of the build")
        return self.rows.ended[0]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    with contextlib.closing(made.mirrors), contextlib.closing(made.jobs):
        yield made


@pytest.fixture
def silent(tmp_path: Path, place: Place) -> Iterator[HttpServer]:
    """The host of a submodule; `mode` says how it keeps silent."""
    with HttpServer(tmp_path) as server:
        place.mirrors.permit(Permissions({}, submodule_hosts=(server.authority,)))
        yield server


def app_with_module(folder: Path, server: HttpServer) -> str:
    """A repository of this host that pins one of the server's."""
    sha = Source(folder, "lib").push({"code.txt": "1"})
    source = Source(folder, "app")
    git("update-index", "--add", "--cacheinfo", f"160000,{sha},lib", cwd=source.work)
    (source.work / ".gitmodules").write_text(f'[submodule "lib"]\n\tpath = lib\n\turl = {server.url}/lib.git\n')
    git("add", ".gitmodules", cwd=source.work)
    git("commit", "-q", "-m", "Modules", cwd=source.work)
    git("push", "-q", "origin", "HEAD:refs/heads/main", cwd=source.work)
    return str(source.bare)


def workers() -> list[int]:
    """Workers of this process that live."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"git_worker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def nothing_left(place: Place) -> bool:
    return not workers() and not list(place.builds.folder.iterdir())


@pytest.mark.parametrize("mode", ["hang", "drip", "hang-pack"])
def test_a_cancelled_build_does_not_wait_for_the_host_of_a_submodule(
    place: Place, silent: HttpServer, tmp_path: Path, mode: str
) -> None:
    op = place.operation(app_with_module(tmp_path, silent))
    silent.mode = mode
    place.start(op)
    until(lambda: any(mode != "hang-pack" or command == "POST" for command, _, _ in silent.requests))
    took_s = place.cancelled_in_s()
    print(f"{mode}: {took_s * 1000:.0f} ms")
    assert took_s < AT_ONCE_S
    assert nothing_left(place)
    assert place.lines.printed[-1].startswith("the build was cancelled while fetching submodule lib")
    silent.mode = ""
    place.mirrors.export(op.repo, op.commit, path=".", destination=tmp_path / "later")
    assert (tmp_path / "later" / "lib" / "code.txt").read_text() == "1", "and the next one finds a whole mirror"


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_at_its_deadline_a_build_ends_and_says_which_submodule_it_was_at(
    place: Place, silent: HttpServer, tmp_path: Path, mode: str
) -> None:
    op = place.operation(app_with_module(tmp_path, silent), timeout_s=1.5)
    silent.mode = mode
    place.start(op)
    job = place.ended(within_s=1.5 + 2 * AT_ONCE_S)
    assert job.reason == Reason.BUILD_TIMED_OUT
    assert job.message == ("the build was ended after 1.5 s while fetching submodule lib; build.timeout is 1.5s")
    assert not job.retryable
    assert nothing_left(place)


def test_a_build_that_waits_for_the_mirror_that_another_fetches_into_can_be_cancelled(
    place: Place, silent: HttpServer, tmp_path: Path
) -> None:
    op = place.operation(app_with_module(tmp_path, silent))
    silent.mode = "hang"
    other = JobKey("blog", 1, "build")
    place.start(op, other)
    until(lambda: silent.requests, what="the first one asks")
    place.start(op)
    until(lambda: len(place.lines.printed) == 2, what="the second one began")
    assert place.cancelled_in_s() < AT_ONCE_S
    assert len(workers()) == 1, "the other one goes on"
    assert place.jobs.snapshot()[other].state == "running"
    assert place.cancelled_in_s(other) < AT_ONCE_S
    assert nothing_left(place)


def sleeping(mark: str) -> Callable[[str], None]:
    def ensure(_: str) -> None:
        processes.run(["sleep", "1000"], timeout_s=600, env=processes.inherited({processes.MARK: mark}))

    return ensure


def marked(mark: str) -> bool:
    return mark in process_marks.marked_pids().values()


def test_a_base_image_in_the_making_ends_with_its_build(place: Place, tmp_path: Path) -> None:
    source = Source(tmp_path)
    source.push({"a": "1"})
    mark = f"base-{time.monotonic_ns()}"
    place.ensure = sleeping(mark)
    place.start(place.operation(str(source.bare), bases=("gitstead/base-python",)))
    until(lambda: marked(mark), what="the program runs")
    assert place.cancelled_in_s() < AT_ONCE_S
    assert not marked(mark)
    place.start(place.operation(str(source.bare), bases=("gitstead/base-python",)))
    until(lambda: marked(mark), what="the program runs again")
    place.jobs.close()
    assert not marked(mark), "nor does it outlive a stop"


def test_the_making_of_a_base_image_counts_towards_the_timeout(place: Place, tmp_path: Path) -> None:
    source = Source(tmp_path)
    source.push({"a": "1"})
    mark = f"base-{time.monotonic_ns()}"
    place.ensure = sleeping(mark)
    place.start(place.operation(str(source.bare), timeout_s=0.5, bases=("gitstead/base-python",)))
    job = place.ended(within_s=0.5 + 2 * AT_ONCE_S)
    assert job.reason == Reason.BUILD_TIMED_OUT
    assert job.message == ("the build was ended after 0.5 s while making gitstead/base-python; build.timeout is 0.5s")
    assert not marked(mark)


def test_the_limit_of_one_program_is_not_told_as_the_timeout_of_the_build(place: Place, tmp_path: Path) -> None:
    source = Source(tmp_path)
    source.push({"a": "1"})
    place.ensure = lambda _: processes.run(["sleep", "1000"], timeout_s=0.2) and None
    place.start(place.operation(str(source.bare), bases=("gitstead/base-python",)))
    job = place.ended(within_s=10)
    assert job.reason != Reason.BUILD_TIMED_OUT
    assert job.retryable
    assert '"sleep 1000" was ended' in job.message


@pytest.mark.parametrize(
    "files", [{".gitstead": "a file"}, {".gitstead/Dockerfile/x": "a folder"}], ids=["file", "folder"]
)
def test_what_is_in_the_way_of_a_generated_dockerfile_is_named_and_final(
    place: Place, tmp_path: Path, files: Mapping[str, str]
) -> None:
    source = Source(tmp_path)
    source.push(dict(files))
    place.start(place.operation(str(source.bare)))
    job = place.ended(within_s=10)
    assert (job.reason, job.retryable) == (Reason.SOURCE_UNUSABLE, False)
    assert job.message.startswith('something in the source is in the way of ".gitstead/Dockerfile"')
    assert job.hint
    assert nothing_left(place)


def test_writing_a_tree_stops_half_way_and_leaves_nothing(place: Place, tmp_path: Path) -> None:
    source = Source(tmp_path)
    source.push({f"f{number:04}": "x" for number in range(3000)})
    repository = open_bare(source.bare)
    root = repository.references["refs/heads/main"].peel(None).tree_id
    cancellation, out = Cancellation(), tmp_path / "out"

    def cancel_once_it_writes() -> None:
        until(lambda: out.exists() and any(out.iterdir()))
        cancellation.cancel()

    watcher = threading.Thread(target=cancel_once_it_writes)
    watcher.start()
    with within(Bounds(cancellation, timeout_s=60)), pytest.raises(BuildFailed, match="while writing the source"):
        write_tree(repository, root, out)
    watcher.join(10)
    assert not out.exists()
    with within(Bounds(Cancellation(), timeout_s=0)), pytest.raises(ProgramTimedOut):
        write_tree(repository, root, out)
    assert not out.exists()


def test_only_a_commit_is_found_by_its_sha_whatever_a_tree_pins(place: Place, tmp_path: Path) -> None:
    source = Source(tmp_path)
    head = source.push({"a": "1"})
    repo = str(source.bare)
    place.mirrors.refresh(repo, MAIN)
    assert {place.mirrors.resolve(repo, sha) for sha in (head, head[:8])} == {head}
    for name in ("HEAD:a", "HEAD^{tree}"):
        other = git("rev-parse", name, cwd=source.work)
        for sha in (other, other[:8]):
            with pytest.raises(SourceUnusable, match=f'has no branch, tag or commit "{sha}"'):
                place.mirrors.resolve(repo, sha)
