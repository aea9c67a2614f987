"""What gunicorn loads: `gunicorn -c python:web.gunicorn_conf web.wsgi:app`.

Settings come from the environment and the host file, once. It starts nothing.
"""

from __future__ import annotations

import os

from reconciler.settings import load_settings
from web.app import create_app

app = create_app(load_settings(os.environ))
