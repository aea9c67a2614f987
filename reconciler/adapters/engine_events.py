"""Follows the engine's events, tells a callback, and keeps the engine's cache honest.

Started by `loop.triggers`. A lost event costs time, never correctness: every gap is told as one, and means
"look at everything". Must decide nothing and must not keep events: the callback gets each as it comes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reconciler.adapters.docker_engine import EVENTS, DockerEngine
from reconciler.adapters.engine_connection import EventStream
from reconciler.errors import GitsteadError
from reconciler.model import naming

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
_OVERLAP_S = 1


@dataclass(frozen=True)
class EngineEvent:
    """Something happened to `id`. `project` is "" where the thing is not ours.

    Kind `gap` stands for all that was missed: action `lost` when the stream ended, `attached` when a new one
    began; `id` is "" then.
    """

    kind: Literal["container", "image", "network", "gap"]
    action: str
    id: str = ""
    project: str = ""


class EngineEvents:
    """A thread that reads the engine's event stream for as long as it is told, reconnecting by itself.

    The callback runs in that thread: it must be quick and must not raise.
    """

    def __init__(self, engine: DockerEngine, callback: Callable[[EngineEvent], None]) -> None:
        self._engine = engine
        self._callback = callback
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._stream: EventStream | None = None
        self._thread = threading.Thread(target=self._run, name="engine-events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """End the thread; returns when it has ended, or after `timeout_s` where the engine hangs."""
        self._stopping.set()
        with self._lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        delay_s, told = _FIRST_DELAY_S, False
        while not self._stopping.is_set():
            attached = self._follow()
            if self._stopping.is_set():
                return
            if attached or not told:
                self._callback(EngineEvent("gap", "lost"))
                told = True
            delay_s = _FIRST_DELAY_S if attached else min(delay_s * 2, _LONGEST_DELAY_S)
            self._stopping.wait(delay_s)

    def _follow(self) -> bool:
        """Read one stream to its end; whether there was one."""
        since_s = int(time.time()) - _OVERLAP_S  # the engine subscribes us after it has answered
        try:
            stream = self._engine.event_stream(since_s=since_s)
        except GitsteadError:
            return False
        with self._lock:
            self._stream = stream
        try:
            if not self._stopping.is_set():
                self._read(stream)
        finally:
            with self._lock:
                self._stream = None
            stream.release()
        return True

    def _read(self, stream: EventStream) -> None:
        self._engine.attach_events()
        try:
            self._callback(EngineEvent("gap", "attached"))
            for raw in stream:
                self._take(raw)
        finally:
            self._engine.detach_events()

    def _take(self, raw: Mapping[str, Any]) -> None:
        kind, action = raw.get("Type", ""), raw.get("Action", "")
        if action not in EVENTS.get(kind, ()):
            return
        actor = raw.get("Actor") or {}
        attributes = actor.get("Attributes") or {}
        event = EngineEvent(kind, action, actor.get("ID", ""), self._project_of(kind, attributes))
        self._forget(event)
        self._callback(event)

    def _forget(self, event: EngineEvent) -> None:
        """Names and networks need no forgetting: each list of the containers has them."""
        if event.kind == "image":
            self._engine.forget_images()
        elif event.kind == "network":
            if event.action not in ("connect", "disconnect"):
                self._engine.forget_networks()
        elif event.action not in ("create", "rename"):
            if event.action == "die" and event.project:
                self._engine.await_end(event.id)
            self._engine.forget_container(event.id)

    def _project_of(self, kind: str, attributes: Mapping[str, str]) -> str:
        if attributes.get(naming.LABEL_INSTANCE) == self._engine.instance:
            return attributes.get(naming.LABEL_PROJECT, "")
        prefix = naming.network_name(self._engine.instance, "")
        name = attributes.get("name", "") if kind == "network" else ""
        return name.removeprefix(prefix) if name.startswith(prefix) else ""
