"""How facts are told in a few characters: ages, durations, symbols, links.

Called by templates as filters and by the pages. Pure; `now` is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from reconciler.model.condition import Condition, Health
from reconciler.model.job import Job
from reconciler.model.release import OPEN, Deployment, State
from reconciler.model.status import ProjectStatus
from reconciler.model.trend import Trend

_HEALTH = {
    Health.HEALTHY: "●",
    Health.SUSPENDED: "■",
    Health.PROGRESSING: "◐",
    Health.UNKNOWN: "?",
    Health.MISSING: "○",
    Health.DEGRADED: "▲",
}
_STATE = {
    State.LIVE: "●",
    State.RETIRED: "○",
    State.FAILED: "▲",
    State.CANCELLED: "✕",
    State.SUPERSEDED: "»",
    State.INTERRUPTED: "!",
}
TRACK = (State.QUEUED, State.BUILDING, State.STARTING, State.CHECKING, State.SWITCHING, State.LIVE)
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def health_symbol(health: Health) -> str:
    return _HEALTH[health]


def state_symbol(state: State) -> str:
    return _STATE.get(state, "◐" if state in OPEN else "·")


def age(seconds: float) -> str:
    """`12s`, `4m`, `6h`, `2d`: one unit, rounded down; never negative."""
    whole = max(0, int(seconds))
    for size, unit in _UNITS:
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def duration(seconds: float) -> str:
    """`40ms`, `4.1s`, `72s` as `1m 12s`, `2h 5m`: two units at most."""
    if seconds < 0:
        return "0ms"
    if seconds < 1:
        return f"{int(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s"


def iso(at: float) -> str:
    """RFC 3339 in UTC with milliseconds; "" for 0."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else ""


def clock(at: float) -> str:
    """The same for people: `2026-03-01 10:02:07 UTC`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else ""


def time_of_day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3] if at else ""


def short(commit_sha: str) -> str:
    return commit_sha[:7]


def link(address: str) -> str:
    """The address if it may be an href (http or https with a host), else "" (trap 33: `javascript:`)."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return address if parts.scheme in ("http", "https") and parts.hostname else ""


def image(image_id: str) -> str:
    """The first twelve digits of an image's digest, as docker prints them."""
    return image_id.removeprefix("sha256:")[:12]


def built(build: Job) -> str:
    """How long a build took; `…` while it runs."""
    return duration(build.ended_at - build.started_at) if build.ended_at else "…"


def in_words(found: Trend) -> str:
    return found.sentence(duration)


def took(deployment: Deployment, now: float) -> float:
    """Seconds from its creation until it was live or ended, or until `now` while it is open."""
    end = deployment.live_at or deployment.ended_at or now
    return max(0.0, end - deployment.created_at)


def stay(step: State, entered: Mapping[State, float], deployment: Deployment, now: float) -> str:
    """How long the deployment was, or is, in `step`; "" where it never was."""
    begun = entered.get(step, 0.0)
    if not begun:
        return ""
    later = [at for state, at in entered.items() if at >= begun and state is not step]
    until = now if deployment.state is step else min(later, default=deployment.ended_at or now)
    return age(until - begun) if step is State.LIVE else duration(until - begun)


def words(name: str) -> str:
    """`CreateContainer` as `create container`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def revision(text: str) -> str:
    """`main@<sha>` with the first seven digits of the sha."""
    branch, at, sha = text.rpartition("@")
    return f"{branch}{at}{sha[:7]}"


def bare(address: str) -> str:
    """An address without its scheme, as people say it."""
    return address.removeprefix("https://").removeprefix("http://").rstrip("/")


def capitalize_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def lead(status: ProjectStatus) -> Condition | None:
    """The first condition that speaks of trouble or of work; None where all is calm."""
    for condition in status.conditions:
        if (condition.status == "True") != (condition.type == "Ready"):
            return condition
    return None


def is_noteworthy(status: ProjectStatus) -> bool:
    """Whether there is more to say than its row in the overview holds."""
    facts = (lead(status), status.under_way, status.waiting, status.blocks, status.next_retry_at)
    return any(facts)


FILTERS = {
    "age": age,
    "bare": bare,
    "built": built,
    "capitalize_first": capitalize_first,
    "clock": clock,
    "duration": duration,
    "health_symbol": health_symbol,
    "image": image,
    "in_words": in_words,
    "iso": iso,
    "lead": lead,
    "link": link,
    "revision": revision,
    "short": short,
    "state_symbol": state_symbol,
    "time_of_day": time_of_day,
    "words": words,
}
