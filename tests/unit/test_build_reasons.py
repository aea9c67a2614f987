"""Why a build failed, in one sentence with what to do: by the words of real builds, on old and new engines."""

from __future__ import annotations

import pytest

from reconciler.adapters.build_causes import CAUSES
from reconciler.adapters.build_reasons import explain, title

STEP = "[2/3] RUN pip install -r requirements.txt"
PREFIX = 'build step 2/3 "pip install -r requirements.txt" failed: '
CODE_1 = "executor failed running [/bin/sh -c x]: exit code: 1"
CODE_1_NOW = 'process "/bin/sh -c x" did not complete successfully: exit code: 1'
CODE_127 = "executor failed running [/bin/sh -c x]: exit code: 127"
CODE_126 = 'process "/bin/sh -c /run.sh" did not complete successfully: exit code: 126'
CODE_137 = 'process "/bin/sh -c x" did not complete successfully: exit code: 137'
NPM_HELP = ["npm error", "npm error Usage:", "npm error npm ci", "npm error"]
NPM_END = ["npm notice", "npm notice New major version of npm available! 11.21.2 -> 12.2.0", "npm notice"]
RUSTC = ["error[E0425]: cannot find value `y` in this scope", " --> src/main.rs:3:20", "  |"]

KNOWN = [
    # memory, disk, network
    (["Killed"], CODE_137, "it was killed, most likely for lack of memory"),
    (['  File "<string>", line 1', "MemoryError"], CODE_1, "it was killed, most likely for lack of memory"),
    (["FATAL ERROR: JavaScript heap out of memory"], CODE_1, "it was killed, most likely for lack of memory"),
    (["cat: write error: No space left on device"], CODE_1_NOW, "the disk is full"),
    (["OSError: [Errno 28] No space left on device"], CODE_1, "the disk is full"),
    (
        ["Temporary failure in name resolution", "ERROR: No matching distribution found for flask"],
        CODE_1,
        "the network was not reachable",
    ),
    (["  Could not resolve 'deb.invalid'", "E: Unable to locate package x"], CODE_1, "the network was not reachable"),
    (["npm error code ENOTFOUND", "npm error errno ENOTFOUND"], CODE_1, "the network was not reachable"),
    (["urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>"], CODE_1, "the network was"),
    # lock files
    (
        ["npm error The `npm ci` command can only install with an existing package-lock.json or", *NPM_HELP],
        CODE_1,
        "there is no package-lock.json",
    ),
    (
        ["npm error `npm ci` can only install packages when your package.json and package-lock.json or", *NPM_HELP],
        CODE_1,
        "package-lock.json is not up to date with package.json",
    ),
    (
        [' ERR_PNPM_NO_LOCKFILE  Cannot install with "frozen-lockfile" because pnpm-lock.yaml is absent'],
        CODE_1,
        "there is no pnpm-lock.yaml",
    ),
    (
        [' ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with "frozen-lockfile" because pnpm-lock.yaml is not'],
        CODE_1,
        "pnpm-lock.yaml is not up to date with package.json",
    ),
    (
        ["error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`."],
        CODE_1,
        "yarn.lock is not up to date with package.json",
    ),
    (
        ["pyproject.toml changed significantly since poetry.lock was last generated. Run `poetry lock` to fix it."],
        CODE_1,
        "poetry.lock is not up to date with pyproject.toml",
    ),
    (["error: Unable to find lockfile at `uv.lock`, but `--frozen` was provided."], CODE_1, "there is no uv.lock"),
    (
        ["error: The lockfile at `uv.lock` needs to be updated, but `--locked` was provided."],
        CODE_1,
        "uv.lock is not up to date with pyproject.toml",
    ),
    (
        ["Your Pipfile.lock (0a1b2c) is out of date. Expected: (d3e4f5)."],
        CODE_1,
        "Pipfile.lock is missing or not up to date with Pipfile",
    ),
    (["Lock file does not exist or is incompatible"], CODE_1, "the lock file is missing or not up to date"),
    (
        ["error: cannot update the lock file /src/Cargo.lock because --locked was passed to prevent this"],
        CODE_1,
        "Cargo.lock is missing or not up to date with Cargo.toml",
    ),
    (
        ["main.go:4:2: missing go.sum entry for module providing package example.org/x"],
        CODE_1,
        "go.mod or go.sum is not up to date",
    ),
    # packages and modules
    (["ERROR: No matching distribution found for flsk==9 (from -r x)"], CODE_1, 'no version of "flsk==9" found'),
    (["npm error notarget No matching version found for ms@99.1.", *NPM_END], CODE_1, 'no version of "ms@99.1" found'),
    (
        ["npm error 404  The requested resource 'nosuch@*' could not be found or you do not have", *NPM_END],
        CODE_1,
        'no version of "nosuch@*" found',
    ),
    (["error: no matching package named `foo` found"], CODE_1, 'no version of "foo" found'),
    (
        ["[ERROR] Could not find artifact org.x:y:jar:1.0 in central"],
        CODE_1,
        'no version of "org.x:y:jar:1.0" found',
    ),
    (["E: Unable to locate package nosuchpkg"], CODE_1, 'Debian package "nosuchpkg" not found'),
    (['npm error Missing script: "build"', *NPM_END], CODE_1, 'package.json has no script "build"'),
    (["Error: Cannot find module 'vite'", "Node.js v24.21.0"], CODE_1, 'Node module "vite" is not installed'),
    (
        ["ModuleNotFoundError: No module named 'nosuchmodule'"],
        CODE_1,
        'Python module "nosuchmodule" is not installed',
    ),
    # compilers: the first error of many
    (
        ["# app", "./main.go:5:2: undefined: foo", "./main.go:9:2: undefined: bar"],
        CODE_1,
        "it does not compile: ./main.go:5:2: undefined: foo",
    ),
    (
        ["   Compiling a v0.1.0", *RUSTC, "error: could not compile `a` (bin) due to 2 previous errors"],
        CODE_1,
        "it does not compile: error[E0425]: cannot find value `y` in this scope --> src/main.rs:3:20",
    ),
    (
        ["a.ts(1,7): error TS2322: Type 'string' is not assignable to type 'number'."],
        CODE_1,
        "it does not compile: a.ts(1,7): error TS2322: Type 'string' is not assignable to type 'number'.",
    ),
    (
        ["\x1b[96ma.ts\x1b[0m:\x1b[93m1\x1b[0m:\x1b[93m7\x1b[0m - \x1b[91merror\x1b[0m\x1b[90m TS2322: \x1b[0mType"],
        CODE_1,
        "it does not compile: a.ts:1:7 - error TS2322: Type",
    ),
    (
        ["[ERROR] /src/A.java:[3,5] ';' expected"],
        CODE_1,
        "it does not compile: [ERROR] /src/A.java:[3,5] ';' expected",
    ),
    (
        ["x.c:3:5: error: expected ';' before 'return'"],
        CODE_1,
        "it does not compile: x.c:3:5: error: expected ';' before 'return'",
    ),
    # programs, files, users, secrets
    (["/bin/sh: 1: gcc: not found"], CODE_127, 'program "gcc" is not in the image'),
    (["/bin/bash: line 1: make: command not found"], CODE_127, 'program "make" is not in the image'),
    (["> vite build", "", "sh: 1: vite: not found", *NPM_END], CODE_127, 'program "vite" is not in the image'),
    (
        ['runc run failed: unable to start container process: exec: "/bin/sh": stat /bin/sh: no such file'],
        CODE_1,
        'program "/bin/sh" is not in the image',
    ),
    (["exec failed"], CODE_127, "a program is not in the image"),
    (["/bin/sh: 1: /run.sh: Permission denied"], CODE_126, 'file "/run.sh" may not be run'),
    (
        ["mkdir: cannot create directory '/opt/x': Permission denied"],
        CODE_1,
        "mkdir: cannot create directory '/opt/x': Permission denied",
    ),
    ([], "secret TOKEN not found: not found", 'build secret "TOKEN" is not given'),
    ([], "secret TOKEN: not found", 'build secret "TOKEN" is not given'),
    (["cat: /run/secrets/TOKEN: No such file or directory"], CODE_1, 'build secret "TOKEN" is not given'),
    ([], 'process "/bin/sh -c x" did not complete: unable to find user joe: invalid', 'user "joe" is not in the image'),
    # the last words, without noise
    (["building", "boom"], CODE_1, "boom (exit code 1)"),
    (["npm error the reason", *NPM_END, "npm error A complete log of this run can be"], CODE_1, "npm error the reason"),
    (
        ["Error: the reason", "    at Module._load (node:internal:1)", "}", ""],
        CODE_1,
        "Error: the reason (exit code 1)",
    ),
    (["SyntaxError: invalid syntax"], CODE_1, "SyntaxError: invalid syntax (exit code 1)"),
    ([], CODE_1_NOW, "exit code 1"),
]


