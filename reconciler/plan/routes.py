"""Builds our part of Caddy's configuration: one subroute that maps host names to upstream files.

Called by the planner, which compares `document_digest` with what Caddy shows and hands the document
to `PutRoutes`. Pure: no I/O, no clock. It must not hold anything that changes with a deployment: the
port that a project answers on is in its upstream file, which Caddy reads on each request.

Every plain project shares the one mapped route. Nothing of a single project may be put on it: passive
health or a limit there would answer 503 for all of them. A host that is not in the map falls through
the subroute untouched, so that in somebody else's server their routes go on as before.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable

from reconciler.model.host import Host
from reconciler.model.naming import PROJECT_NAME, caddy_id, digest

VERIFY_HEADER = "Gitstead-Verify"
UPSTREAM_HEADER = "Gitstead-Upstream"

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\Z")
_FOLDER = re.compile(r"/[^{}\\\x00-\x1f\x7f]*\Z")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\Z")

_PROJECT = "{gitstead_project}"
_MAPPED_DIAL = "{gitstead_dial}"
_DIAL = "{http.vars.gitstead_dial}"

UNAVAILABLE_PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{_PROJECT} does not answer</title></head>
<body style="font:1.1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem">
<h1>{_PROJECT} does not answer right now</h1>
<p>The address is right and this server is up, but nothing answered where {_PROJECT} should run.
As a rule it is back within seconds: try again in a moment.</p>
<p>If you look after it: <code>gitstead status {_PROJECT}</code> says why.</p>
</body></html>
"""


def route_document(host: Host, hosts: Iterable[tuple[str, str]]) -> dict[str, object]:
    """The one route to put into Caddy; `hosts` are pairs of host name and project.

    Equal sets of pairs give equal documents. Raises `ValueError` for a value that must not reach
    Caddy, where braces are placeholders that read files and the environment: `desired` refuses
    these long before, with the place in the YAML.
    """
    if not _FOLDER.match(host.upstreams_folder):
        raise ValueError(f"upstreams folder {host.upstreams_folder!r}: an absolute path without braces is needed")
    if not _TOKEN.match(host.verify_token):
        raise ValueError("the verify token must be of letters, digits, '-' and '_'")
    mappings = [_mapping(host, name, project) for name, project in _checked(hosts)]
    routes = [
        _lower_case_host(),
        _map(mappings),
        _where_set(_DIAL, {"handler": "subroute", "routes": [_tell_upstream(host.verify_token), _proxy()]}),
        _where_set(_PROJECT, {"handler": "error", "status_code": 502, "error": "no upstream file"}),
    ]
    subroute = {"handler": "subroute", "routes": routes, "errors": {"routes": _error_routes()}}
    return {"@id": caddy_id(host.instance), "handle": [subroute]}


def is_host_name(name: str) -> bool:
    """Whether the name may stand in the document; what a person wrote into Caddy may not be one."""
    return bool(_HOST_NAME.match(name))


def document_digest(document: object) -> str:
    """Digest of the document; that of what Caddy returns for it is the same."""
    return digest(document)


def _checked(hosts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs in order of host; one host twice would make Caddy refuse the whole configuration."""
    pairs = sorted(hosts)
    seen: set[str] = set()
    for name, project in pairs:
        if not is_host_name(name):
            raise ValueError(f"host name {name!r}: expected lower-case labels of a-z, 0-9, '-' and '_' joined by dots")
        if not PROJECT_NAME.match(project):
            raise ValueError(f"project name {project!r}: expected {PROJECT_NAME.pattern}")
        if name in seen:
            raise ValueError(f"host name {name!r} is given twice")
        seen.add(name)
    return pairs


def _mapping(host: Host, name: str, project_name: str) -> dict[str, object]:
    upstream = f"{{file.{host.upstreams_folder.rstrip('/')}/{project_name}/current}}"
    return {"input": name, "outputs": [project_name, upstream]}


def _lower_case_host() -> dict[str, object]:
    """Host names know no case, but `map` does; only requests with odd spelling pay for it."""
    letters = [{"search": letter.upper(), "replace": letter} for letter in string.ascii_lowercase]
    final_dot = {"search_regexp": r"\.(:[0-9]+)?$", "replace": "$1"}
    return {
        "match": [{"header_regexp": {"Host": {"pattern": r"[A-Z]|\.(:[0-9]+)?$"}}}],
        "handle": [{"handler": "headers", "request": {"replace": {"Host": [*letters, final_dot]}}}],
    }


def _map(mappings: list[dict[str, object]]) -> dict[str, object]:
    """Two outputs, so that an unknown host and a project whose file is missing stay two things.

    Each look at an output goes through the list in line and reads the file again: the variable makes
    it one look for each request.
    """
    mapped = {
        "handler": "map",
        "source": "{http.request.host}",
        "destinations": [_PROJECT, _MAPPED_DIAL],
        "defaults": ["", ""],
        "mappings": mappings,
    }
    return {"handle": [mapped, {"handler": "vars", "gitstead_dial": _MAPPED_DIAL}]}


def _where_set(placeholder: str, handler: dict[str, object]) -> dict[str, object]:
    return {"match": [{"not": [{"vars": {placeholder: [""]}}]}], "handle": [handler]}


def _tell_upstream(token: str) -> dict[str, object]:
    """Deferred, so that it is set when the answer is known and wins over what an app claims."""
    header = {"deferred": True, "set": {UPSTREAM_HEADER: ["{http.reverse_proxy.upstream.hostport}"]}}
    return {
        "match": [{"header": {VERIFY_HEADER: [token]}}],
        "handle": [{"handler": "headers", "response": header}],
    }


def _proxy() -> dict[str, object]:
    return {
        "handle": [
            {
                "handler": "reverse_proxy",
                "upstreams": [{"dial": _DIAL}],
                "stream_close_delay": "1h",
                "headers": {
                    "request": {"delete": [VERIFY_HEADER]},
                    "response": {"delete": [UPSTREAM_HEADER]},
                },
            }
        ],
    }


def _error_routes() -> list[dict[str, object]]:
    """A page for an upstream that is dead, slow or has no file; the bare status for the rest."""
    page: dict[str, object] = {
        "handler": "static_response",
        "status_code": "{http.error.status_code}",
        "headers": {
            "Content-Type": ["text/html; charset=utf-8"],
            "Cache-Control": ["no-store"],
            "Retry-After": ["5"],
        },
        "body": UNAVAILABLE_PAGE,
    }
    return [
        {"match": [{"vars": {"{http.error.status_code}": ["502", "503", "504"]}}], "handle": [page]},
        {"handle": [{"handler": "static_response", "status_code": "{http.error.status_code}"}]},
    ]
