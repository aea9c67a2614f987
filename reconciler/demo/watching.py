"""Watches a demo that runs: tells each change, and decides when all apps have answered or one will not.

Called by `session`, in a thread beside the reconciler. Reads the store and asks the apps; changes nothing.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from reconciler.demo.answers import app_answers, page_answers
from reconciler.demo.folder import PROJECTS
from reconciler.demo.narration import Narrator, Say
from reconciler.errors import StoreBusy
from reconciler.history.logs import LogReader
from reconciler.history.queries import Queries
from reconciler.model.status import ProjectStatus
from reconciler.settings import Settings

POLL_S = 0.2
LOG_TAIL = 12


@dataclass(frozen=True)
class Settled:
    """How the start went: `failures` maps what did not answer to the reason, `statuses` are the last ones seen."""

    failures: dict[str, str]
    statuses: dict[str, ProjectStatus]
    took_s: float


@dataclass
class Watcher:
    """One demo's start and life. `settings` are of the platform that runs; `stop` ends both methods."""

    settings: Settings
    say: Say
    stop: threading.Event = field(default_factory=threading.Event)

    def until_settled(self, deadline_s: float) -> Settled | None:
        """Wait until every app and the page answered, or are known not to; None where somebody stopped it."""
        began, narrator = time.monotonic(), Narrator(self.say)
        waiting = dict.fromkeys((*PROJECTS, "page"), "it was not asked yet")
        failures: dict[str, str] = {}
        queries = Queries(self.settings.state_db)
        try:
            while waiting:
                if self.stop.wait(POLL_S):
                    return None
                statuses = self._look(queries, narrator)
                for name in list(waiting):
                    waiting[name] = self._answer(name, statuses.get(name))
                    if not waiting[name]:
                        del waiting[name]
                    elif (reason := hopeless(statuses.get(name))) or time.monotonic() - began > deadline_s:
                        last = waiting.pop(name)
                        failures[name] = reason or self._overdue(name, last, statuses.get(name), deadline_s)
            return Settled(failures, self._look(queries, narrator), time.monotonic() - began)
        finally:
            queries.close()

    def follow(self) -> None:
        """Tell each further change until `stop`."""
        narrator = Narrator(lambda _: None)
        queries = Queries(self.settings.state_db)
        try:
            self._look(queries, narrator)
            narrator.say = self.say
            seen = queries.data_version()
            while not self.stop.wait(POLL_S):
                version = queries.data_version()
                if version != seen:
                    seen = version
                    self._look(queries, narrator)
        finally:
            queries.close()

    def build_log(self, name: str) -> list[str]:
        """The last lines of the newest build of that project."""
        queries, reader = Queries(self.settings.state_db), LogReader(self.settings.logs_db)
        try:
            newest = queries.deployments(name, limit=1)
            lines = reader.tail(name, newest[0].number, limit=LOG_TAIL) if newest else []
            return [line.text for line in lines]
        finally:
            queries.close()
            reader.close()

    def _look(self, queries: Queries, narrator: Narrator) -> dict[str, ProjectStatus]:
        try:
            statuses = {each.project: each for each in queries.statuses()}
            for name, status in statuses.items():
                serving = queries.deployment(name, status.deployment) if status.deployment else None
                took_s = serving.live_at - serving.created_at if serving and serving.live_at else 0.0
                narrator.tell(status, queries.events(name, limit=10), took_s=took_s)
        except StoreBusy:
            return {}
        return statuses

    def _answer(self, name: str, status: ProjectStatus | None) -> str:
        if name == "page":
            return page_answers(self.settings)
        if status is None:
            return "the reconciler has not said anything of it yet"
        if not status.deployment:
            return f"{status.headline}"
        return app_answers(self.settings, name)

    def _overdue(self, name: str, last: str, status: ProjectStatus | None, deadline_s: float) -> str:
        more = f" {status.headline}" if status is not None and status.headline != last else ""
        return f"no answer within {deadline_s:g}s: {last}.{more}"


def hopeless(status: ProjectStatus | None) -> str:
    """Why a project will not come up by itself; "" while it serves or waiting can cure it."""
    if status is None or status.deployment:
        return ""
    return next((each.message for each in status.conditions if each.type == "Stalled" and each.status == "True"), "")
