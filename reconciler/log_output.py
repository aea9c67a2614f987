"""How log lines look: one event each, as JSON or for a terminal, with the context of the run.

Called once by `bootstrap` and by the web's start. Every module logs through structlog with the same
field names: event, project, deployment, request_id, reason, message.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog

from reconciler.settings import LogFormat


def configure_logging(*, level: str, form: LogFormat, stream: TextIO | None = None) -> None:
    """`level` is debug, info, warning or error; `form` is json or console. Lines go to standard error."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    out = stream or sys.stderr
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )
