"""Sets the templates up: filters, the words of time, and signs for what must not be invisible.

Installed by `app.create_app`. Every text that a template prints passes `terminal.visible`, then is
escaped; no view needs to remember it.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from flask import Flask, Response, abort, g, render_template, request
from markupsafe import Markup

from reconciler.model.condition import REASONS
from reconciler.model.terminal import visible
from web import present, text
from web.store import store

_STATIC = Path(__file__).parent / "static"
_TYPES = {"app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"


def install(app: Flask) -> None:
    """Templates and the three files beside them, which are read once: no path of a request meets the disk."""
    files = {name: (_STATIC / name).read_bytes() for name in _TYPES}
    versions = {name: hashlib.sha256(body).hexdigest()[:12] for name, body in files.items()}

    def asset(name: str) -> str:
        return f"/static/{name}?v={versions[name]}"

    def static(name: str) -> Response:
        if name not in files:
            abort(404)
        response = Response(files[name], content_type=f"{_TYPES[name]}; charset=utf-8")
        fits = request.args.get("v") == versions[name]
        response.headers["Cache-Control"] = _FOREVER if fits else "no-cache"
        return response

    app.add_url_rule("/static/<name>", "static", static, methods=["GET"])
    app.before_request(_take_the_time)
    environment = app.jinja_env
    environment.finalize = _finalize
    environment.trim_blocks = True
    environment.lstrip_blocks = True
    environment.filters.update(present.FILTERS, spans=text.spans)
    environment.tests["noteworthy"] = present.is_noteworthy
    environment.globals.update(
        asset=asset,
        ago=_ago,
        lasting=_lasting,
        until=_until,
        stay=present.stay,
        took=present.took,
        TRACK=present.TRACK,
        REASONS={str(reason): sentence for reason, sentence in REASONS.items()},
    )


def now() -> float:
    """When this request came, Unix seconds."""
    return float(g.now)


def page(template: str, *, version: str, **values: object) -> Response:
    """A whole page, or with `?part=live` the part that changes. `version` was read before what it shows."""
    layout = "part.html" if request.args.get("part") == "live" else "layout.html"
    beat = store().heartbeat(now())
    body = render_template(template, layout=layout, beat=beat, version=version, now=now(), **values)
    return Response(body, content_type="text/html; charset=utf-8")


def _take_the_time() -> None:
    g.now = time.time()


def _finalize(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _time(at: float, words: str, *, suffix: str | None = None) -> Markup:
    """`suffix` is what the script puts behind the age when it counts on; None lets it alone."""
    counting = Markup(' data-age="{}"').format(suffix) if suffix is not None else ""
    return Markup('<time datetime="{}" title="{}"{}>{}</time>').format(
        present.iso(at), present.clock(at), counting, words
    )


def _ago(at: float) -> Markup:
    return _time(at, f"{present.age(now() - at)} ago", suffix=" ago")


def _lasting(at: float) -> Markup:
    return _time(at, present.age(now() - at), suffix="")


def _until(at: float) -> Markup:
    return _time(at, f"in {present.age(at - now())}" if at > now() else "now")
