"""How gunicorn serves the page: one process, so that there is one poller; threads, so that streams may stay open.

Read by gunicorn (`-c python:web.gunicorn_conf`). The number of threads stays twice that of streams (trap 33).
"""

from __future__ import annotations

import os

from reconciler.settings import load_settings
from web.app import MOST_STREAMS

_settings = load_settings(os.environ)
_host = f"[{_settings.status_host}]" if ":" in _settings.status_host else _settings.status_host

bind = f"{_host}:{_settings.status_port}"
workers = 1
preload_app = True
worker_class = "web.gunicorn_worker.PageWorker"
threads = 2 * MOST_STREAMS
timeout = 60
graceful_timeout = 2
keepalive = 15
limit_request_line = 4094
limit_request_fields = 60
limit_request_field_size = 4096
forwarded_allow_ips = ""
loglevel = _settings.log_level
accesslog = None
control_socket_disable = True
proc_name = "gitstead-web"
