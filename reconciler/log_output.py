"""How log lines look: one event each, as JSON or for a terminal, with the context of the run and without secrets.

Called once by `service` and by the web's start. Every module logs through structlog with the same
field names: event, project, deployment, request_id, reason, message.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog

from reconciler.masking import Masker
from reconciler.settings import LogFormat


def configure_logging(
    *, level: str, form: LogFormat, stream: TextIO | None = None, masker: Masker | None = None
) -> None:
    """`level` is debug, info, warning or error; `form` is json or console. Lines go to standard error.

    What `masker` knows is in no line: values and tracebacks are masked before they are written as JSON.
    """
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
        structlog.processors.format_exc_info,
        _Masking(masker or Masker()),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )


class _Masking:
    """Hides secrets in the values of an event; what is no plain value is written out first."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker

    def __call__(self, _logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {key: self._masker.mask_values(_plain(value)) for key, value in event.items()}


def _plain(value: object) -> object:
    known = isinstance(value, str | int | float | list | tuple | dict) or value is None
    return value if known else str(value)
