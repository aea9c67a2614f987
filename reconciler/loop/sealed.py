"""Tries the sealed values of a spec before anything is made of it, so that one that cannot be opened fails closed.

Called by `loop.sources` and `loop.preview`. Hands on marks alone; values are opened again where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.errors import SecretUnreadable
from reconciler.model.condition import Reason
from reconciler.model.desired import SourceProblem
from reconciler.model.effects import Secrets
from reconciler.model.spec import Location, ProjectSpec


def marks_of(spec: ProjectSpec, secrets: Secrets) -> Mapping[str, str] | SourceProblem:
    """Variable to mark for each of `run.secrets`; a problem naming file, line and key where one value is unreadable.

    `build.secrets` are tried too and give no mark: they are no part of what runs.
    """
    marks: dict[str, str] = {}
    sealed = [("run-secret", "run.secrets", key, text) for key, text in spec.run.secrets.items()]
    sealed += [("build-secret", "build.secrets", key, text) for key, text in spec.build.secrets.items()]
    for kind, place, key, text in sealed:
        try:
            mark = secrets.mark(text, kind=kind, project=spec.name, key=key)
        except SecretUnreadable as error:
            where = spec.locations.get(f"{place}.{key}", Location(f"projects/{spec.name}.yaml"))
            return SourceProblem(Reason.SECRET_UNREADABLE, f"{where} {error}")
        if kind == "run-secret":
            marks[key] = mark
    return marks
