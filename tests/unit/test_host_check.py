"""What `doctor` prints: what is well in two columns, what is not with its hint, then the counts."""

from __future__ import annotations

import json

import pytest

from reconciler.host import check
from reconciler.host.check import Check

GIT = Check("git", "ok", "2.39")
DISK = Check("disk", "ok", "71 GB free (floor 5 GB)")
LONG = Check("docker", "ok", "20.10, overlay2, 128 CPUs, 1024 GB")
BUILDX = Check("buildx", "problem", "not installed: builds need it", "gitstead doctor --fix installs it")
LOGS = Check("build logs", "warning", "the engine cuts each step", "restart the engine")


def test_what_is_well_stands_in_two_columns_and_the_rest_has_its_hint() -> None:
    assert check.as_text([GIT, BUILDX, DISK, LONG, LOGS]) == (
        "✓ git 2.39                             ✓ disk 71 GB free (floor 5 GB)\n"
        "✓ docker 20.10, overlay2, 128 CPUs, 1024 GB\n"
        "✗ buildx      not installed: builds need it\n"
        "              → gitstead doctor --fix installs it\n"
        "! build logs  the engine cuts each step\n"
        "              → restart the engine\n"
        "1 problem, 1 warning"
    )


def test_when_all_is_well_the_last_line_says_so() -> None:
    assert check.as_text([GIT]) == "✓ git 2.39\nall 1 checks are fine"


def test_counts_agree_in_number() -> None:
    assert check.counts([BUILDX, BUILDX, LOGS]) == "2 problems, 1 warning"


@pytest.mark.parametrize(("checks", "status"), [([GIT], 0), ([GIT, LOGS], 0), ([LOGS, BUILDX], 1)])
def test_only_problems_make_the_exit_status_1(checks: list[Check], status: int) -> None:
    assert check.exit_status(checks) == status


def test_json_holds_the_same_facts() -> None:
    facts = json.loads(check.as_json([GIT, BUILDX]))
    assert (facts["problems"], facts["warnings"]) == (1, 0)
    assert facts["checks"][1] == {
        "name": "buildx",
        "level": "problem",
        "text": "not installed: builds need it",
        "hint": "gitstead doctor --fix installs it",
    }