@pytest.mark.parametrize(("last_lines", "error", "what"), KNOWN)
def test_a_failed_step_is_told_by_its_cause(last_lines: list[str], error: str, what: str) -> None:
    failure = explain(STEP, last_lines, error)
    assert failure.what.startswith(f"{PREFIX}{what}")
    assert not failure.engine_gone


@pytest.mark.parametrize(("last_lines", "error", "what"), KNOWN)
def test_only_the_network_and_the_disk_are_worth_another_try(last_lines: list[str], error: str, what: str) -> None:
    assert explain(STEP, last_lines, error).retryable == (what.startswith(("the network", "the disk")))


def test_every_cause_says_what_to_do() -> None:
    assert [cause.sentence for cause in CAUSES if not cause.hint] == []


FRONTEND = "ERROR: failed to solve: rpc error: code = Unknown desc = failed to solve with frontend dockerfile.v0: "
LLB = FRONTEND + "failed to create LLB definition: "


def pointed(line: int, text: str, message: str) -> str:
    """As engines from 23 on show the line of the Dockerfile."""
    rule = "-" * 20
    return f"Dockerfile:{line}\n{rule}\n {line} | >>> {text}\n{rule}\nERROR: failed to solve: {message}"


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (LLB + "dockerfile parse error line 2: unknown instruction: RUNN", "line 2: unknown instruction: RUNN"),
        (
            pointed(2, "RUNN x", "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)"),
            "line 2: unknown instruction: RUNN (did you mean RUN?)",
        ),
        (pointed(2, "RUN --mount=type=x y", 'unsupported mount type "x"'), 'line 2: unsupported mount type "x"'),
    ],
)
def test_a_line_of_the_dockerfile_is_named(error: str, what: str) -> None:
    failure = explain("", (), error)
    assert failure.what == f"Dockerfile {what}"
    assert "Correct that line" in failure.hint


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (LLB + "no build stage in current context", "the Dockerfile does not begin with FROM"),
        (pointed(1, "RUN x", "no build stage in current context"), "the Dockerfile does not begin with FROM"),
        (LLB + "base name (${BASE}) should not be blank", "FROM ${BASE} names no image"),
        (pointed(2, "FROM ${BASE}", "base name (${BASE}) should not be blank"), "FROM ${BASE} names no image"),
        (LLB + "the Dockerfile cannot be empty", "the Dockerfile cannot be empty"),
    ],
)
def test_a_dockerfile_that_cannot_begin_is_told(error: str, what: str) -> None:
    assert explain("", (), error).what == f"the build failed: {what}"


