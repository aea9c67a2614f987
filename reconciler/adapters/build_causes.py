"""The known causes of a failed build: what each leaves in the output, how it is told, and what to do.

Used by `build_reasons`; data alone, the earlier row goes first. A new cause is one row and one row of its test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_WAIT = "It is tried again by itself"


@dataclass(frozen=True)
class Cause:
    """`pattern` is looked for in the step's last lines and its error; its first group fills the sentence.

    `retryable`: the source is not to blame, so the same build may go well later.
    """

    pattern: re.Pattern[str]
    sentence: str
    hint: str
    retryable: bool = False


def _cause(pattern: str, sentence: str, hint: str, *, retryable: bool = False) -> Cause:
    return Cause(re.compile(pattern, re.IGNORECASE | re.MULTILINE), sentence, hint, retryable)


NETWORK = re.compile(
    r"Temporary failure in name resolution|Temporary failure resolving|Could not resolve|no such host"
    r"|Name or service not known|network is unreachable|failed to establish a new connection|EAI_AGAIN|\bENOTFOUND\b"
    r"|i/o timeout|connection timed out|ETIMEDOUT|TLS handshake timeout|toomanyrequests|429 Too Many Requests"
    r"|50[234] (?:Bad Gateway|Service Unavailable|Gateway Time-?out)|dial tcp .*connection refused"
    r"|npm (?:ERR!|error) .*ECONNREFUSED|spurious network error",
    re.IGNORECASE,
)

CAUSES = (
    _cause(
        r"no space left on device|disk quota exceeded",
        "the disk is full",
        f"Free space on the engine's disk (docker system df shows what takes it). {_WAIT}",
        retryable=True,
    ),
    _cause(
        r"exit code: 137|signal: killed|signal 9|out of memory|Cannot allocate memory|^MemoryError",
        "it was killed, most likely for lack of memory",
        "Build with fewer parallel jobs, raise limits.build_memory, or give the machine more memory",
    ),
    Cause(
        NETWORK,
        "the network was not reachable",
        f"Check the machine's network, DNS and proxy variables. {_WAIT}",
        retryable=True,
    ),
    _cause(
        r"can only install with an existing package-lock\.json",
        "there is no package-lock.json",
        "Run npm install and commit package-lock.json",
    ),
    _cause(
        r"`npm ci` can only install packages when|npm ci can only install packages when",
        "package-lock.json is not up to date with package.json",
        "Run npm install and commit package-lock.json",
    ),
    _cause(r"ERR_PNPM_NO_LOCKFILE", "there is no pnpm-lock.yaml", "Run pnpm install and commit pnpm-lock.yaml"),
    _cause(
        r"ERR_PNPM_(?:OUTDATED_LOCKFILE|LOCKFILE_CONFIG_MISMATCH)",
        "pnpm-lock.yaml is not up to date with package.json",
        "Run pnpm install and commit pnpm-lock.yaml",
    ),
    _cause(
        r"Your lockfile needs to be updated|The lockfile would have been (?:modified|created) by this install",
        "yarn.lock is not up to date with package.json",
        "Run yarn install and commit yarn.lock",
    ),
    _cause(
        r"changed significantly since poetry\.lock was last generated|poetry\.lock is not up to date",
        "poetry.lock is not up to date with pyproject.toml",
        "Run poetry lock and commit poetry.lock",
    ),
    _cause(r"Unable to find lockfile at `?uv\.lock", "there is no uv.lock", "Run uv lock and commit uv.lock"),
    _cause(
        r"The lockfile at `?uv\.lock`? needs to be updated",
        "uv.lock is not up to date with pyproject.toml",
        "Run uv lock and commit uv.lock",
    ),
    _cause(
        r"Pipfile\.lock\b.* (?:is out of date|not found)",
        "Pipfile.lock is missing or not up to date with Pipfile",
        "Run pipenv lock and commit Pipfile.lock",
    ),
    _cause(
        r"Lock file does not exist|Lock file hash doesn't match|lock file is not up to date",
        "the lock file is missing or not up to date",
        "Make it anew (pdm lock, composer update --lock) and commit it",
    ),
    _cause(
        r"the lock file \S*Cargo\.lock needs to be updated"
        r"|cannot (?:create|update) the lock file .*because --(?:locked|frozen)",
        "Cargo.lock is missing or not up to date with Cargo.toml",
        "Run cargo build and commit Cargo.lock",
    ),
    _cause(
        r"missing go\.sum entry|updates to go\.mod needed|inconsistent vendoring",
        "go.mod or go.sum is not up to date",
        "Run go mod tidy and commit go.mod and go.sum",
    ),
    _cause(
        r"No matching distribution found for ([^\s(]+)",
        'no version of "{}" found',
        "Check the name and version in the requirements, and that the package index answers inside builds",
    ),
    _cause(
        r"'([^'\s]+)' is not in (?:this|the npm) registry|No matching version found for ([^\s]+?)\.?$"
        r"|The requested resource '([^'\s]+)' could not be found|Couldn't find package \"([^\"\s]+)\"",
        'no version of "{}" found',
        "Check the name and version in package.json, and that the registry answers inside builds",
    ),
    _cause(
        r"no matching package named `([^`]+)` found",
        'no version of "{}" found',
        "Check the name and version in Cargo.toml, and that the registry answers inside builds",
    ),
    _cause(
        r"Could not find artifact (\S+)",
        'no version of "{}" found',
        "Check the name and version in pom.xml, and that the repository answers inside builds",
    ),
    _cause(
        r"Unable to locate package (\S+)",
        'Debian package "{}" not found',
        "Run apt-get update in the same RUN, or correct its name",
    ),
    _cause(
        r"Missing script: \"?([^\s\"]+)",
        'package.json has no script "{}"',
        "Add it under scripts",
    ),
    _cause(
        r"Cannot find module '([^']+)'|Cannot find package '([^']+)'",
        'Node module "{}" is not installed',
        "Add it to package.json, under dependencies or devDependencies, and commit the lock file",
    ),
    _cause(
        r"^ModuleNotFoundError: No module named '([^']+)'",
        'Python module "{}" is not installed',
        "Add its package to the requirements",
    ),
    _cause(
        r"^(\S+\.go:\d+:\d+: .+)$"
        r"|^(error(?:\[E\d+\])?: (?!could not compile).+\n +--> .+)$"
        r"|^(\S+\.[cm]?tsx?(?:\(\d+,\d+\)|:\d+:\d+)(?: -|:) error TS\d+: .+)$"
        r"|^((?:\[ERROR\] )?\S+\.(?:java|kt):\S*\d\S* .+)$"
        r"|^(\S+\.(?:c|cc|cpp|h|hpp):\d+:\d+: (?:fatal )?error: .+)$",
        "it does not compile: {}",
        "Correct it; the log has the rest",
    ),
    _cause(
        r"(?:^|[: ])([\w./+-]+): (?:command )?not found$[\s\S]*exit code: 127"
        r'|exec: "([^"]+)": (?:executable file not found|stat)',
        'program "{}" is not in the image',
        "Install it in an earlier step, or correct its name; a script with Windows line ends is not found either",
    ),
    _cause(
        r"exit code: 127",
        "a program is not in the image",
        "Install it in an earlier step, or correct its name",
    ),
    _cause(
        r"(?:^|[\s:])([^\s:]+): Permission denied$[\s\S]*exit code: 126",
        'file "{}" may not be run',
        "Make it executable (git update-index --chmod=+x), or call its interpreter",
    ),
    _cause(
        r"secret ([\w.-]+)(?: not found)?: not found$|/run/secrets/([\w.-]+)'?: No such file or directory",
        'build secret "{}" is not given',
        "Add it to build.secrets in the spec",
    ),
    _cause(
        r"^(.*(?:Permission denied|EACCES: permission denied).*)$",
        "{}",
        "Do it in a step before USER, or give that user the folder (COPY --chown)",
    ),
    _cause(
        r"unable to find user ([^\s:]+)",
        'user "{}" is not in the image',
        "Add it with useradd in an earlier step, or correct USER",
    ),
    _cause(
        r"base name \(([^)]*)\) should not be blank",
        "FROM {} names no image",
        "Give its ARG a default (ARG NAME=value), or a value in build.args",
    ),
    _cause(
        r"no build stage in current context",
        "the Dockerfile does not begin with FROM",
        "Begin it with FROM and a base image; only ARG may stand before",
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
