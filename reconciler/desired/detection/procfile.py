"""Reads the `web` line of a Procfile, and other one-line commands, without a shell.

Called by the finders of `detection`. Pure. No shell runs in an image that we write, so a line that needs one is
refused by the sentence that says why, never run half understood.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from reconciler.desired.detection.manifests import shown
from reconciler.model.spec import BuildType

LONGEST_LINE = 2_000
_LINE = re.compile(r"(?P<name>[A-Za-z0-9_-]{1,60})\s*:\s*(?P<command>.*)")
_PORT_WITH_DEFAULT = re.compile(r"\$\{PORT:?-[^}$`]*\}")
_PORT = re.compile(r"\$PORT(?![A-Za-z0-9_])|\$\{PORT\}")
_OPERATORS = "();<>|&"
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")

_PYTHON: tuple[BuildType, ...] = ("django", "flask", "fastapi", "python")
FAMILIES: dict[str, tuple[BuildType, ...]] = {
    **dict.fromkeys(("gunicorn", "uvicorn", "hypercorn", "daphne", "waitress-serve", "uwsgi", "flask"), _PYTHON),
    **dict.fromkeys(("python", "python3", "streamlit", "fastapi", "litestar", "uv", "poetry", "pdm"), _PYTHON),
    **dict.fromkeys(("node", "npm", "npx", "yarn", "pnpm", "next", "nuxt"), ("node",)),
    **dict.fromkeys(("bundle", "rails", "bin/rails", "puma", "rackup", "ruby"), ("ruby",)),
    **dict.fromkeys(("java", "mvn", "./mvnw", "gradle", "./gradlew"), ("java",)),
    **dict.fromkeys(("php", "vendor/bin/heroku-php-apache2", "vendor/bin/heroku-php-nginx"), ("php",)),
}


@dataclass(frozen=True)
class Procfile:
    """`command` is the web process's argv, empty where it has none that can run; `types` are those that it fits."""

    command: tuple[str, ...] = ()
    types: tuple[BuildType, ...] = ()
    evidence: str = ""
    notes: tuple[str, ...] = ()


def read_procfile(text: str) -> Procfile:
    """What a Procfile asks for; of several `web` lines the first counts."""
    web: Procfile | None = None
    notes: list[str] = []
    for number, line in enumerate(text.splitlines()[:200], start=1):
        match = _LINE.fullmatch(line.strip())
        if match is None:
            continue
        name, where = match["name"], f"Procfile line {number}"
        if name != "web":
            notes.append(f"{where} asks for a process {name} beside web: it is not started.")
        elif web is None:
            web = _web(match["command"], where)
        else:
            notes.append(f"{where} is a second web line: the first one counts.")
    web = web or Procfile(notes=("Procfile has no web line: it is not used.",))
    return Procfile(web.command, web.types, web.evidence, (*web.notes, *notes[:5]))


def _web(text: str, where: str) -> Procfile:
    words, refusal = parse_command(text)
    if words and "heroku-php" in words[0]:
        refusal = f"runs {shown(words[0])}, which is a part of Heroku"
    if refusal:
        remedy = "write it as plain words, or set run.command"
        return Procfile(notes=(f"{where} {refusal}: it is not used; {remedy}.",))
    return Procfile(words, FAMILIES.get(words[0], ()), f'{where} says "{shown(text)}"')


def parse_command(text: str) -> tuple[tuple[str, ...], str]:
    """(argv, "") of a command of plain words, else ((), why it is refused: "uses `&&`, which needs a shell").

    `$PORT`, `${PORT}` and `${PORT:-8000}` are kept as `$PORT` or `${PORT}`; no other variable may occur.
    """
    refusal = _refusal(text)
    if refusal:
        return (), refusal
    lexer = shlex.shlex(_PORT_WITH_DEFAULT.sub("${PORT}", text), posix=True, punctuation_chars=_OPERATORS)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = list(lexer)
    except ValueError:
        return (), "has a quotation mark or backslash without its end"
    if words[:1] == ["exec"]:
        words = words[1:]
    if not words or not all(words):
        return (), "says nothing" if not words else "has an empty word"
    refusal = next((reason for word in words if (reason := _needs_a_shell(word))), "")
    if not refusal and _ASSIGNMENT.match(words[0]):
        refusal = f"sets {shown(words[0])}, which belongs into run.env"
    return ((), refusal) if refusal else (tuple(words), "")


def _refusal(text: str) -> str:
    if len(text) > LONGEST_LINE:
        return f"is longer than {LONGEST_LINE} characters"
    if not text.replace("\t", " ").isprintable():
        return "holds characters that cannot be printed"
    if "`" in text or "$(" in text:
        return "uses the output of another command, which needs a shell"
    return ""


def _needs_a_shell(word: str) -> str:
    if not word.strip(_OPERATORS):
        return f"uses `{shown(word)}`, which needs a shell"
    if word.startswith("#"):
        return "has a comment"
    if "$" in _PORT.sub("", word):
        return f"uses a variable other than $PORT in {shown(word)}"
    return ""
