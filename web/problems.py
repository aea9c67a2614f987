"""Turns everything that can go wrong into one readable answer: JSON for programs, a page for people.

Called by Flask's error handling. It never shows a traceback, and it is the only module of the web
that looks at vendors' errors.
"""

from __future__ import annotations

from http import HTTPStatus

import structlog
from flask import Flask, Response, jsonify, make_response, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from reconciler.errors import GitsteadError, StoreBusy

RETRY_AFTER_S = 5
_log = structlog.get_logger()

_KNOWN = {
    400: ("this request cannot be understood", "an address as the pages link to it", "Go back to the overview"),
    404: ("there is nothing at {path}", "the address of a project or deployment", "Start at the overview"),
    405: ("{method} is not possible at {path}", "GET: this page only shows", "Change things in Git"),
    413: ("the request is too large", "no body at all", "Send it without one"),
}


class Problem(Exception):
    """An answer other than 200: what was asked for (with the value), what was expected, what to do."""

    def __init__(self, status: int, what: str, *, expected: str = "", remedy: str = "") -> None:
        self.status = status
        self.what = what
        self.expected = expected
        self.remedy = remedy
        super().__init__(what)

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase


def install(app: Flask) -> None:
    """Every error of `app` is answered by this module."""
    app.register_error_handler(Problem, answer)
    app.register_error_handler(GitsteadError, _of_ours)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, _unexpected)


def answer(problem: Problem) -> ResponseReturnValue:
    """JSON under /api/ and for /healthz, a page everywhere else; never kept by a cache."""
    response = _body(problem)
    response.status_code = problem.status
    response.headers["Cache-Control"] = "no-store"
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = "GET, HEAD"
    return response


def _body(problem: Problem) -> Response:
    if request.path.startswith("/api/") or request.path == "/healthz":
        facts = {"what": problem.what, "expected": problem.expected, "remedy": problem.remedy}
        return jsonify({"error": facts})
    return make_response(render_template("problem.html", problem=problem))


def _of_ours(error: GitsteadError) -> ResponseReturnValue:
    """The store cannot be read: for now (busy) or until somebody acts."""
    what = "the store is busy" if isinstance(error, StoreBusy) else "the store cannot be read"
    _log.warning("page.store_failed", path=request.path, reason=error.reason, message=str(error))
    return answer(
        Problem(503, f"{what}: {error.what}", expected=error.expected, remedy=error.remedy or "It is tried again")
    )


def _of_http(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    if 300 <= status < 400:
        return error.get_response()
    what, expected, remedy = _KNOWN.get(status, (f"the answer is {status} {error.name}", "", "Start at the overview"))
    facts = {"path": request.path, "method": request.method}
    return answer(Problem(status, what.format(**facts), expected=expected, remedy=remedy))


def _unexpected(error: Exception) -> ResponseReturnValue:
    """A fault of ours: the log has the traceback, the page has the number to look for."""
    request_id = request.environ.get("gitstead.request_id", "")
    _log.error("page.failed", path=request.path, request_id=request_id, exc_info=error)
    return answer(
        Problem(
            500,
            "this page could not be made: a fault in Gitstead",
            remedy=f"Try again; if it stays, look for request_id={request_id} in the log of the web and report it",
        )
    )
