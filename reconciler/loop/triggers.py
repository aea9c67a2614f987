"""Turns what happens outside into dirty marks: engine events, pushes, Caddy's changes, people's requests.

Started and stopped by `bootstrap`. A trigger carries a key, never what happened; losing one costs
time, never correctness.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from reconciler.adapters.caddy_admin import CaddyAdmin
from reconciler.adapters.engine_events import EngineEvent
from reconciler.adapters.upstream_files import UpstreamFiles
from reconciler.errors import GitsteadError
from reconciler.history.queries import Queries
from reconciler.history.recorder import Recorder
from reconciler.history.requests import Inbox, Request
from reconciler.history.wake import WakeListener
from reconciler.loop.polling import Poller
from reconciler.loop.queue import ALL, DirtyQueue
from reconciler.loop.worker import new_request_id
from reconciler.model.release import State
from reconciler.plan import gates

log = structlog.get_logger(__name__)

HOST_LOOK_S = 2.0
WAKE_S = 1.0
FOREIGN_PAUSE_S = 2.0
ENGINE = "engine"


class EngineMarks:
    """The callback for `EngineEvents`: a gap means look at everything, an event of ours at its project.

    What others do on the engine can only free or take a port, a name or a base image: it is looked at within two
    seconds, as Caddy is, once for all that happened in them.
    """

    def __init__(self, queue: DirtyQueue) -> None:
        self._queue = queue
        self._lock = threading.Lock()
        self._is_waiting = False

    def __call__(self, event: EngineEvent) -> None:
        reason = f"{event.kind} {event.action}"
        if event.kind == "gap":
            self._queue.mark(ALL, f"engine events {event.action}")
        elif event.project:
            self._queue.mark(event.project, reason)
        else:
            self._soon(reason)

    def _soon(self, reason: str) -> None:
        with self._lock:
            if self._is_waiting:
                return
            self._is_waiting = True
        timer = threading.Timer(FOREIGN_PAUSE_S, self._now, args=(reason,))
        timer.daemon = True
        timer.start()

    def _now(self, reason: str) -> None:
        with self._lock:
            self._is_waiting = False
        self._queue.mark(ENGINE, reason)


class HostWatch:
    """Looks every two seconds whether Caddy's configuration or an upstream file moved; marks if so.

    Neither tells anybody by itself: a Caddy that was restarted empty is back within seconds by this.
    """

    def __init__(self, caddy: CaddyAdmin, upstreams: UpstreamFiles, queue: DirtyQueue) -> None:
        self._caddy, self._upstreams, self._queue = caddy, upstreams, queue
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        before = self._look()
        while not self._stop.wait(HOST_LOOK_S):
            now = self._look()
            if now != before:
                self._queue.mark("", "Caddy or an upstream file changed")
            before = now

    def _look(self) -> tuple[object, object]:
        return _seen(self._caddy.look), _seen(lambda: dict(self._upstreams.look()))


def _seen(look: Callable[[], object]) -> object:
    """What was seen, or the reason why nothing was: either may change."""
    try:
        return look()
    except GitsteadError as error:
        return error.reason


class Requests:
    """Takes what people ask for out of the inbox, and does the part that is not planning.

    `approve` and `confirm` write down the consent that a plan waits for, `cancel` and `retry` a person's wish,
    all of them as the digest that planning looks for; `sync` asks every repository now.
    """

    def __init__(
        self,
        inbox: Inbox,
        wake: WakeListener,
        recorder: Recorder,
        *,
        queries: Queries,
        queue: DirtyQueue,
        poller: Poller,
        clock: Callable[[], float],
    ) -> None:
        self._inbox, self._wake, self._recorder, self._queries = inbox, wake, recorder, queries
        self._queue, self._poller, self._clock = queue, poller, clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="requests", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                for request in self._inbox.take_requests(self._clock()):
                    outcome, message = self._handle(request)
                    self._inbox.mark_handled(request.id, outcome=outcome, message=message, now=self._clock())
                    log.info(f"request.{outcome}", kind=request.kind, project=request.project, by=request.by)
            except GitsteadError as error:
                log.warning("inbox.failed", reason=error.reason, message=str(error))
            self._wake.wait(WAKE_S)
        self._wake.close()

    def _handle(self, request: Request) -> tuple[str, str]:
        request_id = new_request_id()
        if request.kind == "sync":
            self._poller.poll_now()
            self._queue.mark(ALL, "sync", request_id=request_id)
            return "done", "every repository is being asked"
        outcome, message = self._ask_for(request)
        if outcome == "done":
            self._recorder.record_event(
                request.project, "request", f"{message} by {request.by}", now=self._clock(), reason=message
            )
            self._queue.mark(request.project, request.kind, request_id=request_id)
        return outcome, message

    def _ask_for(self, request: Request) -> tuple[str, str]:
        if request.kind in ("approve", "confirm"):
            return self._let_go(request)
        number = int(request.payload["deployment"])
        past = self._queries.history().of(request.project)
        if request.kind == "cancel":
            if past.open is None or past.open.number != number:
                return "refused", f"d{number} of {request.project} is not under way any more"
            if past.open.state is State.SWITCHING:
                return "refused", f"d{number} of {request.project} gets its visitors just now: too late to cancel it"
            return self._consent(
                request, gates.cancellation(request.project, number), f"cancelling d{number} was asked for"
            )
        if past.open is not None or past.last_ended is None or past.last_ended.number != number:
            return "refused", f"d{number} is not what {request.project} tried last, or another try is under way"
        self._recorder.clear_failure(request.project)
        message = f"what d{number} tried is tried again, if Git still asks for it"
        return self._consent(request, gates.retry(request.project, number), message)

    def _consent(self, request: Request, digest: str, message: str) -> tuple[str, str]:
        self._recorder.approve(digest, project_name=request.project, by=request.by, now=self._clock())
        return "done", message

    def _let_go(self, request: Request) -> tuple[str, str]:
        """An approval is none of a type that was detected, nor a confirmation one of a removal."""
        status = self._queries.status(request.project)
        digest = request.payload["digest"]
        what = "a confirmation" if request.kind == "confirm" else "an approval"
        gate_fits = status is not None and (status.gate == gates.CONFIRMATION) == (request.kind == "confirm")
        if status is None or not gate_fits or not status.waiting or not status.waiting.startswith(digest):
            return "refused", f"{request.project} does not wait for {what} of plan {digest[:8]} any more"
        done = "confirmed" if request.kind == "confirm" else "approved"
        return self._consent(request, status.waiting, f"plan {digest[:8]} of {request.project} was {done}")
