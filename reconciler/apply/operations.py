"""One function per operation: the outside call that it names, and nothing else.

Called by `executor` alone. A function returns what the journal should keep (a container id, …)
and raises one of `errors`. All are safe to repeat: what is already so is success.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reconciler.apply.effects import Effects
from reconciler.apply.jobs import Outcome
from reconciler.model import operation as ops
from reconciler.model.job import JobKey

Handler = Callable[[Effects, Any], str]
PRUNE_S = 600.0


def open_deployment(effects: Effects, op: ops.OpenDeployment) -> str:
    effects.records.open_deployment(op, effects.clock())
    return ""


def assign_release(effects: Effects, op: ops.AssignRelease) -> str:
    effects.records.assign_release(op, effects.clock())
    return f"r{op.release}"


def advance_deployment(effects: Effects, op: ops.AdvanceDeployment) -> str:
    effects.records.advance(op, effects.clock())
    return op.state


def mark_live(effects: Effects, op: ops.MarkLive) -> str:
    effects.records.mark_live(op, effects.clock())
    effects.jobs.forget(op.project, op.deployment)
    return ""


def end_deployment(effects: Effects, op: ops.EndDeployment) -> str:
    if op.container:
        effects.outputs.keep(op.project, op.deployment, op.container)
    effects.records.end(op, effects.clock())
    effects.jobs.forget(op.project, op.deployment)
    return op.reason


def retire_project(effects: Effects, op: ops.RetireProject) -> str:
    effects.records.retire_project(op, effects.clock())
    return ""


def adopt_deployment(effects: Effects, op: ops.AdoptDeployment) -> str:
    effects.records.adopt(op, effects.clock())
    effects.records.add_inventory(
        op.container_id,
        project_name=op.project,
        container_name=op.identity.container_name,
        adopted=True,
        now=effects.clock(),
    )
    return op.identity.container_name


def start_build(effects: Effects, op: ops.StartBuild) -> str:
    effects.jobs.start(
        JobKey(op.project, op.deployment, "build"),
        lambda cancel: effects.builds.build(op, cancel),
        subject=op.content_key,
        deadline_s=op.timeout_s,
    )
    return ""


def start_probe(effects: Effects, op: ops.StartProbe) -> str:
    effects.jobs.start(
        JobKey(op.project, op.deployment, "probe"),
        lambda cancel: effects.probes.probe(op, cancel),
        subject=op.subject,
        deadline_s=op.timeout_s,
    )
    return ""


def start_verify(effects: Effects, op: ops.StartVerify) -> str:
    effects.jobs.start(
        JobKey(op.project, op.deployment, "verify"),
        lambda cancel: effects.probes.verify(op, cancel),
        subject=op.subject,
        deadline_s=op.timeout_s,
    )
    return ""


def cancel_job(effects: Effects, op: ops.CancelJob) -> str:
    effects.jobs.cancel(JobKey(op.project, op.deployment, op.kind))
    return ""


def create_network(effects: Effects, op: ops.CreateNetwork) -> str:
    effects.engine.create_network(op.network, op.project)
    return op.network


def create_container(effects: Effects, op: ops.CreateContainer) -> str:
    secrets = {
        key: effects.secrets.open(sealed, kind="run-secret", project=op.project, key=key)
        for key, sealed in op.run.secrets.items()
    }
    container_id = effects.engine.create_container(op, secrets)
    _own(effects, op.project, container_id=container_id, container_name=op.identity.container_name)
    return container_id


def _own(effects: Effects, project_name: str, *, container_id: str, container_name: str) -> None:
    effects.records.add_inventory(
        container_id, project_name=project_name, container_name=container_name, adopted=False, now=effects.clock()
    )


def start_container(effects: Effects, op: ops.StartContainer) -> str:
    if op.container_id:  # a kill may have come between its creation and its row
        _own(effects, op.project, container_id=op.container_id, container_name=op.container)
    effects.engine.start(op.container_id or op.container)
    if op.cause.kind == "drift":
        effects.records.record_repair(op.project, effects.clock())
    return ""


def stop_container(effects: Effects, op: ops.StopContainer) -> str:
    def stop(_: object) -> Outcome:
        effects.engine.stop(op.container_id, grace_s=op.grace_s)
        return Outcome()

    key = JobKey(op.project, op.deployment, "stop")
    effects.jobs.start(key, stop, subject=op.container, deadline_s=op.grace_s)
    return ""


def remove_container(effects: Effects, op: ops.RemoveContainer) -> str:
    effects.engine.remove(op.container_id)
    effects.records.remove_inventory(op.container_id)
    return ""


def set_restart_policy(effects: Effects, op: ops.SetRestartPolicy) -> str:
    effects.engine.set_restart_policy(op.container_id, op.policy)
    return op.policy


def remove_network(effects: Effects, op: ops.RemoveNetwork) -> str:
    effects.engine.remove_network(op.network)
    return ""


def remove_image(effects: Effects, op: ops.RemoveImage) -> str:
    effects.engine.remove_image(op.image)
    return ""


def write_upstream(effects: Effects, op: ops.WriteUpstream) -> str:
    effects.upstreams.write(op.project, op.port)
    return str(op.port)


def remove_upstream(effects: Effects, op: ops.RemoveUpstream) -> str:
    effects.upstreams.remove(op.project)
    return ""


def put_routes(effects: Effects, op: ops.PutRoutes) -> str:
    effects.caddy.put(op.document)
    effects.records.save_routes_digest(op.document_digest)
    return op.document_digest


def prune_build_cache(effects: Effects, op: ops.PruneBuildCache) -> str:
    def prune(_: object) -> Outcome:
        effects.prune_cache(op.keep_bytes, op.unused_s)
        return Outcome()

    effects.jobs.start(JobKey(op.project, 0, "prune"), prune, subject=op.resource, deadline_s=PRUNE_S)
    return ""


HANDLERS: Mapping[type[ops.Operation], Handler] = {
    ops.OpenDeployment: open_deployment,
    ops.AssignRelease: assign_release,
    ops.AdvanceDeployment: advance_deployment,
    ops.MarkLive: mark_live,
    ops.EndDeployment: end_deployment,
    ops.RetireProject: retire_project,
    ops.AdoptDeployment: adopt_deployment,
    ops.StartBuild: start_build,
    ops.StartProbe: start_probe,
    ops.StartVerify: start_verify,
    ops.CancelJob: cancel_job,
    ops.CreateNetwork: create_network,
    ops.CreateContainer: create_container,
    ops.StartContainer: start_container,
    ops.StopContainer: stop_container,
    ops.RemoveContainer: remove_container,
    ops.SetRestartPolicy: set_restart_policy,
    ops.RemoveNetwork: remove_network,
    ops.RemoveImage: remove_image,
    ops.WriteUpstream: write_upstream,
    ops.RemoveUpstream: remove_upstream,
    ops.PutRoutes: put_routes,
    ops.PruneBuildCache: prune_build_cache,
}
