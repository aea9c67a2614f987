"""The plan: an ordered list of operations per project, its text and its digest.

Made by `plan.planner`, carried out by `apply.executor`, printed by `gitstead plan`.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.condition import Verdict
from reconciler.model.naming import digest
from reconciler.model.operation import Operation

Gate = str


@dataclass(frozen=True)
class Waiting:
    """A gate that holds a project's operations until a person approves `digest`."""

    project: str
    gate: Gate
    text: str
    digest: str


@dataclass(frozen=True)
class ProjectPlan:
    """`operations` in order, carried out up to the first failure; `project` "" = the platform's.

    `held` are operations that a gate keeps back, or that follow once the route is gone: shown, not applied.
    `wake_at` is the next time at which time alone changes this plan, `retry_at` the one at which
    what failed is tried again; 0 = none. `partial`: operations on a resource that failed are left
    out until `retry_at`, so that a run without an error is no proof that the failure is over.
    """

    project: str
    operations: tuple[Operation, ...] = ()
    verdict: Verdict | None = None
    waiting: Waiting | None = None
    held: tuple[Operation, ...] = ()
    notes: tuple[str, ...] = ()
    wake_at: float = 0.0
    retry_at: float = 0.0
    partial: bool = False

    @property
    def digest(self) -> str:
        """Over kind, resource and wanted values of the operations, eight hex digits shown."""
        return digest([operation.wanted() for operation in (*self.operations, *self.held)])


@dataclass(frozen=True)
class Plan:
    """`unknown` says what could not be read, so that nothing was concluded from it."""

    revision: str
    projects: tuple[ProjectPlan, ...]
    unknown: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not any(project.operations for project in self.projects)

    def of(self, project_name: str) -> ProjectPlan | None:
        return next((each for each in self.projects if each.project == project_name), None)

    @property
    def wake_at(self) -> float:
        return min((each.wake_at for each in self.projects if each.wake_at), default=0.0)


def render(plan: Plan) -> str:
    """The one text of a plan: test oracle, log, pull request, approval page, audit row."""
    lines: list[str] = []
    unchanged = 0
    for project in plan.projects:
        if not (project.operations or project.waiting or project.held):
            unchanged += bool(project.project)
            continue
        lines += _block(project)
    lines += [f"  unknown  {text}" for text in plan.unknown]
    if unchanged:
        lines.append(f"  {unchanged} project{'' if unchanged == 1 else 's'} unchanged")
    return "\n".join([f"platform {plan.revision or 'never read'}", *lines]) + "\n"


def _block(project: ProjectPlan) -> list[str]:
    lines: list[str] = []
    label = project.project or "platform"
    if project.waiting:
        lines.append(f"  {label}  waits    {project.waiting.text} (plan {project.waiting.digest[:8]})")
        label = " " * len(label)
    lines += _lines(label, project.operations)
    label = " " * len(label) if lines else label
    return lines + _lines(label, project.held, instead_of_kind="held" if project.waiting else "then")


def _lines(label: str, operations: tuple[Operation, ...], *, instead_of_kind: str = "") -> list[str]:
    lines: list[str] = []
    cause = None
    for operation in operations:
        if operation.cause != cause:
            cause = operation.cause
            lines.append(f"  {label}  {instead_of_kind or cause.kind:<8} {cause.text}")
            label = " " * len(label)
        lines.append(f"  {label}    {operation.verb:<12} {operation.sentence}")
    return lines
