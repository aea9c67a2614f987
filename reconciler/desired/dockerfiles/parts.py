"""The building blocks of generated Dockerfiles, and what a template is given to work with.

Used by the templates beside it. Every instruction is in exec form, with words in JSON: no shell reads a word of a
spec or of a file name. What a source names (paths, versions, commands) reaches an instruction only where
it is harmless there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconciler.desired.base_names import BaseName
from reconciler.model.detection import Detected, SourceFiles
from reconciler.model.spec import ProjectSpec

USER = "USER 10001:10001"
COPY_ALL = 'COPY [".", "./"]'
# Perl is part of every Debian, and a check with it costs 3 ms and 5 MB.
_CHECK_WITH_PERL = (
    "perl",
    "-MIO::Socket::INET",
    "-e",
    "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)",
)
_CHECK_WITH_PYTHON = (
    "python3",
    "-c",
    "import os, socket; socket.create_connection(('127.0.0.1', int(os.environ['PORT'])), 3)",
)
_HARMLESS_PATH = re.compile(r"[A-Za-z0-9@_+][A-Za-z0-9@._+/-]*\Z|\.(?!\.?/|\.?\Z)[A-Za-z0-9@._+/-]+\Z")
_DEBIAN_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,80}\Z")
# Files of secrets that tools look for by themselves; every other one is /run/secrets/<name>.
_SECRET_PLACES = {"npmrc": "/root/.npmrc", "netrc": "/root/.netrc", "pip.conf": "/etc/pip.conf"}


class Unbuildable(Exception):
    """The source lacks something: what it has or lacks, and what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what, self.remedy = what, remedy


@dataclass(frozen=True)
class Text:
    """A finished template. `reads_env`: its build reads `.env` files of the source, as site generators do.

    `base` is the kind of image that brings the language, whose version a source may ask for.
    """

    text: str
    reads_env: bool = False
    language: str = ""
    base: str = ""


@dataclass(frozen=True)
class Source:
    """What a template works with: the spec, the files, what they were recognised as, names of bases and caches."""

    spec: ProjectSpec
    files: SourceFiles
    detected: Detected
    base_name: BaseName
    cache_id: str

    def has(self, path: str) -> bool:
        return path in self.files.listing

    def text(self, path: str) -> str:
        """The text of a manifest, "" where it is not there or was not read."""
        return self.files.texts.get(path, "")

    def folders(self, *names: str) -> list[str]:
        """Those of these folders that hold files."""
        present = {each.partition("/")[0] for each in self.files.listing if "/" in each}
        return [each for each in names if each in present]

    def base(self, kind: str) -> str:
        return self.base_name(kind, self.detected.version)

    @property
    def command(self) -> list[str]:
        """What was found to start it, with the port in place of $PORT; [] where nothing was."""
        port = str(self.spec.run.port)
        return [re.sub(r"\$(?:\{PORT(?::?-\d+)?\}|PORT\b)", port, each) for each in self.detected.command]

    def require_command(self, what: str) -> None:
        """Raises `Unbuildable` with what is missing, unless something starts it."""
        if not self.detected.command and not self.spec.run.command:
            raise Unbuildable(f"has no {what}", "add one, or set run.command")

    # ---- instructions ----------------------------------------------------------------------

    def head(self, base: str, *, builder: str = "", stage: str = " AS build") -> list[str]:
        """Up to the first FROM, of the build stage: its base is `builder` where that is another one."""
        lines = [f"# Made by Gitstead for build.type {plain(self.detected.title)}. To own it: gitstead eject."]
        if self.detected.version:
            origin = f" ({plain(self.detected.version_from)})" if self.detected.version_from else ""
            lines.append(f"# The source asks for version {plain(self.detected.version)}{origin}.")
        other = builder not in ("", base)
        lines += [f"ARG BASE={base}", *([f"ARG BUILDER={builder}"] if other else []), ""]
        lines += [*self.arguments_from(f"FROM ${{{'BUILDER' if other else 'BASE'}}}{stage}")]
        return lines

    def arguments_from(self, line: str) -> list[str]:
        """A FROM line, and the spec's build arguments declared after it."""
        return [line, *(f"ARG {name}" for name in sorted(self.spec.build.args))]

    def cache(self, tool: str, target: str) -> str:
        """A mount that keeps a tool's downloads between builds of this project alone."""
        return f"--mount=type=cache,id=gitstead-{tool}-{self.cache_id},target={target},sharing=locked"

    def run(self, words: Sequence[str], *mounts: str) -> str:
        """A step that the spec's build secrets are there for."""
        secrets = [_secret(name) for name in sorted(self.spec.build.secrets)]
        return "RUN " + " \\\n    ".join([*mounts, *secrets, json.dumps(list(words))])

    def packages(self) -> list[str]:
        """Installs the Debian packages of an `Aptfile`, for the build and for the running app."""
        names = [line.strip() for line in self.text("Aptfile").splitlines()]
        wanted = sorted({name for name in names if _DEBIAN_PACKAGE.match(name)})
        if not wanted:
            return []
        install = 'apt-get update && apt-get install --yes --no-install-recommends "$@"'
        return [
            "# Debian packages that the Aptfile names.",
            self.run(
                ["sh", "-c", install, "install", *wanted],
                self.cache("apt-lists", "/var/lib/apt/lists"),
                self.cache("apt", "/var/cache/apt"),
            ),
        ]

    def foot(self, command: Sequence[str], *, check: str = "perl") -> list[str]:
        """The end of the final stage. Without a command the spec's run.command starts it."""
        words = _CHECK_WITH_PYTHON if check == "python" else _CHECK_WITH_PERL
        lines = [USER, f"HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \\\n    CMD {json.dumps(words)}"]
        return [*lines, *([f"CMD {json.dumps(list(command))}"] if command else [])]

    def environment(self, **values: str) -> str:
        return "ENV " + " ".join(f"{name}={value}" for name, value in {**values, "PORT": self.spec.run.port}.items())


def _secret(name: str) -> str:
    place = _SECRET_PLACES.get(name)
    return f"--mount=type=secret,id={name}{f',target={place}' if place else ''}"


def copy(names: Iterable[str], target: str = "./", *flags: str) -> str:
    """COPY of files or folders of the source or of a stage; names that could mean something else are left out."""
    safe = [each for each in names if is_harmless(each)]
    return " ".join(["COPY", *flags, json.dumps([*safe, target])])


def copy_from(stage: str, path: str, target: str = "", *flags: str) -> str:
    return f"COPY --from={stage} {''.join(f'{each} ' for each in flags)}{json.dumps([path, target or path])}"


def is_harmless(path: str) -> bool:
    """Whether a path of the source means only itself in an instruction: no glob, variable, quote or control sign."""
    return bool(_HARMLESS_PATH.match(path)) and ".." not in path.split("/")


def plain(text: str) -> str:
    """A text of the source as it may stand in a comment: one short line."""
    return re.sub(r"[^ -~]", "?", text)[:80]


def lines(*parts: str | Iterable[str]) -> str:
    """Instructions joined to a Dockerfile."""
    flat = [each for part in parts for each in ([part] if isinstance(part, str) else part)]
    return "\n".join(flat) + "\n"
