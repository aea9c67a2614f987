"""Builds images with buildx: an argv list, the host's own BuildKit, every line handed on as it comes.

Called by `apply.jobs` for one build at a time per project, and by `host.base_image`. Must not decide what is built, and
must not put a secret into the argv. Runs the plugin's binary itself where it is found: the `docker` client
in front of it costs 20 ms a build.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.adapters import processes
from reconciler.adapters.bounds import Cancellation
from reconciler.adapters.build_orphans import end_orphans, marked
from reconciler.adapters.build_progress import BuildProgress, Told, is_instruction
from reconciler.adapters.build_reasons import Failure, title
from reconciler.adapters.secret_files import secret_options, sweep
from reconciler.errors import BuildFailed, BuildHindered, EngineUnavailable, ProgramTimedOut
from reconciler.masking import Masker
from reconciler.model.effects import CLIPPED_REMEDY, BuildStep, LogSink

_DEFAULT_SOCKET = "unix:///var/run/docker.sock"
_PLUGIN = "docker-buildx"
_SYSTEM_PLUGIN_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
_PROXIES = tuple(f"{kind}_proxy" for kind in ("http", "https", "ftp", "no", "all"))
# The docker driver loads what it builds by itself, so no --load; it costs 8 ms even then.
_OPTIONS = ("--progress=rawjson", "--provenance=false", "--sbom=false", "--builder=default")

_LOST_TRACK = (
    "[output is missing here: the engine stopped reporting, while the build went on. It is asked for once more, "
    f"what is done comes out of the cache; {CLIPPED_REMEDY}]"
)


@dataclass(frozen=True)
class BuildRequest:
    """One image to build from the folder `context`, with the Dockerfile at `dockerfile` (any path).

    `tag` is `repository:tag`. `build_contexts` are further folders by name (BuildKit newer than the one of
    engine 20.10). `job_id` marks the children, so that they are found after a kill of ours.
    `secrets` are in plain text by name, for `RUN --mount=type=secret,id=<name>`. Cache mounts are shared with builds of
    the same `cache_namespace` alone, whatever id a Dockerfile names. `spent_s` of
    `timeout_s` are gone before it starts. What `masker` knows is in no error.
    """

    context: Path
    dockerfile: Path
    tag: str
    labels: Mapping[str, str]
    timeout_s: float
    job_id: str
    build_args: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    build_contexts: Mapping[str, Path] = field(default_factory=dict)
    cache_namespace: str = ""
    spent_s: float = 0.0
    masker: Masker = field(default_factory=Masker, repr=False, compare=False)


@dataclass(frozen=True)
class Built:
    """An image, and how many of the instructions that make it (without FROM) came out of the cache."""

    image_id: str
    steps: int
    cached: int


@dataclass(frozen=True)
class _Attempt:
    """One run of a build; `deadline` is of `time.monotonic`.

    `steps` are by name, as last told, `earlier` those of the run before.
    """

    request: BuildRequest
    sink: LogSink
    cancellation: Cancellation
    scratch: Path
    deadline: float
    secret_options: Sequence[str]
    steps: dict[str, BuildStep] = field(default_factory=dict)
    earlier: Mapping[str, BuildStep] = field(default_factory=dict)

    @property
    def id_file(self) -> Path:
        return self.scratch / "image-id"


class ImageBuilder:
    """Builds on one engine. Safe from any thread; each build is a child of its own.

    `docker_host` None is the default socket. `scratch` is where each build has a folder for its own files; None
    is the system's. `on_built` is called after each image that was made, since older engines announce none of
    BuildKit's. `plugin_folders` come before the usual ones. `secrets_folder` holds build secrets while they are
    needed and nothing else.
    """

    def __init__(
        self,
        docker_host: str | None,
        *,
        scratch: Path | None = None,
        on_built: Callable[[], None] | None = None,
        plugin_folders: Iterable[Path] = (),
        secrets_folder: Path | None = None,
    ) -> None:
        self._docker_host = docker_host or _DEFAULT_SOCKET
        self._scratch = scratch
        self._on_built = on_built
        self._plugin_folders = tuple(plugin_folders)
        self._secrets_folder = secrets_folder or Path(tempfile.gettempdir(), "gitstead-secrets")
        self._left_behind: set[str] = set()  # jobs whose engine went away: it may have been still ending then

    def build(self, request: BuildRequest, sink: LogSink, *, cancellation: Cancellation | None = None) -> Built:
        """Build it. Lines and steps go to `sink`, which stays open.

        Raises `BuildFailed` with the failing step, its reason and what to do, also when it was cancelled (see
        `cancellation.cancelled`), `BuildHindered` where network, registry or disk are to blame, `ProgramTimedOut`
        at the deadline, `EngineUnavailable` where the engine does not answer, `HostUnfit` where there is no buildx.
        """
        while self._left_behind:
            end_orphans(self._left_behind.pop(), self._docker_host)
        cancellation = cancellation or Cancellation()
        deadline = time.monotonic() + request.timeout_s - request.spent_s
        with (
            tempfile.TemporaryDirectory(prefix="gitstead-build-", dir=self._scratch) as scratch,
            secret_options(request.secrets, self._secrets_folder) as secrets,
        ):
            attempt = _Attempt(request, sink, cancellation, Path(scratch), deadline, secrets)
            progress, status = self._run(attempt)
            if status != 0 and progress.lost_track and not cancellation.cancelled:
                sink.write("system", _LOST_TRACK, at=time.time())
                attempt = replace(attempt, steps={}, earlier=attempt.steps)
                progress, status = self._run(attempt)
            if cancellation.cancelled:
                raise BuildFailed(f"the build of {request.tag} was cancelled")
            if status != 0:
                raise self._error(attempt, progress.failure(status))
            image_id = attempt.id_file.read_text().strip()
        if self._on_built is not None:
            self._on_built()
        outcomes = [step.outcome for name, step in attempt.steps.items() if is_instruction(name)]
        return Built(image_id, steps=len(outcomes), cached=outcomes.count("cached"))

    def _run(self, attempt: _Attempt) -> tuple[BuildProgress, int]:
        request = attempt.request
        progress = BuildProgress(request.masker)
        # A configuration folder of its own: no other builder is selected there, and what buildx notes of each
        # build for its history goes with it.
        buildx_config = str(attempt.scratch / "buildx")
        env = processes.inherited({"DOCKER_HOST": self._docker_host, "BUILDX_CONFIG": buildx_config})
        env = marked(env, request.job_id)
        options = [*_options(request, attempt.id_file, env), *attempt.secret_options]
        argv = [*self._program(env), "build", *options, str(request.context)]

        def take(_: str, raw: bytes) -> None:
            _write(attempt, progress.feed(raw, now=time.time()))

        try:
            finished = processes.stream(
                argv,
                take,
                timeout_s=max(0.0, attempt.deadline - time.monotonic()),
                env=env,
                cancellation=attempt.cancellation,
                job_id=request.job_id,
            )
        except ProgramTimedOut as error:
            step = progress.current_step()
            raise ProgramTimedOut(
                f"the build was ended after {request.timeout_s:g} s{f' in {title(step)}' if step else ''}",
                expected=f"an end within build.timeout {request.timeout_s:g} s",
                remedy="Make the step faster, or raise build.timeout",
            ) from error
        finally:
            _write(attempt, progress.finish(now=time.time()))
        return progress, finished.status

    def _error(self, attempt: _Attempt, failure: Failure) -> BuildFailed | BuildHindered | EngineUnavailable:
        if failure.engine_gone:
            job_id = attempt.request.job_id
            end_orphans(job_id, self._docker_host)
            self._left_behind.add(job_id)
            return EngineUnavailable(
                failure.what, expected="an engine that answers", remedy="It is built again by itself"
            )
        has_gaps = any(step.clipped for step in attempt.steps.values())
        hints = [failure.hint, f"Its log has gaps: {CLIPPED_REMEDY}" if has_gaps else ""]
        kind = BuildHindered if failure.retryable else BuildFailed
        return kind(failure.what, remedy=". ".join(hint for hint in hints if hint))

    def sweep(self, instance: str) -> None:
        """At start: the build secrets that a killed process left, and the steps that a stopped engine left."""
        sweep(self._secrets_folder)
        end_orphans(f"{instance}/", self._docker_host)

    def _program(self, env: Mapping[str, str]) -> list[str]:
        folders = [
            *self._plugin_folders,
            Path(env.get("DOCKER_CONFIG", Path(env.get("HOME", "/"), ".docker")), "cli-plugins"),
            *map(Path, _SYSTEM_PLUGIN_FOLDERS),
        ]
        search = ":".join([*map(str, folders), env.get("PATH", "")])
        plugin = shutil.which(_PLUGIN, path=search)
        return [plugin] if plugin else ["docker", "buildx"]


def _options(request: BuildRequest, id_file: Path, env: Mapping[str, str]) -> Sequence[str]:
    options = [*_OPTIONS, f"--iidfile={id_file}", f"--tag={request.tag}", f"--file={request.dockerfile}"]
    options += [f"--label={name}={value}" for name, value in request.labels.items()]
    options += [f"--build-arg={name}={value}" for name, value in request.build_args.items()]
    if request.cache_namespace:  # the last one counts, so no argument of the spec chooses another
        options.append(f"--build-arg=BUILDKIT_CACHE_MOUNT_NS={request.cache_namespace}")
    options += [f"--build-context={name}={path}" for name, path in request.build_contexts.items()]
    # By name alone, so that a password in a proxy's address stays out of the argv; no part of the cache key.
    proxies = [name for proxy in _PROXIES for name in (proxy, proxy.upper())]
    options += [f"--build-arg={name}" for name in proxies if name in env and name not in request.build_args]
    return options


def _write(attempt: _Attempt, told: Iterable[Told]) -> None:
    for each in told:
        if isinstance(each, BuildStep):
            step = _over_all_runs(attempt.earlier.get(each.name), each)
            attempt.steps[each.name] = step
            attempt.sink.step(step)
        else:
            attempt.sink.write(each.stream, each.text, at=each.at, step=each.step)


def _over_all_runs(before: BuildStep | None, now: BuildStep) -> BuildStep:
    """What a second run finds in the cache because the first one made it was made by this build."""
    if before is None or not before.ended_at:
        return now
    outcome = "done" if now.outcome == "cached" and before.outcome != "cached" else now.outcome
    return replace(now, started_at=before.started_at, outcome=outcome, clipped=before.clipped or now.clipped)
