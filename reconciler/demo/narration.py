"""What a person reads in the terminal while the demo works: one line for each change of a project's state.

Called by `watching`. Turns statuses into words and keeps what was said last; asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.history.rows import Event
from reconciler.model.condition import Health
from reconciler.model.release import State
from reconciler.model.status import ProjectStatus

Say = Callable[[str], None]

_DOING = {
    State.QUEUED: "waits for a free builder",
    State.BUILDING: "builds its image",
    State.STARTING: "starts its container",
    State.CHECKING: "waits for its first answer",
    State.SWITCHING: "gets the visitors",
}
_NAME_WIDTH = 7


def described(status: ProjectStatus) -> str:
    """The state of one project in one line, without its name; "" while there is nothing to tell."""
    lead = status.conditions[0].message.rstrip(".") if status.conditions else ""
    if status.under_way:
        doing = f"d{status.under_way} {_DOING.get(State(status.under_way_state), status.under_way_state)}"
        return f"{doing} ({lead})" if status.health == Health.DEGRADED else doing
    if status.health == Health.MISSING and not status.deployment:
        return ""
    return f"{status.health}: {lead}" if lead else ""


@dataclass
class Narrator:
    """Says what is new since the last call; nothing is said twice."""

    say: Say
    _said: dict[str, str] = field(default_factory=dict)
    _events: dict[str, float] = field(default_factory=dict)

    def tell(self, status: ProjectStatus, events: list[Event], *, took_s: float) -> None:
        """`events` of the project, newest first; `took_s` of the deployment that serves, 0 where unknown."""
        since = self._events.get(status.project)
        self._events[status.project] = max([since or 0.0, *(each.last_at for each in events)])
        for event in reversed(events):
            if since is not None and event.last_at > since:
                self._line(status.project, f"{event.kind}: {event.text}")
        text = described(status)
        if not text or text == self._said.get(status.project):
            return
        before = self._said.get(status.project, "")
        self._said[status.project] = text
        went_live = text.startswith(str(Health.HEALTHY)) and before.startswith(f"d{status.deployment} ")
        self._line(status.project, f"{text} ({took_s:.1f}s)" if went_live and took_s else text)

    def _line(self, project_name: str, text: str) -> None:
        self.say(f"  {project_name:<{_NAME_WIDTH}} {text}")
