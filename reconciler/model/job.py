"""Long work beside the runs: builds, readiness probes, verification through the route, stopping, pruning.

Started and cancelled by operations, reported by `apply.jobs`, read by `plan` as observed
state. A job never holds an apply worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

JobKind = Literal["build", "probe", "verify", "stop", "prune"]
JobState = Literal["running", "succeeded", "failed"]


@dataclass(frozen=True)
class JobKey:
    """One job at a time has this key."""

    project: str
    deployment: int
    kind: JobKind

    def __str__(self) -> str:
        return f"{self.project}/d{self.deployment}/{self.kind}"


@dataclass(frozen=True)
class Job:
    """One job with its outcome. `subject` is what it was about: a content key, a container id
    and port, …; a probe counts only for the subject that it probed.

    `steps` counts the steps of a build, `cached` those that came out of the cache.

    On failure `reason` is a member of `condition.Reason`, `message` and `hint` are for people,
    `retryable` says whether trying the same again can help.
    """

    key: JobKey
    state: JobState
    subject: str
    started_at: float
    deadline_at: float
    ended_at: float = 0.0
    image_id: str = ""
    steps: int = 0
    cached: int = 0
    reason: str = ""
    message: str = ""
    hint: str = ""
    retryable: bool = False
