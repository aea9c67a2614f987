"""Fills in every default and turns checked documents into specs, specs and sources into desired projects.

Called by `validation` (documents that the schema accepts) and by the loop (`desired_project`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from reconciler.desired import run_view
from reconciler.desired.documents import Document
from reconciler.desired.schema_check import dotted
from reconciler.desired.units import parse_duration, parse_size
from reconciler.model.desired import DesiredProject, Dockerfile, SourceProblem
from reconciler.model.detection import Detected, Detection
from reconciler.model.naming import digest
from reconciler.model.release import Commit
from reconciler.model.spec import (
    BuildSpec,
    CredentialSpec,
    DeploySpec,
    HealthSpec,
    PlatformSpec,
    ProjectSpec,
    RunSpec,
    SourceSpec,
)

_NO_MARKS: Mapping[str, str] = MappingProxyType({})


def resolve_platform(document: Document) -> PlatformSpec:
    """The platform of a document that `platform.schema.json` accepts."""
    value: Mapping[str, Any] = document.value
    given = PlatformSpec()
    defaults = _run(value.get("defaults", {}).get("run", {}), given.defaults, {})
    credentials = {name: _credential(name, each) for name, each in sorted(value.get("credentials", {}).items())}
    return PlatformSpec(
        domain=value.get("domain", given.domain),
        defaults=defaults,
        credentials=MappingProxyType(credentials),
        known_hosts=tuple(value.get("known_hosts", [])),
        submodule_hosts=tuple(value.get("submodule_hosts", [])),
    )


def _credential(name: str, value: Mapping[str, Any]) -> CredentialSpec:
    return CredentialSpec(
        name=name,
        kind=value["kind"],
        host=value["host"],
        sealed=value["value"],
        username=value.get("username", "git"),
        projects=tuple(sorted(value.get("projects", []))),
    )


def resolve_project(project_name: str, document: Document, platform: PlatformSpec, *, blob: str) -> ProjectSpec:
    """The project of a document that `project.schema.json` accepts; `blob` is the file's Git object id."""
    value: Mapping[str, Any] = document.value
    numbers = _numbers(document, "run", "env")
    return ProjectSpec(
        name=project_name,
        blob=blob,
        source=SourceSpec(**value["source"] | {"watch": tuple(value["source"].get("watch", []))}),
        build=_build(value.get("build", {}), _numbers(document, "build", "args")),
        run=_run(value.get("run", {}), platform.defaults, numbers),
        health=_health(value.get("health", {})),
        deploy=_deploy(value.get("deploy", {})),
        domains=tuple(value.get("domains", [])) or (default_domain(project_name, platform),),
        locations=MappingProxyType({dotted(path): document.location(path) for path in document.places if path}),
    )


def _numbers(document: Document, *path: str) -> Mapping[str, str]:
    """Numbers below `path` as they were written, since 1.10 is not 1.1."""
    return {str(each[-1]): text for each, text in document.numbers.items() if each[:-1] == path}


def default_domain(project_name: str, platform: PlatformSpec) -> str:
    """Where a project without domains answers."""
    return f"{project_name}.{platform.domain}"


def _run(value: Mapping[str, Any], defaults: RunSpec, numbers: Mapping[str, str]) -> RunSpec:
    env = {key: numbers.get(key, str(text)) for key, text in sorted(value.get("env", {}).items())}
    return RunSpec(
        port=value.get("port", defaults.port),
        memory_bytes=parse_size(value["memory"]) if "memory" in value else defaults.memory_bytes,
        cpus=float(value.get("cpus", defaults.cpus)),
        pids=value.get("pids", defaults.pids),
        env=MappingProxyType(env),
        secrets=MappingProxyType(dict(sorted(value.get("secrets", {}).items()))),
        capabilities=tuple(sorted(value.get("capabilities", []))),
        command=tuple(value.get("command", [])),
    )


def _build(value: Mapping[str, Any], numbers: Mapping[str, str]) -> BuildSpec:
    given = BuildSpec()
    args = {key: numbers.get(key, str(text)) for key, text in sorted(value.get("args", {}).items())}
    return BuildSpec(
        type=value.get("type", given.type),
        args=MappingProxyType(args),
        secrets=MappingProxyType(dict(sorted(value.get("secrets", {}).items()))),
        timeout_s=_seconds(value, "timeout", given.timeout_s),
        dockerfile=value.get("dockerfile", given.dockerfile),
    )


def _health(value: Mapping[str, Any]) -> HealthSpec:
    given = HealthSpec()
    return HealthSpec(
        path=value.get("path", given.path),
        timeout_s=_seconds(value, "timeout", given.timeout_s),
        interval_s=_seconds(value, "interval", given.interval_s),
    )


def _deploy(value: Mapping[str, Any]) -> DeploySpec:
    given = DeploySpec()
    return DeploySpec(
        rollback_window_s=_seconds(value, "rollback_window", given.rollback_window_s),
        drain_s=_seconds(value, "drain", given.drain_s),
    )


def _seconds(value: Mapping[str, Any], key: str, default_s: float) -> float:
    return parse_duration(value[key]) if key in value else default_s


def source_key(spec: ProjectSpec, tree_id: str, detected: Detected | None = None) -> str:
    """Digest of what of Git goes into the image: the tree and how it is built.

    The type is what the source was recognised as, so that writing a detected type into the spec builds nothing.
    Leaves out the text of generated Dockerfiles and the images that they begin from, so that an upgrade of
    Gitstead or of a base deploys nothing by itself.
    """
    build_type = detected.type if detected else spec.build.type
    dockerfile = spec.build.dockerfile if build_type == "dockerfile" else ""
    args = {"args": dict(spec.build.args)} if spec.build.args else {}
    return digest({"tree": tree_id, "type": build_type, "dockerfile": dockerfile, **args})


def desired_project(
    spec: ProjectSpec,
    commit: Commit | None,
    dockerfile: Dockerfile | SourceProblem | None = None,
    *,
    source_problem: SourceProblem | None = None,
    stale: bool = False,
    marks: Mapping[str, str] = _NO_MARKS,
    detection: Detection | None = None,
) -> DesiredProject:
    """What should run of one project.

    `commit` is the newest usable one, with its `tree`; None while the source was never read. `dockerfile` is
    what `dockerfiles.dockerfile_for` made of it. A source problem keeps the project from being built, not
    from running on. `marks` are those of `run.secrets`, by name. `detection` is what the source was recognised as.
    """
    problem = source_problem or (dockerfile if isinstance(dockerfile, SourceProblem) else None)
    if commit is None:
        return DesiredProject(spec, source_problem=problem, stale=stale)
    return DesiredProject(
        spec=spec,
        commit=commit,
        dockerfile=dockerfile if isinstance(dockerfile, Dockerfile) else None,
        source_key=source_key(spec, commit.tree, detection.chosen if detection else None),
        config_digest=run_view.config_digest(spec.run, marks),
        config=run_view.config_view(spec.run, marks),
        source_problem=problem,
        stale=stale,
        detection=detection,
    )
