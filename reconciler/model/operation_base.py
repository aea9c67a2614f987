"""What every operation is: a frozen value with a resource, a cause and a sentence.

Used by the modules beside it that define the operations; everybody else imports `model.operation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

from reconciler.model.release import CauseKind

PLATFORM = ""


@dataclass(frozen=True)
class Cause:
    """Why an operation is there: Git moved (`change`), the world moved (`drift`), a person asked."""

    kind: CauseKind
    text: str


@dataclass(frozen=True, kw_only=True)
class Operation:
    """`project` is "" for what belongs to the platform itself.

    `volatile` names the fields that a digest leaves out: ports, container ids, times, numbers.
    """

    verb: ClassVar[str] = "?"
    volatile: ClassVar[frozenset[str]] = frozenset({"cause"})

    project: str
    cause: Cause
    deployment: int = 0

    @property
    def name(self) -> str:
        """The operation's kind, e.g. `CreateContainer`: journal, failpoints and metrics use it."""
        return type(self).__name__

    @property
    def resource(self) -> str:
        """What it acts on, stable from one attempt to the next."""
        return self.project or "platform"

    @property
    def sentence(self) -> str:
        """What a person reads behind the verb."""
        return self.resource

    def wanted(self) -> dict[str, object]:
        """What the digest of a plan covers."""
        hidden = self.volatile | {"cause", "deployment"}
        values: dict[str, object] = {"kind": self.name, "resource": self.resource}
        for each in fields(self):
            if each.name not in hidden:
                values[each.name] = _plain(getattr(self, each.name))
        return values


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | frozenset):
        items = [_plain(item) for item in value]
        return sorted(items, key=str) if isinstance(value, frozenset) else items
    if hasattr(value, "__dataclass_fields__"):
        return {each: _plain(getattr(value, each)) for each in value.__dataclass_fields__}
    return value
