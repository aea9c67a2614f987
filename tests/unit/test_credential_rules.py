"""Who may use which credential is decided from the texts alone, with file and line (invariant 12)."""

from __future__ import annotations

import pytest

from reconciler.desired.validation import SpecFile, validate
from reconciler.model.address import remote_of

PLATFORM = """apiVersion: gitstead/v1
kind: Platform
credentials:
  blog-deploy-key: {kind: ssh-key, host: git.example.com, value: "age:YQ=="}
  odd-port: {kind: ssh-key, host: "git.example.com:2222", value: "age:YQ=="}
  token: {kind: https-token, host: git.example.com, value: "age:YQ==", username: ana}
  shops: {kind: ssh-key, host: git.example.com, value: "age:YQ==", projects: [shop, store]}
"""


def problems(platform: str = PLATFORM, **sources: str) -> list[str]:
    files = {
        f"projects/{name}.yaml": SpecFile("", f"apiVersion: gitstead/v1\nkind: Project\nsource:\n{text}".encode())
        for name, text in sources.items()
    }
    validation = validate({"platform.yaml": SpecFile("", platform.encode()), **files})
    assert {spec.name for spec in validation.projects} == set(sources) - {
        each.project for each in validation.diagnostics
    }
    return [str(each) for each in validation.diagnostics]


def source(repo: str, credentials: str = "", *more: str) -> str:
    lines = [
        f"  repo: {repo}",
        *([f"  credentials: {credentials}"] if credentials else []),
        *(f"  {each}" for each in more),
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("repo", "credentials"),
    [
        ("git@git.example.com:acme/blog.git", "blog-deploy-key"),
        ("ssh://git@GIT.example.com/acme/blog.git", "blog-deploy-key"),
        ("ssh://git@git.example.com:22/acme/blog.git", "blog-deploy-key"),
        ("ssh://git@git.example.com:2222/acme/blog.git", "odd-port"),
        ("https://git.example.com/acme/blog.git", "token"),
        ("https://git.example.com/acme/blog.git", ""),
    ],
)
def test_a_credential_that_fits_is_accepted(repo: str, credentials: str) -> None:
    assert problems(blog=source(repo, credentials)) == []


@pytest.mark.parametrize(
    ("repo", "credentials", "words"),
    [
        (
            "git@git.example.com:x.git",
            "blog-deploy-kye",
            'names "blog-deploy-kye", which is no credential of platform.yaml. Did you mean "blog-deploy-key"?',
        ),
        ("git@git.example.com:x.git", "zzz", "its credentials are blog-deploy-key, odd-port, shops, token"),
        (
            "git@git.example.org:x.git",
            "blog-deploy-key",
            "is for git.example.com, and the repository lies on git.exampl",
        ),
        ("ssh://git@git.example.com:2222/x.git", "blog-deploy-key", "the repository lies on git.example.com:2222"),
        (
            "git@git.example.com:x.git",
            "odd-port",
            "is for git.example.com:2222, and the repository lies on git.example",
        ),
        ("https://git.example.com/x.git", "blog-deploy-key", ", an ssh key, and the repository's address is https://"),
        ("git@git.example.com:x.git", "token", ", a token, and the repository's address is ssh://"),
        ("http://git.example.com/x.git", "token", ", a token, and the repository's address is http://"),
        (
            "git@git.example.com:x.git",
            "shops",
            "shops, which is for shop, store alone: add blog to its projects",
        ),
        ("/srv/git/x.git", "token", "is a path of this host, which needs none: leave it out"),
    ],
)
def test_a_credential_that_does_not_fit_is_told_at_its_place(repo: str, credentials: str, words: str) -> None:
    (problem,) = problems(blog=source(repo, credentials), other=source("/srv/git/other.git"))
    assert problem.startswith("projects/blog.yaml:5:16 source.credentials ")
    assert words in problem


def test_a_platform_without_credentials_says_how_to_make_one() -> None:
    (problem,) = problems("apiVersion: gitstead/v1\nkind: Platform\n", blog=source("git@git.example.com:x", "key"))
    assert problem.endswith("it has none yet; gitstead deploy-key PROJECT makes one")


def test_two_projects_ask_for_one_repository_alike_or_the_second_is_kept_back() -> None:
    repo = "git@git.example.com:acme/mono.git"
    assert problems(blog=source(repo, "blog-deploy-key"), shop=source(repo, "blog-deploy-key")) == []
    assert problems(blog=source(repo, "blog-deploy-key"), shop=source(repo, "shops")) == [
        "projects/shop.yaml:5:16 source.credentials is shops, and blog-deploy-key in projects/blog.yaml:5:16 for the "
        "same repository: agree on one"
    ]
    assert problems(blog=source(repo, "blog-deploy-key"), shop=source(repo)) == [
        "projects/shop.yaml:4:9 source.credentials is not set, and blog-deploy-key in projects/blog.yaml:5:16 for the "
        "same repository: agree on one"
    ]
    (problem,) = problems(blog=source(repo, "", "host_key: first-use"), shop=source(repo))
    assert problem.startswith(
        "projects/shop.yaml:4:9 source.host_key is pinned, and first-use in projects/blog.yaml:5:"
    )


@pytest.mark.parametrize(
    ("repo", "scheme", "authority"),
    [
        ("https://git.example.com/x", "https", "git.example.com"),
        ("https://git.example.com:443/x", "https", "git.example.com"),
        ("http://git.example.com:443/x", "http", "git.example.com:443"),
        ("git@Git.Example.com:x", "ssh", "git.example.com"),
        ("git.example.com:x", "ssh", "git.example.com"),
        ("ssh://[::1]:2222/x", "ssh", "::1:2222"),
        ("git://git.example.com:9418/x", "git", "git.example.com"),
        ("/srv/x", "", ""),
        ("file:///srv/x", "", ""),
        ("https://git.example.com:port/x", "", ""),
        ("https://[::1/x", "", ""),
    ],
)
def test_an_address_names_one_server(repo: str, scheme: str, authority: str) -> None:
    assert (remote_of(repo).scheme, remote_of(repo).authority) == (scheme, authority if scheme else ":0")
