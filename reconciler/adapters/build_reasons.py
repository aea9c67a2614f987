"""Explains why a build failed: the known causes by what they leave in the output, each with what to do.

Used by `build_progress`; pure. A new cause is one row of `_CAUSES` and one test.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ENGINE_GONE = re.compile(
    r"Cannot connect to the Docker daemon|error reading from server|transport is closing|no active session"
    r"|connection refused.*docker|docker.sock|failed to list workers|listing workers for Build",
    re.IGNORECASE,
)
_EXIT_CODE = re.compile(r"exit code: (\d+)")
_PARSE_ERROR = re.compile(r"dockerfile parse error(?: on)? line (\d+): (.*)", re.IGNORECASE)
_WRAPPERS = re.compile(
    r"^(?:ERROR: |failed to solve: |rpc error: code = \w+ desc = |failed to solve with frontend [\w.]+: "
    r"|failed to create LLB definition: |failed to compute cache key: |executor failed running )+"
)
_BASE = re.compile(r"\[internal\] load metadata for (?:docker\.io/(?:library/)?)?(.*)")
_COPY = re.compile(r"\[[^\]]*\] (?:COPY|ADD) ")
_MISSING = re.compile(r'"/?([^"]+)":? not found')
_SENTENCE_LIMIT = 300


@dataclass(frozen=True)
class Failure:
    """`what` is one sentence that names the step; `hint` says what to do, "" where nobody knows.

    `engine_gone`: the engine went away, so nothing was learned about the source.
    """

    what: str
    hint: str = ""
    engine_gone: bool = False


@dataclass(frozen=True)
class _Cause:
    """`pattern` is looked for in the step's last lines and its error; its first group fills the sentence."""

    pattern: re.Pattern[str]
    sentence: str
    hint: str


def _cause(pattern: str, sentence: str, hint: str) -> _Cause:
    return _Cause(re.compile(pattern, re.IGNORECASE | re.MULTILINE), sentence, hint)


_CAUSES = (
    _cause(
        r"no space left on device|disk quota exceeded",
        "the disk is full",
        "Free space on the engine's disk (docker system df shows what takes it), then retry",
    ),
    _cause(
        r"exit code: 137|signal: killed|out of memory|Cannot allocate memory|^MemoryError",
        "it was killed, most likely for lack of memory",
        "Build with fewer parallel jobs, raise limits.build_memory, or give the machine more memory",
    ),
    _cause(
        r"Temporary failure in name resolution|Could not resolve host|no such host|Name or service not known"
        r"|network is unreachable|failed to establish a new connection|EAI_AGAIN|i/o timeout|connection timed out",
        "the network was not reachable",
        "Check the machine's network, DNS and proxy variables, then retry",
    ),
    _cause(
        r"No matching distribution found for ([^\s(]+)",
        'no version of "{}" found',
        "Check the name and version in the requirements, and that the package index answers inside builds",
    ),
    _cause(
        r"'([^'\s]+)' is not in (?:this|the npm) registry|No matching version found for ([^\s]+?)\.?$",
        'no version of "{}" found',
        "Check the name and version in package.json, and that the registry answers inside builds",
    ),
    _cause(
        r"(?:^|[: ])([\w./+-]+): (?:command )?not found$[\s\S]*exit code: 127"
        r'|exec: "([^"]+)": (?:executable file not found|stat)',
        'program "{}" is not in the image',
        "Install it in an earlier step, or correct its name",
    ),
    _cause(
        r"exit code: 127",
        "a program is not in the image",
        "Install it in an earlier step, or correct its name",
    ),
    _cause(
        r"failed to read dockerfile|open [^:]*Dockerfile[^:]*: no such file",
        "the Dockerfile was not found",
        "Add it to the repository, or correct build.dockerfile",
    ),
    _cause(
        r"unsupported frontend capability ([\w.]+)",
        "this engine's builder is too old for {}",
        "Update the Docker engine",
    ),
)


def explain(step_name: str, last_lines: Sequence[str], error: str) -> Failure:
    """The sentence for a failed step (or, with no step, for what buildx said)."""
    if _ENGINE_GONE.search(error) and not last_lines:
        return Failure(f"the build stopped because Docker went away: {_bare(error)}", engine_gone=True)
    if parse_error := _PARSE_ERROR.search(error):
        what = f"Dockerfile line {parse_error[1]}: {parse_error[2].strip()}"
        return Failure(_cut(what), "Correct that line; every instruction is a known word such as FROM, RUN or COPY")
    if base := _BASE.match(step_name):
        return Failure(
            _cut(f'base image "{base[1]}" could not be read: {_bare(error)}'),
            "Check the name in FROM, that its registry answers, or build a base with gitstead base-image",
        )
    if missing := (_COPY.match(step_name) and _MISSING.search(error)):
        return Failure(
            _cut(f'{title(step_name)} failed: file "{missing[1]}" is not in the source'),
            "Add it to the repository, or look whether .dockerignore or source.path leaves it out",
        )
    prefix = f"{title(step_name)} failed" if step_name else "the build failed"
    evidence = "\n".join([*last_lines, error])
    for cause in _CAUSES:
        if match := cause.pattern.search(evidence):
            found = next((group for group in match.groups() if group), "")
            if found or "{}" not in cause.sentence:
                return Failure(_cut(f"{prefix}: {cause.sentence.format(found)}"), cause.hint)
    return Failure(_cut(f"{prefix}: {_last_words(last_lines, error)}"))


def title(step_name: str) -> str:
    """`build step 3/6 "pip install …"` out of `[stage 3/6] RUN pip install …`."""
    match = re.match(r"\[(?:[^\]]* )?(\d+)/(\d+)\] (.*)\Z", step_name, re.DOTALL)
    if match is None:
        return f'build step "{step_name}"'
    return f'build step {match[1]}/{match[2]} "{match[3].removeprefix("RUN ").strip()}"'


def _last_words(last_lines: Sequence[str], error: str) -> str:
    said = next((line.strip() for line in reversed(last_lines) if line.strip()), "")
    code = _EXIT_CODE.search(error)
    if said and code:
        return f"{said} (exit code {code[1]})"
    return f"exit code {code[1]}" if code else said or _bare(error)


def _bare(error: str) -> str:
    """The error without the names of the layers that passed it on."""
    line = next((each for each in error.splitlines() if each.strip()), error)
    return _WRAPPERS.sub("", line).strip()


def _cut(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _SENTENCE_LIMIT else one_line[: _SENTENCE_LIMIT - 1] + "…"
