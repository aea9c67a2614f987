"""Versions as people ask for them, in the spellings of many tools, against the version that an image has."""

from __future__ import annotations

import pytest

from reconciler.model.versions import fits, newest_fitting, number


@pytest.mark.parametrize(
    ("asked", "had"),
    [
        ("3.11", "3.11.2"),
        ("3.11.9", "3.11"),
        (">=3.10", "3.11.2"),
        (">=3.10,<4", "3.11.2"),
        ("<3.12", "3.11.2"),
        ("<=3.11", "3.11.2"),
        (">3.11.1", "3.11"),
        ("<3.11.4", "3.11"),
        ("!=3.11.1", "3.11"),
        ("!=3.12", "3.11"),
        ("^3.8", "3.11.2"),
        ("^0.4.1", "0.4"),
        ("~=3.10", "3.11.2"),
        ("~> 3.11.0", "3.11.2"),
        ("~3.11", "3.11.2"),
        ("==3.11.*", "3.11.2"),
        ("3.x", "3.11.2"),
        ("20.x || 22.x", "22.3.0"),
        ("^18 | ^20", "20.1.0"),
        (">=18 <21", "20.1.0"),
        ("v20.11.1", "20"),
        ("lts/iron", "20.11.1"),
        ("python-3.11.2", "3.11.2"),
        ("stable", "1.96.0"),
        ("lts/*", "24.1.0"),
        ("3.12", "no version"),
    ],
)
def test_a_version_that_is_meant_fits(asked: str, had: str) -> None:
    assert fits(asked, had, language="python")


@pytest.mark.parametrize(
    ("asked", "had"),
    [
        ("3.12", "3.11.2"),
        ("2", "3.11.2"),
        (">=3.12", "3.11.2"),
        (">3.11", "3.11.2"),
        (">=3.10,<3.11", "3.11.2"),
        ("<=3.10", "3.11.2"),
        ("!=3.11", "3.11.2"),
        ("^2.7", "3.11.2"),
        ("^0.4", "0.5"),
        ("~> 3.2.0", "3.3.1"),
        ("20.x || 22.x", "24.1.0"),
        ("lts/iron", "22.1.0"),
    ],
)
def test_a_version_that_is_not_meant_does_not_fit(asked: str, had: str) -> None:
    assert not fits(asked, had, language="python")


@pytest.mark.parametrize("language", ["go", "rust", "java"])
def test_a_newer_compiler_builds_what_asks_for_an_older_one(language: str) -> None:
    assert fits("1.19", "1.24.4", language=language)
    assert not fits("1.25", "1.24.4", language=language)


def test_the_newest_that_fits_is_chosen() -> None:
    assert newest_fitting(">=18", ("24", "22", "20"), language="node") == "24"
    assert newest_fitting("<21", ("24", "22", "20"), language="node") == "20"
    assert newest_fitting("16", ("24", "22", "20"), language="node") == ""


def test_a_number_is_found_in_what_a_program_says_of_itself() -> None:
    assert number("go version go1.24.4 linux/amd64") == (1, 24, 4)
    assert number("openjdk 21.0.8 2025-07-15") == (21, 0, 8)
    assert number("none") == ()
