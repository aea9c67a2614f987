"""Explains why a build failed, in one sentence that leads with the step, and says what to do.

Used by `build_progress`; pure. What a step's output shows is a row of `build_causes`; here are the failures that
BuildKit itself tells: an engine gone, a line of the Dockerfile, a base image, a file that COPY misses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.adapters.build_causes import CAUSES, NETWORK

_ENGINE_GONE = re.compile(
    r"Cannot connect to the Docker daemon|error reading from server|transport is closing|no active session"
    r"|connection refused.*docker|docker.sock|failed to list workers|listing workers for Build",
    re.IGNORECASE,
)
_EXIT_CODE = re.compile(r"exit code: (\d+)")
_PARSE_ERROR = re.compile(r"dockerfile parse error(?: on)? line (\d+): (.*)", re.IGNORECASE)
_POINTED_AT = re.compile(r"^[^\s:]+:(\d+)\n-{5,}\n[\s\S]*^ERROR: failed to solve: (.*)", re.MULTILINE)
_WRAPPERS = re.compile(
    r"^(?:ERROR: |failed to solve: |rpc error: code = \w+ desc = |failed to solve with frontend [\w.]+: "
    r"|failed to create LLB definition: |failed to compute cache key: |executor failed running )+"
)
_BASE = re.compile(r"(?:\[internal\] load metadata for|FROM) (?:docker\.io/(?:library/)?)?(.*)")
_NOT_THERE = re.compile(r"pull access denied|does not exist|insufficient_scope|manifest unknown|: not found")
_COPY = re.compile(r"\[[^\]]*\] (?:COPY|ADD) ")
_MISSING = re.compile(r'"/?([^"]+)":? not found|lstat \S*/(?:merged|buildkit-mount\d+)(/[^:]*): no such file')
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_NOISE = re.compile(r"npm notice|npm (?:ERR!|error)(?: A complete log of this run|\s*$)|Node\.js v\d|\s*at |[\s{}^~]*$")
_RUN_FLAG = re.compile(r"--(?:mount|network|security)=\S+\s+")
_COMMAND_LIMIT = 100
_SENTENCE_LIMIT = 300


@dataclass(frozen=True)
class Failure:
    """`what` is one sentence that names the step; `hint` says what to do, "" where nobody knows.

    `engine_gone`: the engine went away, so nothing was learned about the source. `retryable`: the source is not
    to blame.
    """

    what: str
    hint: str = ""
    engine_gone: bool = False
    retryable: bool = False


def explain(step_name: str, last_lines: Sequence[str], error: str) -> Failure:
    """The sentence for a failed step (or, with no step, for what buildx said)."""
    if _ENGINE_GONE.search(error) and not last_lines:
        return Failure(f"the build stopped because Docker went away: {_bare(error)}", engine_gone=True)
    last_lines, error = [_ANSI.sub("", line) for line in last_lines], _ANSI.sub("", error)
    told = _line_of_dockerfile(step_name, error) or _base_image(step_name, error) or _missing_file(step_name, error)
    if told is not None:
        return told
    prefix = f"{title(step_name)} failed" if step_name else "the build failed"
    evidence = "\n".join([*last_lines, error])
    for cause in CAUSES:
        if match := cause.pattern.search(evidence):
            found = next((group for group in match.groups() if group), "")
            if found or "{}" not in cause.sentence:
                what = _cut(f"{prefix}: {cause.sentence.format(found)}")
                return Failure(what, cause.hint, retryable=cause.retryable)
    return Failure(_cut(f"{prefix}: {_last_words(last_lines, error)}"))


def _line_of_dockerfile(step_name: str, error: str) -> Failure | None:
    found = _PARSE_ERROR.search(error) or (None if step_name else _POINTED_AT.search(error))
    if found is None or any(cause.pattern.search(found[2]) for cause in CAUSES):
        return None
    hint = "Correct that line; every instruction is a known word such as FROM, RUN or COPY"
    return Failure(_cut(f"Dockerfile line {found[1]}: {found[2].strip()}"), hint)


def _base_image(step_name: str, error: str) -> Failure | None:
    base = _BASE.match(step_name)
    if base is None:
        return None
    what = _cut(f'base image "{base[1]}" could not be read: {_bare(error)}')
    if NETWORK.search(error):
        hint = "Its registry does not answer; it is tried again by itself. gitstead base-image makes a base without one"
        return Failure(what, hint, retryable=True)
    name = "Check the name in FROM" if _NOT_THERE.search(error) else "Check the name in FROM, that its registry answers"
    return Failure(what, f"{name}, or build a base with gitstead base-image")


def _missing_file(step_name: str, error: str) -> Failure | None:
    missing = _COPY.match(step_name) and _MISSING.search(error)
    if not missing:
        return None
    name = missing[1] or missing[2]
    if "--from=" in step_name:
        what = f'{title(step_name)} failed: file "/{name.lstrip("/")}" is not in what --from names'
        return Failure(_cut(what), "Look whether the stage or image of --from has it there")
    return Failure(
        _cut(f'{title(step_name)} failed: file "{name}" is not in the source'),
        "Add it to the repository, or look whether .dockerignore or source.path leaves it out",
    )


def title(step_name: str) -> str:
    """`build step 3/6 "pip install …"` out of `[stage 3/6] RUN --mount=… pip install …`."""
    match = re.match(r"\[(?:[^\]]* )?(\d+)/(\d+)\] (.*)\Z", step_name, re.DOTALL)
    if match is None:
        return f'build step "{step_name}"'
    command = _RUN_FLAG.sub("", match[3].removeprefix("RUN ")) if match[3].startswith("RUN ") else match[3]
    return f'build step {match[1]}/{match[2]} "{_cut(command.strip(), _COMMAND_LIMIT)}"'


def _last_words(last_lines: Sequence[str], error: str) -> str:
    said = next((line.strip() for line in reversed(last_lines) if not _NOISE.match(line)), "")
    code = _EXIT_CODE.search(error)
    if said and code:
        return f"{said} (exit code {code[1]})"
    return f"exit code {code[1]}" if code else said or _bare(error)


def _bare(error: str) -> str:
    """The error without the names of the layers that passed it on."""
    line = next((each for each in error.splitlines() if each.strip()), error)
    return _WRAPPERS.sub("", line).strip()


def _cut(text: str, limit: int = _SENTENCE_LIMIT) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= limit else one_line[: limit - 1] + "…"
