"""The time, served by Python's own library: no package is installed.

`/` is the page, `/now` the time and age of this process as JSON, `/healthz` says that it works.
After `docker kill`, the age begins again: that is the container which Gitstead started anew.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = Path(__file__).with_name("page.html").read_bytes()
STARTED = time.time()


class Clock(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/":
            self.answer(200, "text/html; charset=utf-8", PAGE)
        elif path == "/now":
            now = {"now": time.time(), "age_s": time.time() - STARTED, "container": socket.gethostname()}
            self.answer(200, "application/json", json.dumps(now).encode())
        elif path == "/healthz":
            self.answer(200, "text/plain", b"ok\n")
        else:
            self.answer(404, "text/plain", b"There is / and /now.\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8000"))), Clock).serve_forever()
