"""What is an address, and what of it may be used; no repository and no network is needed for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.adapters.git_address import parse
from reconciler.errors import SourceUnusable


@pytest.mark.parametrize(
    ("repo", "kind", "host"),
    [
        ("https://Example.com/acme/blog.git", "http", "example.com"),
        ("http://127.0.0.1:8080/x", "http", "127.0.0.1"),
        ("git://example.com/x", "git", "example.com"),
        ("ssh://git@example.com:2222/x", "ssh", "example.com"),
        ("git@Example.com:acme/blog.git", "ssh", "example.com"),
        ("example.com:blog.git", "ssh", "example.com"),
    ],
)
def test_a_remote_is_known_by_its_form(repo: str, kind: str, host: str) -> None:
    address = parse(repo, local_paths=())
    assert (address.kind, address.host, address.path) == (kind, host, None)


@pytest.mark.parametrize(
    "repo",
    [
        "",
        "blog",
        "./blog",
        "../blog",
        "~/blog",
        "ext::sh -c id",
        "fd::7/x",
        "-oProxyCommand=id",
        "--upload-pack=id",
        "ssh://-oProxyCommand=id/x",
        "-host:x",
        "ftp://example.com/x",
        "javascript:alert(1)//",
        "https:///x",
        "https://[::1/x",
        "https://example.com:99999/x",
        "http://a\nb/x",
        "file://elsewhere/x",
        "file:relative",
        "git@example.com:",
    ],
)
def test_anything_else_is_refused_with_what_was_expected(repo: str) -> None:
    with pytest.raises(SourceUnusable) as refused:
        parse(repo, local_paths=("/",))
    assert "expected" in str(refused.value)


@pytest.mark.parametrize(
    "repo", ["https://ana:hunter2@example.com/x", "https://token@example.com/x", "ssh://a:hunter2@h/x"]
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(repo: str) -> None:
    with pytest.raises(SourceUnusable) as refused:
        parse(repo, local_paths=())
    assert "carries a user name or password" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert "token" not in str(refused.value)


def test_a_path_counts_by_where_it_really_is(tmp_path: Path) -> None:
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    allowed.mkdir()
    outside.mkdir()
    (allowed / "link").symlink_to(outside)
    (tmp_path / "alias").symlink_to(allowed)
    local_paths = (str(tmp_path / "alias"),)
    assert parse(f"{tmp_path}/alias/app", local_paths=local_paths).path == allowed / "app"
    assert parse(f"file://{allowed}/my%20app", local_paths=local_paths).path == allowed / "my app"
    assert parse(str(allowed), local_paths=local_paths).path == allowed
    for repo in (
        f"{allowed}/link/app",
        f"{allowed}/../outside",
        f"{allowed}-not",
        "/etc",
        f"file://{allowed}/%2e%2e/x",
    ):
        with pytest.raises(SourceUnusable, match="local_paths"):
            parse(repo, local_paths=local_paths)
    with pytest.raises(SourceUnusable, match="none is allowed"):
        parse(str(allowed), local_paths=())
