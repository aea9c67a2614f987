"""Builds the row that page and CLI show of a project, out of one planning pass.

Called by the loop after `planner.plan`; pure. Holds no ages, so that an unchanged world gives an
equal row and nothing is written (invariant 11).
"""

from __future__ import annotations

from typing import TypedDict

from reconciler.model.condition import Condition, Reason
from reconciler.model.desired import Desired, DesiredProject
from reconciler.model.host import Host
from reconciler.model.observed import Container, Observed
from reconciler.model.plan import ProjectPlan
from reconciler.model.release import Deployment, History, State
from reconciler.model.status import ProjectStatus
from reconciler.plan.causes import size
from reconciler.plan.ownership import is_ours
from reconciler.plan.view import built_as, identity

_LONGEST_DOCKERFILE = 20_000


def status_of(
    plan: ProjectPlan, *, desired: Desired, observed: Observed, history: History, host: Host
) -> ProjectStatus:
    """The row for `plan.project`; `plan.verdict` must be there."""
    if plan.verdict is None:
        raise ValueError(f"no verdict on project {plan.project!r}")
    past = history.of(plan.project)
    wanted = desired.find(plan.project)
    live, under_way, last = past.live, past.open, past.last_ended
    container = _container(observed, history, host, project_name=plan.project, deployment=live.number) if live else None
    return ProjectStatus(
        project=plan.project,
        health=plan.verdict.health,
        conditions=plan.verdict.conditions,
        release=live.release if live else 0,
        deployment=live.number if live else 0,
        commit=live.commit.sha if live else "",
        subject=live.commit.subject if live else "",
        author=live.commit.author if live else "",
        since=live.live_at if live else 0.0,
        address=_address(wanted, host),
        under_way=under_way.number if under_way else 0,
        under_way_state=under_way.state if under_way else "",
        under_way_since=under_way.changed_at if under_way else 0.0,
        next_retry_at=plan.retry_at,
        waiting=plan.waiting.digest if plan.waiting else "",
        gate=plan.waiting.gate if plan.waiting else "",
        **_detected(wanted),
        desired=_desired_facts(wanted, desired),
        observed=_observed_facts(observed, container, plan.project),
        blocks=_blocks(plan),
        last_error=_last_error(last, plan.verdict.conditions),
    )


class _Recognised(TypedDict):
    detected: str
    evidence: tuple[str, ...]
    others: tuple[str, ...]
    dockerfile: str


def _detected(wanted: DesiredProject | None) -> _Recognised:
    """What the source was taken for, and what it is built with; all of it empty where it was not looked into."""
    detection = wanted.detection if wanted else None
    chosen = detection.chosen if detection else None
    if wanted is None or detection is None or chosen is None:
        return _Recognised(detected="", evidence=(), others=(), dockerfile="")
    others = tuple(f"{each.title}: {', '.join(each.evidence)} (build.type: {each.type})" for each in detection.others)
    dockerfile = wanted.dockerfile.text if wanted.dockerfile and wanted.dockerfile.text else ""
    return _Recognised(
        detected=chosen.title,
        evidence=(*chosen.evidence, *chosen.notes),
        others=others,
        dockerfile=dockerfile[:_LONGEST_DOCKERFILE],
    )


def _address(wanted: DesiredProject | None, host: Host) -> str:
    if wanted is None or not wanted.spec.domains:
        return ""
    port = "" if host.http_port == 80 else f":{host.http_port}"
    return f"http://{wanted.spec.domains[0]}{port}"


def _last_error(last: Deployment | None, conditions: tuple[Condition, ...]) -> str:
    """Of the newest deployment that failed, where no condition says it already."""
    if last is None or last.state is not State.FAILED:
        return ""
    is_told = any(last.message.rstrip(".") in each.message for each in conditions)
    return "" if is_told else f"d{last.number}: {last.message}"


def _blocks(plan: ProjectPlan) -> tuple[str, ...]:
    conditions = plan.verdict.conditions if plan.verdict else ()
    waits = (Reason.WAITING_FOR_APPROVAL, Reason.WAITING_FOR_CONFIRMATION)
    return tuple(each.message for each in conditions if each.type == "Stalled" or each.reason in waits)


def _desired_facts(wanted: DesiredProject | None, desired: Desired) -> dict[str, str]:
    if wanted is None:
        return {}
    spec = wanted.spec
    facts = {
        "platform": desired.revision,
        "source": f"{spec.source.repo} {spec.source.branch}"
        + ("" if spec.source.path == "." else f" {spec.source.path}"),
        "commit": f"{wanted.commit.sha[:7]} {wanted.commit.subject}".strip() if wanted.commit else "not read yet",
        "build": built_as(wanted),
        "domains": ", ".join(spec.domains),
        "health": f"GET {spec.health.path} within {spec.health.timeout_s:g}s",
    }
    return facts | dict(wanted.config)


def _observed_facts(observed: Observed, container: Container | None, project_name: str) -> dict[str, str]:
    """Under the keys of what is desired where both can be known, so that a page can set them side by side."""
    facts: dict[str, str] = {}
    if observed.engine is None:
        facts["engine"] = f"unknown: {observed.engine_problem}"
    if container is not None:
        settings = container.settings
        facts |= {
            "run.cpus": f"{settings.cpus:g}",
            "run.memory": size(settings.memory_bytes),
            "run.pids": str(settings.pids),
            "container": f"{container.name} {container.state}",
            "restarts": f"{container.restart_count} ({settings.restart_policy})",
        }
        facts["commit"] = identity(container).source_commit[:7]
    port = observed.upstreams.get(project_name)
    facts["upstream"] = f"127.0.0.1:{port}" if port else "none"
    if observed.routes is None:
        facts["domains"] = f"unknown: {observed.caddy_problem}"
    else:
        facts["domains"] = ", ".join(observed.routes.hosts_of(project_name)) or "none"
    return facts


def _container(
    observed: Observed, history: History, host: Host, *, project_name: str, deployment: int
) -> Container | None:
    for each in observed.engine.containers if observed.engine else ():
        who = each.identity
        if who is None or who.deployment != deployment or who.project != project_name:
            continue
        if is_ours(each, instance=host.instance, inventory=history.inventory):
            return each
    return None
