"""Run settings as a digest and in printable form, and the sentence that says how they changed.

Called by `resolution`, the planner's callers and whoever prints a change. Pure.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from types import MappingProxyType

from reconciler.desired.units import format_size
from reconciler.model.naming import digest
from reconciler.model.spec import RunSpec

_SECRET_NAME = re.compile(
    r"(?:\A|_)(?:PASSWORD|PASSWD|PWD|SECRET|TOKEN|CREDENTIALS?|(?:API|PRIVATE|SECRET|ACCESS)_?KEY)(?:_|\Z)"
)
_SHOWN = 200
_NO_MARKS: Mapping[str, str] = MappingProxyType({})


def config_digest(run: RunSpec, marks: Mapping[str, str] = _NO_MARKS) -> str:
    """Digest of everything that a container is created with; equal settings give equal digests.

    `marks` stand for what is sealed: sealing the same value again changes nothing.
    """
    settings = {
        "port": run.port,
        "memory": run.memory_bytes,
        "cpus": run.cpus,
        "pids": run.pids,
        "env": dict(run.env),
        "capabilities": sorted(run.capabilities),
        "command": list(run.command),
    }
    return digest(settings | ({"secrets": dict(marks)} if marks else {}))


def config_view(run: RunSpec, marks: Mapping[str, str] = _NO_MARKS) -> tuple[tuple[str, str], ...]:
    """(dotted key, text) of each setting, in the order of the reference.

    The value of a variable whose name speaks of a secret is not in it, only a mark that changes with it.
    """
    pairs = [
        ("run.port", str(run.port)),
        ("run.memory", format_size(run.memory_bytes)),
        ("run.cpus", f"{run.cpus:.10g}"),
        ("run.pids", str(run.pids)),
        *((f"run.env.{key}", _shown(key, value)) for key, value in sorted(run.env.items())),
        *((f"run.secrets.{key}", f"(sealed, {mark})") for key, mark in sorted(marks.items())),
    ]
    if run.capabilities:
        pairs.append(("run.capabilities", ", ".join(run.capabilities)))
    if run.command:
        pairs.append(("run.command", shlex.join(run.command)))
    return tuple(pairs)


def looks_secret(variable: str) -> bool:
    """Whether a variable's name says that its value should not stand in Git."""
    return bool(_SECRET_NAME.search(variable.upper()))


def _shown(key: str, value: str) -> str:
    mark = hashlib.sha256(value.encode()).hexdigest()[:4]
    if looks_secret(key):
        return f"(hidden, {mark})"
    return value if len(value) <= _SHOWN else f"{value[: _SHOWN - 8]}… ({mark})"
