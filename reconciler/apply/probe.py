"""The jobs that ask an app whether it answers: on its port, and through Caddy's route.

Started by `operations`; turns what the probe saw into a job's outcome in people's words.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.adapters import http_probe
from reconciler.apply.jobs import Cancel, Outcome
from reconciler.model.condition import Reason
from reconciler.model.operation import StartProbe, StartVerify


@dataclass(frozen=True)
class Probes:
    """`listener` is where Caddy takes visitors on loopback; `token` marks our own requests."""

    listener: tuple[str, int]
    token: str

    def probe(self, op: StartProbe, cancel: Cancel) -> Outcome:
        """Until the container answers on its own leased port, or the deadline."""
        seen = http_probe.probe(
            op.port,
            op.path,
            timeout_s=op.timeout_s,
            interval_s=op.interval_s,
            cancelled=cancel.event,
        )
        if seen.ok:
            return Outcome()
        message = f"no good answer to GET {op.path} within {op.timeout_s:g}s: {seen.message}"
        hint = "The app must listen on 0.0.0.0 at $PORT (run.port) and answer health.path with 2xx or 3xx"
        return Outcome(reason=Reason.CHECK_FAILED, message=message, hint=hint)

    def verify(self, op: StartVerify, cancel: Cancel) -> Outcome:
        """Until Caddy's route answers from exactly this port, or the deadline."""
        seen = http_probe.verify(
            self.listener,
            op.host,
            path=op.path,
            token=self.token,
            expected_upstream=f"127.0.0.1:{op.port}",
            timeout_s=op.timeout_s,
            cancelled=cancel.event,
        )
        if seen.ok:
            return Outcome()
        message = f"{op.host} did not answer through Caddy from port {op.port} within {op.timeout_s:g}s: {seen.message}"
        hint = "Caddy may lack the route or listen elsewhere; it is tried again by itself"
        return Outcome(reason=Reason.ROUTE_NOT_VERIFIED, message=message, hint=hint, retryable=True)
