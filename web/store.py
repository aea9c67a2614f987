"""What the web may read, bundled: history, build logs, heartbeat, and the poller over them.

Made once by `app.create_app`, reached by views through `store()`. It reads and never writes.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import cast

from flask import current_app

from reconciler.errors import GitsteadError
from reconciler.heartbeat import Heartbeat, read_heartbeat
from reconciler.history.logs import LogReader
from reconciler.history.queries import Queries
from reconciler.settings import Settings
from web.poller import Poller, Slots, Versions

EXTENSION = "gitstead"


class Store:
    """`slots` bounds the long answers. Methods that read raise StoreBusy or StoreUnusable."""

    def __init__(self, settings: Settings, *, streams: int) -> None:
        self.settings = settings
        self.queries = Queries(settings.state_db)
        self.logs = LogReader(settings.logs_db)
        self.slots = Slots(streams)
        self.poller = Poller(self.versions)
        self._boot = secrets.token_hex(4)

    def heartbeat(self, now: float) -> Heartbeat:
        return read_heartbeat(self.settings.heartbeat, now=now)

    def versions(self) -> Versions:
        """Of now; never raises: that a store cannot be read is a state like any other.

        SQLite's numbers are of one connection, so they are mixed with a word of this process.
        """
        beat = self.heartbeat(time.time()).without_ages
        return Versions(self._word(self._state_number(), beat), self._word(self._logs_number()))

    def _word(self, *parts: object) -> str:
        return hashlib.sha256(repr((self._boot, parts)).encode()).hexdigest()[:16]

    def _state_number(self) -> object:
        try:
            return self.queries.data_version()
        except GitsteadError as error:
            return error.what

    def _logs_number(self) -> object:
        try:
            return self.logs.data_version()
        except GitsteadError as error:
            return error.what


def store() -> Store:
    """The one of the running application."""
    return cast(Store, current_app.extensions[EXTENSION])
