"""A guest book that lives in memory: a new release, or a restart, begins an empty one.

Gitstead builds it with `build.type: flask`: it installs requirements.txt and runs `app` of this file
with gunicorn, in one process with several threads. GREETING comes from `run.env` of the project's spec.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import NamedTuple

from flask import Flask, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

LONGEST_NAME = 40
LONGEST_MESSAGE = 280
MOST_ENTRIES = 50


class Entry(NamedTuple):
    name: str
    message: str


app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 16 * 1024
entries: deque[Entry] = deque(maxlen=MOST_ENTRIES)
lock = threading.Lock()


@app.get("/")
def book() -> str:
    """The page. Jinja escapes what guests wrote, so that nobody can write a script into it."""
    with lock:
        shown = list(entries)
    return render_template("book.html", greeting=os.environ.get("GREETING", "Welcome"), entries=shown)


@app.post("/")
def sign() -> Response:
    """One more entry, then back to the page: loading it again does not send the form twice."""
    name = request.form.get("name", "").strip()[:LONGEST_NAME]
    message = request.form.get("message", "").strip()[:LONGEST_MESSAGE]
    if message:
        with lock:
            entries.appendleft(Entry(name or "somebody", message))
    return redirect(url_for("book"), code=303)


@app.get("/healthz")
def healthz() -> str:
    """What `health.path` of the spec names: asked before a new release gets any visitor."""
    return "ok\n"
