"""Tells what the engine's "no" means: which of our errors it is, and in whose words.

Used by `docker_engine` alone; pure, since engines word the same refusal differently and each wording is a test.
"""

from __future__ import annotations

import re

from reconciler.errors import EngineConflict, EngineRefused, EngineUnavailable, GitsteadError, PortTaken

_PORT_TAKEN = re.compile(r"port is already allocated|address already in use|ports are not available", re.IGNORECASE)
_PORT_IN_TEXT = re.compile(r"(?:\d+\.\d+\.\d+\.\d+|\]|::):(\d+)")
_DISK_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_BUSY = re.compile(r"has active endpoints", re.IGNORECASE)
_PLAIN_WORDS = (
    (
        re.compile(r'exec: "([^"]+)": (?:executable file not found|stat .*no such file)'),
        'command "{}" is not in the image',
    ),
    (re.compile(r'exec: "([^"]+)": permission denied'), 'command "{}" may not be executed'),
    (re.compile(r"No such image: ([^ ]+)"), "image {} does not exist"),
    (re.compile(r"network ([^ ]+) not found"), "network {} does not exist"),
    (re.compile(r"mkdir ([^:]+): not a directory"), "working folder {} is a file in the image"),
)


def refusal(doing: str, text: str, *, status: int, reading: bool) -> GitsteadError:
    """The error for an answer with HTTP `status` to an attempt to e.g. "start container".

    `PortTaken.port` is 0 where the engine did not say which port. A server error on a read is the engine's
    trouble (retryable); on a write the engine uses the same status for what it will never do.
    """
    what = f"Docker could not {doing}: {plain(text)}"
    if _PORT_TAKEN.search(text):
        port = _PORT_IN_TEXT.search(text)
        return PortTaken(int(port[1]) if port else 0)
    if _DISK_FULL.search(text):
        return EngineUnavailable(what, expected="free disk space", remedy="Free some; it is tried again by itself")
    if status in (404, 409) or _BUSY.search(text):
        return EngineConflict(what, expected="what was seen a moment ago", remedy="The next pass looks again")
    if reading and status >= 500:
        return EngineUnavailable(what, expected="an answer", remedy="It is asked again by itself")
    return EngineRefused(what, expected="the engine to accept it", remedy="Change what was asked for, then push again")


def gone(container: str) -> EngineConflict:
    """A container that a plan counted on is no longer there."""
    return EngineConflict(
        f"container {container} is gone",
        expected="it to exist since it was looked at",
        remedy="The next pass looks again",
    )


def plain(text: str) -> str:
    """The engine's sentence in people's words where we know it, else as it is."""
    for pattern, words in _PLAIN_WORDS:
        if match := pattern.search(text):
            return words.format(match[1])
    return text.strip()


def innermost(error: BaseException) -> str:
    """The words of the first cause: what the socket said, without the layers around it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__
