"""Asks the demo's apps and its page what a visitor would ask, and says whether the answer is theirs.

Called by `watching`. Only reads; each question takes at most a few seconds.
"""

from __future__ import annotations

import http.client

from reconciler.settings import Settings

TIMEOUT_S = 3.0
_ENOUGH = 65536


def app_answers(settings: Settings, name: str) -> str:
    """ "" where `<name>.localhost` answers through Caddy with the example's own page, else what it did instead."""
    status, body = _get(settings.listen_host, settings.http_port, f"{name}.localhost:{settings.http_port}", "/")
    where = f"http://{name}.localhost:{settings.http_port}"
    if status != 200:
        return f"{where} answers {status or 'nothing'} ({body.strip()[:200] or 'no text'})"
    if f'name="gitstead-example" content="{name}"' not in body:
        return f"{where} answers 200, but with another page than the example's (its mark {name} is not in it)"
    return ""


def page_answers(settings: Settings) -> str:
    """ "" where the status page lists every project it knows as it should, else what it did instead."""
    where = f"{settings.status_host}:{settings.status_port}"
    status, body = _get(settings.status_host, settings.status_port, where, "/healthz")
    return "" if status == 200 else f"the status page http://{where} answers {status or 'nothing'} ({body[:200]})"


def _get(host: str, port: int, name: str, path: str) -> tuple[int, str]:
    """(status, text) of one GET; (0, reason) where no answer came."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"Host": name, "Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read(_ENOUGH).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()
