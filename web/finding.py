"""Finds what an address names, or says what there is instead.

Called by the pages, the API and the streams. Values of an address are the text of strangers:
each is checked for form and size before it reaches the store.
"""

from __future__ import annotations

import difflib

from flask import request

from reconciler.model.condition import Health
from reconciler.model.naming import PROJECT_NAME
from reconciler.model.release import Deployment
from reconciler.model.status import ProjectStatus
from web.problems import Problem
from web.store import store

HIGHEST = 2**31 - 1
_SHOWN_NAMES = 20


def project(project_name: str) -> ProjectStatus:
    """Its status; one without conditions where the project left Git and only its history is kept. 404 otherwise."""
    if PROJECT_NAME.match(project_name):
        status = store().queries.status(project_name)
        if status is not None:
            return status
        if store().queries.deployments(project_name, limit=1):
            return ProjectStatus(project_name, Health.MISSING, ())
    raise _unknown_project(project_name)


def is_gone(status: ProjectStatus) -> bool:
    """The project left Git; its history alone is there."""
    return status.health is Health.MISSING and not status.conditions


def deployment(project_name: str, number: int) -> Deployment:
    """404 where there is none of that number."""
    if PROJECT_NAME.match(project_name) and 0 < number <= HIGHEST:
        found = store().queries.deployment(project_name, number)
        if found is not None:
            return found
    newest = store().queries.deployments(project(project_name).project, limit=1)
    expected = f"a number from 1 to {newest[0].number}" if newest else "a first deployment; there is none yet"
    raise Problem(
        404,
        f"{project_name} has no deployment {number}",
        expected=expected,
        remedy=f"See /projects/{project_name} for all of them",
    )


def number(name: str, default: int, *, lowest: int = 0, highest: int = HIGHEST) -> int:
    """A whole number of the query string; 400 where it is another thing or out of range."""
    text = request.args.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) < 11 and lowest <= int(text) <= highest:
        return int(text)
    raise Problem(
        400,
        f"{name} is {text[:40]!r}",
        expected=f"a whole number from {lowest} to {highest}",
        remedy=f"Leave {name} away, or correct it",
    )


def _unknown_project(project_name: str) -> Problem:
    names = [status.project for status in store().queries.statuses()]
    if not names:
        there = "there is no project yet"
    else:
        rest = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        there = f"one of: {', '.join(names[:_SHOWN_NAMES])}{rest}"
    near = difflib.get_close_matches(project_name, names, n=1)
    remedy = f"Did you mean {near[0]}? " if near else ""
    return Problem(
        404,
        f"there is no project {project_name[:60]!r}",
        expected=there,
        remedy=f"{remedy}A file projects/<name>.yaml in the platform repository makes one",
    )
