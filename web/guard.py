"""What every request must pass, and the headers that every answer carries.

Installed by `app.create_app`. It knows nothing of pages and reads no store.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket

from flask import Flask, Response, request
from werkzeug.sansio.utils import host_is_trusted

from reconciler.settings import Settings
from web.problems import Problem

MAX_BODY_BYTES = 16 * 1024
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def install(app: Flask, settings: Settings) -> None:
    """Refuse strange Host headers and bodies; put the security headers on every answer."""
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    names = _names(settings)

    def refuse() -> None:
        request.environ["gitstead.request_id"] = secrets.token_hex(8)
        host = request.headers.get("Host", "")
        if not (_is_address(host) or host_is_trusted(host, names)):
            raise Problem(
                400,
                f"this page is not served as {host!r}",
                expected="localhost, an IP address, or the name that it listens on",
                remedy="Use the address that gitstead up printed",
            )
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise Problem(413, "the request is too large", expected="no body at all", remedy="Send it without one")

    def protect(response: Response) -> Response:
        response.headers.update(_HEADERS)
        response.headers["X-Request-Id"] = request.environ.get("gitstead.request_id", "")
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    app.before_request(refuse)
    app.after_request(protect)


def _names(settings: Settings) -> tuple[str, ...]:
    """Names under which browsers may ask. A page that is rebound to us by DNS asks under its own."""
    names = ["localhost", ".localhost", socket.gethostname().lower(), settings.status_host.lower()]
    return tuple(name for name in names if name and name not in ("0.0.0.0", "::"))  # noqa: S104 - compared, not bound


def _is_address(host: str) -> bool:
    """An address cannot be rebound, so it is always fine; it may have a port."""
    bare = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return False
    return host_is_trusted(host)