@pytest.mark.parametrize(
    ("step", "error", "what"),
    [
        ("COPY nope.txt /", '"/nope.txt" not found: not found', 'file "nope.txt" is not in the source'),
        (
            "COPY nope.txt /",
            'failed to calculate checksum of ref 6a::x: "/nope.txt": not found',
            'file "nope.txt" is not in the source',
        ),
        (
            "COPY --from=b /x /",
            "lstat /var/lib/docker/overlay2/84f9/merged/x: no such file or directory",
            'file "/x" is not in what --from names',
        ),
        (
            "COPY --from=b /x /",
            "lstat /var/lib/docker/tmp/buildkit-mount1985757311/x: no such file or directory",
            'file "/x" is not in what --from names',
        ),
        (
            "COPY --from=b /x /",
            'failed to calculate checksum of ref 6a::x: "/x": not found',
            'file "/x" is not in what --from names',
        ),
    ],
)
def test_a_file_that_copy_misses_is_named(step: str, error: str, what: str) -> None:
    failure = explain(f"[stage-1 2/2] {step}", (), error)
    assert failure.what == f'build step 2/2 "{step}" failed: {what}'
    assert failure.hint


@pytest.mark.parametrize(
    ("error", "retryable", "hint"),
    [
        ("pull access denied, repository does not exist", False, "Check the name in FROM, or build a base"),
        ("registry.invalid/x:1: not found", False, "Check the name in FROM, or build a base"),
        ('Head "https://x/v2/": dial tcp: lookup x on 10.0.0.1:53: no such host', True, "registry does not answer"),
        ("dial udp 10.0.0.1:53: connect: network is unreachable", True, "tried again by itself"),
        ("toomanyrequests: You have reached your pull rate limit", True, "tried again by itself"),
        ("unexpected status code 500", False, "that its registry answers"),
    ],
)
def test_a_base_image_is_named_as_its_dockerfile_names_it(error: str, retryable: bool, hint: str) -> None:
    for step in (
        "[internal] load metadata for docker.io/library/pyhton:3.12",
        "FROM docker.io/library/pyhton:3.12",
    ):
        failure = explain(step, (), error)
        assert failure.what == f'base image "pyhton:3.12" could not be read: {error}'
        assert failure.retryable is retryable
        assert hint in failure.hint


@pytest.mark.parametrize(
    "error",
    [
        "ERROR: Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?",
        "ERROR: failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF",
    ],
)
def test_an_engine_that_went_away_is_not_the_sources_fault(error: str) -> None:
    assert explain("", (), error).engine_gone


def test_a_reason_is_one_line_of_bounded_length() -> None:
    what = explain(STEP, ["x" * 5000 + "\ny"], CODE_1).what
    assert "\n" not in what
    assert len(what) == 300


def test_a_step_is_named_by_its_command_without_flags_and_at_most_100_characters_of_it() -> None:
    assert title("[build 2/5] RUN --mount=type=cache,target=/x --network=none npm ci") == 'build step 2/5 "npm ci"'
    assert title("[2/5] RUN " + "x" * 150) == f'build step 2/5 "{"x" * 99}…"'
    assert title("exporting to image") == 'build step "exporting to image"'
