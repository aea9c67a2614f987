"""The build job: a clean checkout of exactly one commit becomes an image.

Started by `operations.start_build`, runs in the job's thread. Everything that it leaves on disk lies in
one folder per job, removed at its end and swept at the next start. Decides nothing about reuse.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.image_builder import BuildRequest, ImageBuilder
from reconciler.apply.jobs import Cancel, Outcome
from reconciler.errors import GitsteadError, ProgramTimedOut
from reconciler.model.condition import Reason
from reconciler.model.effects import LogSink, Secrets
from reconciler.model.naming import LABEL_CONTENT, LABEL_INSTANCE, LABEL_PROJECT
from reconciler.model.operation import StartBuild

BASE_PREFIX = "gitstead/base-"


@dataclass(frozen=True)
class Builds:
    """`folder` holds the checkouts. `ensure_base` makes one of our own base images where it is missing,
    saying what it does; `open_log` gives the sink of a deployment's build log. `prepare` is called before each
    build: what the builder may take of the machine is set then.
    """

    instance: str
    mirrors: Mirrors
    builder: ImageBuilder
    folder: Path
    open_log: Callable[[str, int], LogSink]
    ensure_base: Callable[[str, Callable[[str], None]], None]
    clock: Callable[[], float]
    secrets: Secrets
    prepare: Callable[[], None] = lambda: None

    def build(self, op: StartBuild, cancel: Cancel) -> Outcome:
        """Export, write a generated Dockerfile, build, and return the image's id."""
        sink = self.open_log(op.project, op.deployment)
        try:
            return self._build(op, cancel, sink)
        except ProgramTimedOut:
            message = f"the build was ended after {op.timeout_s:g}s (build.timeout)"
            self._say(sink, message)
            return Outcome(reason=Reason.BUILD_TIMED_OUT, message=message, hint="Make it faster or raise build.timeout")
        except GitsteadError as error:
            self._say(sink, str(error))
            raise
        finally:
            sink.close()

    def _build(self, op: StartBuild, cancel: Cancel, sink: LogSink) -> Outcome:
        self._say(sink, f"Building {op.project} d{op.deployment} from {op.commit} (build.type {op.build_type})")
        self.prepare()
        for base in op.dockerfile.bases or ():
            if base.startswith(BASE_PREFIX):
                self.ensure_base(base.removeprefix(BASE_PREFIX), lambda text: self._say(sink, text))
        with self._checkout(op) as context:
            request = BuildRequest(
                context=context,
                dockerfile=context / op.dockerfile.path,
                tag=op.tag,
                labels={
                    LABEL_INSTANCE: self.instance,
                    LABEL_PROJECT: op.project,
                    LABEL_CONTENT: op.content_key,
                },
                timeout_s=op.timeout_s,
                job_id=f"{self.instance}/{op.project}/d{op.deployment}",
                secrets={
                    name: self.secrets.open(sealed, kind="build-secret", project=op.project, key=name)
                    for name, sealed in op.secrets.items()
                },
            )
            built = self.builder.build(request, sink, cancellation=cancel.program)
        self._say(sink, f"Built {built.image_id}: {built.cached} of {built.steps} steps out of the cache")
        return Outcome(image_id=built.image_id, steps=built.steps, cached=built.cached)

    @contextlib.contextmanager
    def _checkout(self, op: StartBuild) -> Iterator[Path]:
        context = self.folder / f"{op.project}-d{op.deployment}"
        shutil.rmtree(context, ignore_errors=True)
        try:
            self.mirrors.export(op.repo, op.commit, path=op.path, destination=context)
            if op.dockerfile.text is not None:
                target = context / op.dockerfile.path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(op.dockerfile.text)
            yield context
        finally:
            shutil.rmtree(context, ignore_errors=True)

    def sweep(self) -> None:
        """At start: what a killed process left."""
        self.builder.sweep(self.instance)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)

    def _say(self, sink: LogSink, text: str) -> None:
        sink.write("system", text, at=self.clock())
