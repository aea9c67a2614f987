"""The build job: a clean checkout of exactly one commit becomes an image.

Started by `operations.start_build`, runs in the job's thread. Everything that it leaves on disk lies in
one folder per job, removed at its end and swept at the next start. Decides nothing about reuse.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from reconciler.adapters.bounds import Bounds, within
from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.image_builder import BuildRequest, ImageBuilder
from reconciler.apply.jobs import Cancel, Outcome
from reconciler.errors import GitsteadError, ProgramTimedOut, SourceUnusable
from reconciler.masking import Masker
from reconciler.model.condition import Reason
from reconciler.model.desired import AskedVersion
from reconciler.model.effects import LogSink, Secrets
from reconciler.model.naming import LABEL_CONTENT, LABEL_INSTANCE, LABEL_PROJECT
from reconciler.model.operation import StartBuild
from reconciler.model.versions import fits

log = structlog.get_logger(__name__)

BASE_PREFIX = "gitstead/base-"
_OCI = "org.opencontainers.image."


@dataclass(frozen=True)
class Builds:
    """`folder` holds the checkouts. `ensure_base` makes one of our own base images where it is missing,
    saying what it does; `base_version` is the version of its language that an image of ours has, "" where it does
    not say; `open_log` gives the sink of a deployment's build log. `prepare` is called before each
    build: what the builder may take of the machine is set then. `masker_of` knows a project's own secrets.
    """

    instance: str
    mirrors: Mirrors
    builder: ImageBuilder
    folder: Path
    open_log: Callable[[str, int], LogSink]
    ensure_base: Callable[[str, Callable[[str], None]], None]
    base_version: Callable[[str], str]
    clock: Callable[[], float]
    secrets: Secrets
    masker_of: Callable[[str], Masker]
    prepare: Callable[[], None] = lambda: None

    def build(self, op: StartBuild, cancel: Cancel) -> Outcome:
        """Export, write a generated Dockerfile, build, and return the image's id."""
        sink = self.open_log(op.project, op.deployment)
        bounds = Bounds(cancel.program, timeout_s=op.timeout_s)
        try:
            return self._build(op, bounds, sink)
        except ProgramTimedOut as error:
            if bounds.left_s:  # the limit of one program, not of the build
                self._say(sink, str(error))
                raise
            message = f"{error.what}; build.timeout is {op.timeout_s:g}s"
            self._say(sink, message)
            return Outcome(reason=Reason.BUILD_TIMED_OUT, message=message, hint="Make it faster or raise build.timeout")
        except GitsteadError as error:
            self._say(sink, str(error))
            raise
        finally:
            close_log(sink, f"{op.project} d{op.deployment}")

    def _build(self, op: StartBuild, bounds: Bounds, sink: LogSink) -> Outcome:
        self._say(sink, f"Building {op.project} d{op.deployment} from {op.commit} (build.type {op.build_type})")
        with within(bounds):
            self._prepare(op, bounds, sink)
        for note in (*op.dockerfile.notes, self._version_note(op.dockerfile.asked)):
            if note:
                self._say(sink, note)
        with self._checkout(op, bounds) as context:
            request = BuildRequest(
                context=context,
                dockerfile=context / op.dockerfile.path,
                tag=op.tag,
                labels={
                    LABEL_INSTANCE: self.instance,
                    LABEL_PROJECT: op.project,
                    LABEL_CONTENT: op.content_key,
                    f"{_OCI}revision": op.commit,
                    **public_source(op.repo),
                },
                build_args=op.args,
                timeout_s=op.timeout_s,
                spent_s=op.timeout_s - bounds.left_s,
                cache_namespace=f"{self.instance}/{op.project}",
                job_id=f"{self.instance}/{op.project}/d{op.deployment}",
                secrets={
                    name: self.secrets.open(sealed, kind="build-secret", project=op.project, key=name)
                    for name, sealed in op.secrets.items()
                },
                masker=self.masker_of(op.project),
            )
            built = self.builder.build(request, sink, cancellation=bounds.cancellation)
        self._say(sink, f"Built {built.image_id}: {built.cached} of {built.steps} steps out of the cache")
        return Outcome(image_id=built.image_id, steps=built.steps, cached=built.cached)

    def _prepare(self, op: StartBuild, bounds: Bounds, sink: LogSink) -> None:
        self.prepare()
        for base in op.dockerfile.bases or ():
            if base.startswith(BASE_PREFIX):
                bounds.begin(f"making {base}")
                self.ensure_base(base.removeprefix(BASE_PREFIX), lambda text: self._say(sink, text))

    @contextlib.contextmanager
    def _checkout(self, op: StartBuild, bounds: Bounds) -> Iterator[Path]:
        context = self.folder / f"{op.project}-d{op.deployment}"
        shutil.rmtree(context, ignore_errors=True)
        try:
            with within(bounds):
                bounds.begin("reading the source")
                self.mirrors.export(op.repo, op.commit, path=op.path, destination=context)
            if op.dockerfile.text is not None:
                _write_generated(context, op.dockerfile.path, op.dockerfile.text)
            if op.dockerfile.ignore:
                _write_new(context / ".dockerignore", op.dockerfile.ignore)
            yield context
        finally:
            shutil.rmtree(context, ignore_errors=True)

    def _version_note(self, asked: AskedVersion | None) -> str:
        """What the source asks for and does not get, since a base of ours is of one version."""
        if asked is None or not asked.image.startswith(BASE_PREFIX):
            return ""
        had = self.base_version(asked.image)
        if had and fits(asked.version, had, language=asked.language):
            return ""
        language = "PHP" if asked.language == "php" else asked.language.capitalize()
        wanted = f"The source asks for {language} {asked.version} ({asked.file})"
        return f"{wanted}; {asked.image} has {had or 'a version that it does not tell'}: it is built with that."

    def sweep(self) -> None:
        """At start: what a killed process left."""
        self.builder.sweep(self.instance)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)

    def _say(self, sink: LogSink, text: str) -> None:
        sink.write("system", text, at=self.clock())


def close_log(sink: LogSink, name: str) -> None:
    """A log that cannot be closed now is closed at the next start: what was built counts all the same."""
    try:
        sink.close()
    except GitsteadError as error:
        log.warning("log.not_closed", deployment=name, reason=error.reason)


def public_source(repo: str) -> dict[str, str]:
    """The label that says where the source is: none for a path of this host, and never a name or password."""
    if repo.startswith(("/", "file:")):
        return {}
    return {f"{_OCI}source": re.sub(r"\A([a-z+]+://)[^/]*@", r"\1", repo)}


def _write_generated(context: Path, relative: str, text: str) -> None:
    target = context / relative
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise SourceUnusable(
            f'something in the source is in the way of "{relative}", the Dockerfile that is generated',
            expected=f'no "{relative}", and nothing but a folder where one of its folders goes',
            remedy="Rename it, or write a Dockerfile of your own",
        ) from error


def _write_new(path: Path, text: str) -> None:
    """A file that must not be there; a link of the source of that name is left as it is."""
    with contextlib.suppress(FileExistsError), path.open("x") as file:
        file.write(text)
