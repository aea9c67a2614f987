"""The machine's own mirrors are found in both formats of apt, and translated to another release."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import HostUnfit
from reconciler.host import apt_sources, rootfs
from reconciler.host.apt_sources import Source

ONE_LINE = """\
# deb http://commented.invalid/debian old main
deb [arch=amd64 signed-by=/keys/debian.gpg] http://mirror.invalid/debian old main contrib # why
deb-src http://mirror.invalid/debian old main
deb http://mirror.invalid/debian old-updates main
deb http://vendor.invalid/apt stable main
"""
DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://one.invalid/debian http://two.invalid/debian
Suites: old old-updates
Components: main
# between fields
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Enabled: no
Types: deb
URIs: http://off.invalid/debian
Suites: old
Components: main

Types: deb
URIs: http://security.invalid/debian
Suites: old-security
Components: main
"""


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_the_one_line_format_is_read(apt: Path) -> None:
    (apt / "sources.list").write_text(ONE_LINE)
    assert apt_sources.read_sources(apt) == [
        Source("http://mirror.invalid/debian", "old", ("main", "contrib"), "/keys/debian.gpg"),
        Source("http://mirror.invalid/debian", "old-updates", ("main",)),
        Source("http://vendor.invalid/apt", "stable", ("main",)),
    ]


def test_the_deb822_format_is_read_with_inline_keys_and_several_mirrors(apt: Path) -> None:
    (apt / "sources.list.d/debian.sources").write_text(DEB822)
    sources = apt_sources.read_sources(apt)
    assert [(source.uri, source.suite) for source in sources] == [
        ("http://one.invalid/debian", "old"),
        ("http://one.invalid/debian", "old-updates"),
        ("http://two.invalid/debian", "old"),
        ("http://two.invalid/debian", "old-updates"),
        ("http://security.invalid/debian", "old-security"),
    ]
    assert sources[0].signed_by == "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc"


def test_files_of_other_names_are_not_read(apt: Path) -> None:
    (apt / "sources.list.d/old.list.save").write_text(ONE_LINE)
    assert apt_sources.read_sources(apt) == []


def test_the_source_of_the_own_release_is_found_among_others(apt: Path) -> None:
    (apt / "sources.list").write_text(ONE_LINE)
    assert apt_sources.release_source("old", apt).uri == "http://mirror.invalid/debian"


def test_a_release_that_apt_does_not_name_is_refused_with_what_to_do(apt: Path) -> None:
    with pytest.raises(HostUnfit, match=r'no apt source of .* has the suite "new".* Add it to'):
        apt_sources.release_source("new", apt)


def test_another_suite_of_a_mirror_keeps_the_mirror_and_its_key() -> None:
    source = Source("http://mirror.invalid/debian", "old", ("main", "contrib"), "/keys/debian.gpg")
    assert source.as_deb822("new") == (
        "Types: deb\nURIs: http://mirror.invalid/debian\nSuites: new\nComponents: main\nSigned-By: /keys/debian.gpg\n"
    )


def test_a_source_that_was_written_is_read_back(apt: Path) -> None:
    source = Source("http://mirror.invalid/debian", "old", ("main",), "\n -----BEGIN\n abc")
    (apt / "sources.list.d/ours.sources").write_text(source.as_deb822("old"))
    assert apt_sources.read_sources(apt) == [source]


def test_mirrors_of_another_release_take_updates_and_security_along() -> None:
    sources = [
        Source("http://vendor.invalid/apt", "stable", ("main",)),
        Source("http://security.invalid/debian", "old-security", ("main",)),
        Source("http://mirror.invalid/debian", "old", ("main",)),
        Source("http://mirror.invalid/debian", "old-backports", ("main",)),
    ]
    assert rootfs.mirrors_for("new", "old", sources) == [
        Source("http://mirror.invalid/debian", "new", ("main",)),
        Source("http://security.invalid/debian", "new-security", ("main",)),
    ]


def test_without_a_mirror_of_the_own_release_there_is_no_base_image() -> None:
    with pytest.raises(HostUnfit, match='no source of this machine\'s own release "old"'):
        rootfs.mirrors_for("old", "old", [Source("http://vendor.invalid/apt", "stable", ("main",))])
