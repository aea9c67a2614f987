"""What a person is told of one project: the row that the loop stores and web and CLI show.

Made by `plan.health` each pass, stored only when it changed; it therefore holds no ages and no
time of observation (those are in `heartbeat.json`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from reconciler.model.condition import Condition, Health


@dataclass(frozen=True)
class ProjectStatus:
    """`release`, `deployment` and `commit` are of what serves, 0 and "" while nothing does.

    `under_way` is the open deployment's number and `under_way_state` its state, 0 and "" if none.
    `since` is when what serves went live. `address` is the first domain as a URL. `desired` and
    `observed` are printable facts for the page of one project, field to value. `waiting` is the
    digest of a plan that a gate holds, `gate` which one. `detected` is what the source was taken for, with
    the `evidence` and the clauses on which `others` it could be; `dockerfile` is the text that it is built with, ""
    where the repository's own is used. Times are Unix seconds, 0 where there is none.
    """

    project: str
    health: Health
    conditions: tuple[Condition, ...]
    release: int = 0
    deployment: int = 0
    commit: str = ""
    subject: str = ""
    author: str = ""
    since: float = 0.0
    address: str = ""
    under_way: int = 0
    under_way_state: str = ""
    under_way_since: float = 0.0
    next_retry_at: float = 0.0
    waiting: str = ""
    gate: str = ""
    detected: str = ""
    evidence: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    dockerfile: str = ""
    desired: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    observed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    blocks: tuple[str, ...] = ()
    last_error: str = ""

    @property
    def headline(self) -> str:
        """One sentence: what is, why, what next."""
        lead = self.conditions[0].message if self.conditions else ""
        return f"{self.project} is {self.health}. {lead}".rstrip()
