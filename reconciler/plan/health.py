"""Turns what is desired, observed and remembered of a project into one verdict in words.

One pass of `planner`; pure. Every status answers: what is, why, what next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from reconciler.model.condition import Condition, Health, Reason, Verdict, worst
from reconciler.model.observed import Container, Observed
from reconciler.model.operation import Operation
from reconciler.model.plan import Waiting
from reconciler.model.release import Deployment, State
from reconciler.plan.opening import Opening
from reconciler.plan.rollout import how_it_ended
from reconciler.plan.view import View, keys_of, wanted_keys


@dataclass(frozen=True)
class Planned:
    """What the other passes decided for the project: the verdict speaks about that too."""

    operations: tuple[Operation, ...] = ()
    opening: Opening = field(default_factory=Opening)
    waiting: Waiting | None = None
    orphan: bool = False
    repair_due_at: float = 0.0


def unknown(reason: Reason, message: str) -> Verdict:
    """Nothing is concluded from silence."""
    return Verdict(Health.UNKNOWN, (Condition("Ready", "Unknown", reason, message),))


def judge(view: View, planned: Planned) -> Verdict:
    """Health and conditions of one project; the condition that matters most leads."""
    parts = [
        *_gates(view, planned),
        *_spec(view),
        *_failure(view, planned),
        *_attempt(view),
        *_source(view),
        _serving(view, planned),
    ]
    health = worst(tuple(health for health, _ in parts))
    order = sorted(parts, key=lambda part: -part[0].rank)
    return Verdict(health, tuple(condition for _, condition in order))


Part = tuple[Health, Condition]


def _gates(view: View, planned: Planned) -> Iterable[Part]:
    if planned.waiting is not None:
        yield (
            Health.PROGRESSING,
            Condition("Reconciling", "True", Reason.WAITING_FOR_APPROVAL, planned.waiting.text),
        )
    elif planned.orphan:
        message = f"projects/{view.project}.yaml left the platform repository; it is being removed"
        yield Health.PROGRESSING, Condition("Reconciling", "True", Reason.ORPHAN, message)
    if planned.opening.not_converging:
        fields = "; ".join(planned.opening.not_converging)
        message = f"put right a minute ago and found changed again: {fields}. Something else changes this container"
        yield Health.DEGRADED, Condition("Stalled", "True", Reason.NOT_CONVERGING, message)


def _spec(view: View) -> Iterable[Part]:
    problems = [each for each in view.world.desired.diagnostics if each.project == view.project]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        holds = "the last good spec holds" if view.desired else "what runs is left as it is"
        message = f"{problems[0]}{more}; {holds}"
        yield Health.DEGRADED, Condition("Stalled", "True", Reason.SPEC_INVALID, message)


def _source(view: View) -> Iterable[Part]:
    problem = view.desired.source_problem if view.desired else None
    if problem is not None:
        health = Health.DEGRADED if view.past.live is None else Health.HEALTHY
        yield health, Condition("Stalled", "True", problem.reason, problem.message)


def _failure(view: View, planned: Planned) -> Iterable[Part]:
    """The newest deployment that ended badly for what Git still asks, and failed operations."""
    last = view.past.last_ended
    if last is not None and last.state is State.FAILED and view.desired and keys_of(last) == wanted_keys(view.desired):
        yield Health.DEGRADED, _failed_condition(view, last, planned)
    trouble = view.world.history.last_failures.get(view.project)
    if trouble is not None and not view.past.open:
        kind: Reason = Reason(trouble.reason) if trouble.reason in set(Reason) else Reason.OPERATION_FAILED
        message = f"{trouble.resource}: {trouble.message}"
        yield Health.DEGRADED, Condition("Stalled", "False" if trouble.retryable else "True", kind, message)


def _failed_condition(view: View, last: Deployment, planned: Planned) -> Condition:
    serving = f"r{view.past.live.release} still serves" if view.past.live else "nothing serves yet"
    text = f"d{last.number} ({last.commit.sha[:7]}) failed: {last.message.rstrip('.')}; {serving}"
    if last.retryable and not view.past.open:
        wait = max(planned.opening.due_at - view.now, 0.0)
        return Condition("Reconciling", "True", Reason.RETRYING, f"{text}. Tried again within {_round(wait)}")
    reason = Reason(last.reason) if last.reason in set(Reason) else Reason.OPERATION_FAILED
    return Condition("Stalled", "True", reason, f"{text}. {last.hint or 'Push a fix'}")


def _round(seconds: float) -> str:
    """Coarse on purpose: a status row that changes each second would be written each second."""
    for limit, text in ((2, "2s"), (5, "5s"), (15, "15s"), (60, "a minute"), (300, "5 minutes")):
        if seconds <= limit:
            return text
    return "15 minutes"


def _attempt(view: View) -> Iterable[Part]:
    now = view.past.open
    if now is not None:
        message = f"d{now.number} ({now.commit.sha[:7]}) is {now.state}: {now.cause_text}"
        if now.state is State.CHECKING and view.world.observed.routes is None:
            message += f"; the switch waits for Caddy ({view.world.observed.caddy_problem})"
        health = Health.PROGRESSING
        yield health, Condition("Reconciling", "True", Reason.DEPLOYING, message)


def _serving(view: View, planned: Planned) -> Part:
    live = view.past.live
    if live is None:
        message = "no release has gone live yet"
        return Health.MISSING if not view.past.open else Health.PROGRESSING, _not_ready(Reason.NEVER_DEPLOYED, message)
    container = view.container_of(live.number)
    if container is None:
        return Health.PROGRESSING, _not_ready(Reason.REPAIRING, f"the container of d{live.number} is gone")
    if container.state == "restarting" or (planned.repair_due_at and len(view.past.repairs) > 2):
        return Health.DEGRADED, _not_ready(Reason.CRASH_LOOP, f"{how_it_ended(container)}, again and again")
    if container.state != "running":
        return Health.PROGRESSING, _not_ready(Reason.EXITED, f"{how_it_ended(container)}; it is started again")
    return _reached(view, live, container)


def _reached(view: View, live: Deployment, container: Container) -> Part:
    observed: Observed = view.world.observed
    name = f"r{live.release} ({live.commit.sha[:7]})"
    if observed.routes is None:
        message = f"{name} runs; Caddy does not answer ({observed.caddy_problem}) and serves what it has"
        return Health.UNKNOWN, Condition("Ready", "Unknown", Reason.CADDY_UNAVAILABLE, message)
    hosts = {host for host, project in observed.routes.hosts if project == view.project}
    missing = [host for host in (view.desired.spec.domains if view.desired else ()) if host not in hosts]
    if view.served_by is None or missing:
        what = f"its route {missing[0]} is missing" if missing else "its upstream file is missing"
        return Health.PROGRESSING, _not_ready(Reason.REPAIRING, f"{name} runs; {what} and is being put back")
    reason = Reason.ADOPTED if live.cause_text.startswith("adopted") else Reason.LIVE
    return Health.HEALTHY, Condition("Ready", "True", reason, f"{name} serves{_subject(live)}")


def _subject(live: Deployment) -> str:
    parts = [f'"{live.commit.subject}"'] if live.commit.subject else []
    parts += [live.commit.author] if live.commit.author else []
    return f": {', '.join(parts)}" if parts else ""


def _not_ready(reason: Reason, message: str) -> Condition:
    return Condition("Ready", "False", reason, message)
