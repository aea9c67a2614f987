"""Keeps the last output of a container that is about to be removed, in the log of its deployment.

Called by `operations.end_deployment`: what an app printed before it failed its check is what a person
needs most, and the next pass removes the container. Never fails the operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from reconciler.adapters.docker_engine import DockerEngine
from reconciler.errors import GitsteadError
from reconciler.masking import Masker, PieceMasker
from reconciler.model.effects import LogSink

LINES = 200
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Outputs:
    """`open_log` gives the sink of a deployment's log, to which the output is appended; `masker_of` knows a project's
    own secrets.
    """

    masker_of: Callable[[str], Masker]
    engine: DockerEngine
    open_log: Callable[[str, int], LogSink]
    clock: Callable[[], float]

    def keep(self, project_name: str, deployment: int, container: str) -> None:
        """Append the last 200 lines that `container` printed; that they cannot be read is said in their place."""
        try:
            self._keep(project_name, deployment, container)
        except GitsteadError as error:
            log.warning("output.not_kept", project=project_name, deployment=deployment, reason=error.reason)

    def _keep(self, project_name: str, deployment: int, container: str) -> None:
        """Raises StoreBusy, StoreUnusable."""
        sink = self.open_log(project_name, deployment)
        try:
            sink.write("system", f"The last output of {container}:", at=self.clock())
            pieces = PieceMasker(self.masker_of(project_name))
            for stream, at, line in self.engine.container_logs(container, tail=LINES):
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                sink.write(stream, pieces.mask(text, origin=stream, ends=line.endswith(b"\n")), at=at)
        except GitsteadError as error:
            sink.write("system", f"It could not be read: {error.what}", at=self.clock())
        finally:
            sink.close()
