"""How values look as JSON under /api/: the fields of the frozen values, by their own names.

Called by the API. Times are Unix seconds, 0 where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from reconciler.model.job import Job
from reconciler.model.release import Deployment
from reconciler.model.status import ProjectStatus


def plain(value: object) -> Any:
    """A frozen value as JSON types: objects, lists, texts and numbers."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def job(found: Job) -> dict[str, Any]:
    """All fields but what it was about: of a build, that is the key that its image is named by."""
    whole: dict[str, Any] = plain(found)
    del whole["subject"]
    return whole


def status(found: ProjectStatus) -> dict[str, Any]:
    """All fields, and `headline`."""
    return {**plain(found), "headline": found.headline}


def deployment(found: Deployment) -> dict[str, Any]:
    """All fields, and `is_open`. `config` says in print what `run` says in values, so that is left away; and so are
    the keys that an image is named by: whoever knows its name can build upon it, and read what is in it.
    """
    whole: dict[str, Any] = plain(found)
    for name in ("run", "content_key", "source_key"):
        del whole[name]
    return {**whole, "is_open": found.is_open}
