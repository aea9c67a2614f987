"""Turns what is desired, observed and remembered of a project into one verdict in words.

One pass of `planner`; pure. Every status answers: what is, why, what next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from reconciler.model.condition import Condition, Health, Reason, Verdict, worst
from reconciler.model.observed import Container
from reconciler.model.operation import PLATFORM
from reconciler.model.plan import Waiting
from reconciler.model.release import Deployment, State
from reconciler.plan.containers import Repair
from reconciler.plan.ending import how_it_ended
from reconciler.plan.gates import CONFIRMATION
from reconciler.plan.opening import Opening, failed_attempt, is_tried_again
from reconciler.plan.view import View, identity


@dataclass(frozen=True)
class Planned:
    """What the other passes decided for the project: the verdict speaks about that too.

    `taken_over` is the name of a container that is adopted just now. `is_mended`: what failed may be tried again
    by now, and nothing wants it any more.
    """

    opening: Opening = field(default_factory=Opening)
    repair: Repair = field(default_factory=Repair)
    waiting: Waiting | None = None
    orphan: bool = False
    taken_over: str = ""
    is_mended: bool = False


def unknown(reason: Reason, message: str) -> Verdict:
    """Nothing is concluded from silence."""
    return Verdict(Health.UNKNOWN, (Condition("Ready", "Unknown", reason, message),))


def judge(view: View, planned: Planned) -> Verdict:
    """Health and conditions of one project; the condition that matters most leads."""
    parts = [
        *_gates(view, planned),
        *_spec(view),
        *_disk(view, planned),
        *_failed(view),
        *_trouble(view, planned),
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
        confirms = planned.waiting.gate == CONFIRMATION
        reason = Reason.WAITING_FOR_CONFIRMATION if confirms else Reason.WAITING_FOR_APPROVAL
        yield Health.PROGRESSING, Condition("Reconciling", "True", reason, planned.waiting.text)
    elif planned.orphan:
        message = f"projects/{view.project}.yaml left the platform repository; it is being removed"
        yield Health.PROGRESSING, Condition("Reconciling", "True", Reason.ORPHAN, message)
    if planned.opening.not_converging:
        fields = "; ".join(planned.opening.not_converging)
        message = f"put right and found changed again: {fields}. Something else changes this container"
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


def _failed(view: View) -> Iterable[Part]:
    """The newest deployment, where it ended badly and is what Git still asks."""
    last = failed_attempt(view)
    if last is None:
        return
    serving = f"r{view.past.live.release} still serves" if view.past.live else "nothing serves yet"
    if last.state is State.CANCELLED:
        message = (
            f"d{last.number} ({last.commit.sha[:7]}) was cancelled; {serving}. Push, or gitstead retry {view.project}"
        )
        health = Health.HEALTHY if view.past.live else Health.MISSING
        yield health, Condition("Stalled", "True", Reason.CANCELLED, message)
        return
    text = f"d{last.number} ({last.commit.sha[:7]}) failed: {last.message.rstrip('.')}; {serving}"
    if view.past.open is not None or is_tried_again(last):
        yield Health.DEGRADED, Condition("Reconciling", "True", Reason.RETRYING, f"{text}. It is tried again by itself")
        return
    reason = Reason(last.reason) if last.reason in set(Reason) else Reason.OPERATION_FAILED
    then = f"{(last.hint or 'Push a fix').rstrip('.')}, or gitstead retry {view.project}"
    yield Health.DEGRADED, Condition("Stalled", "True", reason, f"{text}. {then}")


def waits_for_disk(view: View, opening: Opening) -> bool:
    """Whether a build would begin if there were room for it."""
    now, problem = view.past.open, view.world.observed.disk_problem
    if not problem or now is None:
        return opening.lacks_disk
    return now.state in (State.QUEUED, State.BUILDING) and view.job(now.number, "build") is None


def _disk(view: View, planned: Planned) -> Iterable[Part]:
    if waits_for_disk(view, planned.opening):
        message = (
            f"nothing is built: {view.world.observed.disk_problem}; what runs goes on. Free space (gitstead doctor"
            " shows what takes it) or lower limits.disk_floor, and it goes on by itself"
        )
        yield Health.DEGRADED, Condition("Stalled", "True", Reason.DISK_LOW, message)


def _trouble(view: View, planned: Planned) -> Iterable[Part]:
    """An operation that failed, and none that went well since."""
    trouble = view.failure
    if trouble is None or planned.is_mended:
        return
    message = f"{trouble.resource}: {trouble.message}"
    if trouble.retryable:
        text = f"{message.rstrip('.')}. It is tried again by itself"
        yield Health.DEGRADED, Condition("Reconciling", "True", Reason.RETRYING, text)
        return
    reason = Reason(trouble.reason) if trouble.reason in set(Reason) else Reason.OPERATION_FAILED
    yield Health.DEGRADED, Condition("Stalled", "True", reason, message)


def _attempt(view: View) -> Iterable[Part]:
    now = view.past.open
    if now is not None:
        message = f"d{now.number} ({now.commit.sha[:7]}) is {now.state}: {now.cause_text}"
        if now.state is State.CHECKING and view.world.observed.routes is None:
            message += f"; the switch waits for Caddy ({view.world.observed.caddy_problem})"
        if now.state is State.QUEUED and not view.world.observed.disk_problem:
            builds = view.host.builds
            message += f"; it waits for its turn: {builds} build{'' if builds == 1 else 's'} at once on this host"
        health = Health.PROGRESSING
        yield health, Condition("Reconciling", "True", Reason.DEPLOYING, message)


def _serving(view: View, planned: Planned) -> Part:
    live = view.past.live
    if planned.taken_over:
        message = f"{planned.taken_over} runs and is taken over, untouched: this store did not know it"
        return Health.PROGRESSING, _not_ready(Reason.ADOPTED, message)
    if live is None:
        message = "no release has gone live yet"
        goes_on = view.past.open is not None or planned.waiting is not None
        return Health.PROGRESSING if goes_on else Health.MISSING, _not_ready(Reason.NEVER_DEPLOYED, message)
    container = view.container_of(live.number)
    blocked = planned.repair.blocked
    if container is None or blocked:
        what = f"the container of d{live.number} {'is gone' if container is None else 'cannot run'}"
        health = Health.MISSING if blocked else Health.PROGRESSING
        return health, _not_ready(Reason.REPAIRING, f"{what}{f' and is not put back: {blocked}' if blocked else ''}")
    if container.state == "restarting" or (planned.repair.due_at and len(view.past.repairs) > 2):
        return Health.DEGRADED, _not_ready(Reason.CRASH_LOOP, f"{how_it_ended(container)}, again and again")
    if container.state == "running":
        return _reached(view, live, container)
    then = "a fresh one takes its place" if container.state == "paused" else "it is started again"
    return Health.PROGRESSING, _not_ready(Reason.EXITED, f"{how_it_ended(container)}; {then}")


def _reached(view: View, live: Deployment, container: Container) -> Part:
    name = f"r{live.release} ({live.commit.sha[:7]})"
    if view.world.observed.routes is None:
        problem = view.world.observed.caddy_problem
        message = f"{name} runs; Caddy does not answer ({problem}) and serves what it has"
        return Health.UNKNOWN, Condition("Ready", "Unknown", Reason.CADDY_UNAVAILABLE, message)
    switching = view.past.open is not None and view.past.open.state is State.SWITCHING
    away = view.upstream != identity(container).port and not switching
    if away or view.missing_hosts:
        what = "its upstream file is wrong" if away else f"its route {view.missing_hosts[0]} is missing"
        return Health.PROGRESSING, _not_ready(
            Reason.REPAIRING, f"{name} runs; {what} and is being put back{_caddy(view)}"
        )
    reason = Reason.ADOPTED if live.cause_text.startswith("adopted") else Reason.LIVE
    return Health.HEALTHY, Condition("Ready", "True", reason, f"{name} serves{_subject(live)}")


def _caddy(view: View) -> str:
    """What keeps the routes back, if something does."""
    failure = view.world.history.last_failures.get(PLATFORM)
    return f"; the last try failed: {failure.message}" if failure else ""


def _subject(live: Deployment) -> str:
    parts = [f'"{live.commit.subject}"'] if live.commit.subject else []
    parts += [live.commit.author] if live.commit.author else []
    return f": {', '.join(parts)}" if parts else ""


def _not_ready(reason: Reason, message: str) -> Condition:
    return Condition("Ready", "False", reason, message)
