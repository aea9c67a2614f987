"""How values stand in the tables: deployments, status rows, run settings, and the rows of evidence.

Called by the recorder and the queries; does not read or write a table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from sqlite3 import Row
from types import MappingProxyType
from typing import Any, NamedTuple

from reconciler.model.condition import Condition, Health, Reason
from reconciler.model.release import Commit, Deployment, Release, State
from reconciler.model.spec import RunSpec
from reconciler.model.status import ProjectStatus

LONGEST_TEXT = 4000
LONGEST_SUBJECT = 300

DEPLOYMENT_COLUMNS = (
    *("project", "number", "state", "cause", "cause_text"),
    *("commit_sha", "commit_tree", "author", "subject", "committed_at"),
    *("source_key", "config_digest", "spec_blob", "platform_revision"),
    *("created_at", "changed_at", "deadline_at", "release", "image_id", "content_key", "previous"),
    *("live_at", "ended_at", "drain_until", "reason", "message", "hint", "retryable", "attempt"),
    *("config", "run", "drift_fields", "branch", "build_type"),
)


class GoodSpec(NamedTuple):
    """The last usable text of a spec: its blob, its bytes, and the revision that first had it."""

    blob: str
    text: bytes
    revision: str


@dataclass(frozen=True)
class JournalRow:
    """One operation as it was carried out. `outcome` is "", "ok", "failed" or "interrupted"."""

    id: int
    request_id: str
    project: str
    deployment: int
    operation: str
    resource: str
    cause: str
    cause_text: str
    sentence: str
    begun_at: float
    ended_at: float
    outcome: str
    result: str
    reason: str
    message: str
    retryable: bool


@dataclass(frozen=True)
class Event:
    """Something that happened to a project; equal ones close together are one row with a count."""

    id: int
    project: str
    kind: str
    reason: str
    text: str
    first_at: float
    last_at: float
    count: int


@dataclass(frozen=True)
class Timing:
    """When a deployment entered each of its states, in order, and what follows from it."""

    entered: Mapping[State, float]
    ended_at: float = 0.0

    @property
    def build_s(self) -> float:
        """Seconds from `building` to what came next; 0 where nothing was built or it still builds."""
        begun = self.entered.get(State.BUILDING, 0.0)
        later = [at for at in self.entered.values() if at > begun]
        return min(later) - begun if begun and later else 0.0

    @property
    def total_s(self) -> float:
        """Seconds from its opening until it was live, or ended without; 0 while it is under way."""
        begun = self.entered.get(State.QUEUED, 0.0)
        until = self.entered.get(State.LIVE, 0.0) or self.ended_at
        return max(until - begun, 0.0) if begun and until else 0.0


def clean(text: str, limit: int = LONGEST_TEXT) -> str:
    """Text as the store takes it: valid Unicode, without NUL, not longer than `limit` characters."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def deployment_values(deployment: Deployment) -> tuple[object, ...]:
    """In the order of DEPLOYMENT_COLUMNS."""
    commit = deployment.commit
    in_json = {
        "config": json.dumps(dict(deployment.config), sort_keys=True),
        "run": run_to_json(deployment.run),
        "drift_fields": json.dumps(deployment.drift_fields),
        "commit_sha": commit.sha,
        "commit_tree": commit.tree,
        "author": clean(commit.author, LONGEST_SUBJECT),
        "subject": clean(commit.subject, LONGEST_SUBJECT),
        "committed_at": float(commit.committed_at),
        "state": str(deployment.state),
        "cause_text": clean(deployment.cause_text),
        "message": clean(deployment.message),
        "hint": clean(deployment.hint),
        "reason": str(deployment.reason),
        "retryable": int(deployment.retryable),
    }
    return tuple(in_json[name] if name in in_json else getattr(deployment, name) for name in DEPLOYMENT_COLUMNS)


def deployment_of(row: Row) -> Deployment:
    """Read one row of `deployments`."""
    values: dict[str, Any] = {name: row[name] for name in DEPLOYMENT_COLUMNS}
    commit = Commit(
        sha=values.pop("commit_sha"),
        tree=values.pop("commit_tree"),
        author=values.pop("author"),
        subject=values.pop("subject"),
        committed_at=values.pop("committed_at"),
    )
    values["state"] = State(values["state"])
    values["retryable"] = bool(values["retryable"])
    values["config"] = MappingProxyType(json.loads(values["config"]))
    values["run"] = run_of_json(values["run"])
    values["drift_fields"] = tuple(json.loads(values["drift_fields"]))
    return Deployment(commit=commit, **values)


def timing_of(row: Row) -> Timing:
    """Read `entered` and `ended_at` of one row of `deployments`."""
    entered = {State(name): float(at) for name, at in json.loads(row["entered"]).items()}
    in_order = sorted(entered.items(), key=lambda item: (item[1], list(State).index(item[0])))
    return Timing(MappingProxyType(dict(in_order)), row["ended_at"])


def release_of(row: Row) -> Release:
    """Read one row of `releases`."""
    return Release(row["number"], row["image_id"], row["config_digest"], row["content_key"])


def run_to_json(run: RunSpec | None) -> str:
    """ "" for None."""
    if run is None:
        return ""
    return json.dumps(vars(run) | {"env": dict(run.env), "secrets": dict(run.secrets)}, sort_keys=True)


def run_of_json(text: str) -> RunSpec | None:
    """The reverse of `run_to_json`."""
    if not text:
        return None
    values = json.loads(text)
    for name in ("env", "secrets"):
        values[name] = MappingProxyType(values.get(name, {}))
    for name in ("capabilities", "command"):
        values[name] = tuple(values[name])
    return RunSpec(**values)


def status_to_json(status: ProjectStatus) -> str:
    """Equal statuses give equal texts."""
    plain = vars(status) | {
        "conditions": [asdict(condition) for condition in status.conditions],
        "desired": dict(status.desired),
        "observed": dict(status.observed),
    }
    return json.dumps(plain, sort_keys=True, ensure_ascii=True)


def status_of_json(text: str) -> ProjectStatus:
    """The reverse of `status_to_json`."""
    values = json.loads(text)
    values["health"] = Health(values["health"])
    values["conditions"] = tuple(
        Condition(each["type"], each["status"], Reason(each["reason"]), each["message"])
        for each in values["conditions"]
    )
    values["desired"] = MappingProxyType(values["desired"])
    values["observed"] = MappingProxyType(values["observed"])
    for name in ("blocks", "evidence", "others"):
        values[name] = tuple(values.get(name, ()))
    return ProjectStatus(**values)
