"""Makes the Flask application of the status page out of settings.

Called by `wsgi` and by tests. It reads history and the heartbeat, and has no other power
(invariant 9): in this version every route is a GET.
"""

from __future__ import annotations

from flask import Flask

from reconciler.settings import Settings
from web import api, guard, pages, problems, rendering, streams
from web.store import EXTENSION, Store

MOST_STREAMS = 16


def create_app(settings: Settings, *, streams_at_once: int = MOST_STREAMS) -> Flask:
    """An application over the stores and the heartbeat that `settings` name; they need not exist yet.

    `streams_at_once` must stay well below the server's threads (trap 33).
    """
    app = Flask(__name__, static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.extensions[EXTENSION] = Store(settings, streams=streams_at_once)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    problems.install(app)
    guard.install(app, settings)
    rendering.install(app)
    for blueprint in (pages.bp, api.bp, streams.bp):
        app.register_blueprint(blueprint)
    return app
