"""Private repositories through the whole platform: deployed, rotated without a restart, revoked while apps run on.

A real sshd with what `gitstead deploy-key` printed, a real `git http-backend` with a token; acceptance 3 of the builds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.adapters.secret_box import recipients_of, seal
from tests.git_servers import HttpServer, SshServer, make_key, ssh_server, sshd_missing
from tests.platform_support import Platform, wait_for

pytestmark = pytest.mark.real

TOKENS = ("token-one-canary", "token-two-canary")


@pytest.fixture
def ssh(platform: Platform) -> Iterator[SshServer]:
    if sshd_missing():
        pytest.skip(sshd_missing())
    (platform.folder / "ssh").mkdir()
    with ssh_server(platform.folder / "ssh") as server:
        server.authorize()
        yield server


@pytest.fixture
def http(platform: Platform) -> Iterator[HttpServer]:
    with HttpServer(platform.folder) as server:
        server.login = ("ana", TOKENS[0])
        yield server


class Credentials:
    """What platform.yaml says of the two repositories."""

    def __init__(self, platform: Platform, ssh: SshServer, http: HttpServer) -> None:
        self.platform, self.ssh, self.http = platform, ssh, http
        self.credentials: dict[str, Any] = {}
        self.known_hosts = ssh.line()

    def make_deploy_key(self) -> str:
        """As a person does it with what the command prints; the public half, not yet added at the server."""
        told = self.platform.cli("deploy-key", "blog", "--host", self.ssh.authority).stdout
        platform, _ = told.split("credentials:", 1)[1].split("source:", 1)
        self.credentials |= yaml.safe_load("credentials:" + platform)["credentials"]
        return next(line for line in told.splitlines() if line.startswith("ssh-ed25519 "))

    def seal_token(self, token: str) -> None:
        recipients = recipients_of(self.platform.state / "keys")
        sealed = seal(token, kind="credential", project="*", key="shop-token", recipients=recipients)
        self.credentials["shop-token"] = {
            "kind": "https-token",
            "host": self.http.authority,
            "username": "ana",
            "value": sealed,
        }

    def push(self, **specs: str) -> None:
        text = "apiVersion: gitstead/v1\nkind: Platform\ndomain: localhost\n"
        text += json.dumps({"credentials": self.credentials})[1:-1] + "\n"
        text += json.dumps({"known_hosts": [self.known_hosts]})[1:-1] + "\n"
        self.platform.platform_repo.push({"platform.yaml": text, **specs}, "Credentials")


def push_version(platform: Platform, version: str, *names: str) -> None:
    for name in names:
        platform.repos[name].push({"version": f"{version}\n"}, version)


def test_private_repositories_are_deployed_rotated_and_revoked_while_apps_run_on(
    platform: Platform, ssh: SshServer, http: HttpServer
) -> None:
    platform.settings |= {"GITSTEAD_POLL_S": "1", "GITSTEAD_KNOWN_HOSTS": str(platform.folder / "none" / "known_hosts")}
    platform.app("blog")
    platform.app("shop")
    platform.start()
    platform.wait_started()
    given = Credentials(platform, ssh, http)
    ssh.authorize(given.make_deploy_key())
    given.seal_token(TOKENS[0])
    sources = {
        "blog": {"repo": ssh.url(platform.repos["blog"].bare), "credentials": "blog-deploy-key"},
        "shop": {"repo": f"{http.url}/shop.git", "credentials": "shop-token"},
    }
    given.push(**{f"projects/{name}.yaml": platform.spec(name, source=source) for name, source in sources.items()})
    for name in sources:
        platform.answers(name, "v1")
        platform.healthy(name)
    rows = {row["name"]: row for row in json.loads(platform.cli("credentials", "--json").stdout)}
    assert rows["blog-deploy-key"]["fingerprint"].startswith("SHA256:")
    assert len(rows["shop-token"]["fingerprint"]) == 8
    assert [row["used_by"] for row in rows.values()] == [["blog"], ["shop"]]
    assert all(row["used_at"] > 0 and not row["error"] for row in rows.values())

    # Revoked on both sides: a clear condition, and what runs goes on.
    before = platform.ids()
    ssh.authorize()
    http.login = ("ana", TOKENS[1])
    said = platform.condition("blog", "CredentialRefused")
    assert f'{ssh.authority} refused the credential "blog-deploy-key" (ssh-key SHA256:' in said
    assert said.endswith("what runs goes on.")
    assert f'{http.authority} refused the credential "shop-token" (https-token): ' in platform.condition(
        "shop", "CredentialRefused"
    )
    push_version(platform, "v2", "blog", "shop")
    platform.looks()
    assert platform.ids() == before
    for name in sources:
        assert platform.get(f"{name}.localhost") == (200, "v1")
    told = platform.cli("credentials").stdout
    assert told.count(" refused the credential ") == 2
    assert "LAST USED" in told

    # A new sealed value is used as soon as it is pushed, by the process that runs.
    ssh.authorize(given.make_deploy_key())
    given.seal_token(TOKENS[1])
    given.push()
    for name in sources:
        platform.answers(name, "v2")
        platform.healthy(name)

    # Another host key than the pinned one: nothing is fetched, what runs goes on.
    wait_for(lambda: len(platform.ids()) == len(sources), "the old versions have drained")
    before = platform.ids()
    right, given.known_hosts = given.known_hosts, ssh.line(make_key(platform.folder / "another"))
    given.push()
    assert "is not the ssh host that is pinned: it shows SHA256:" in platform.condition("blog", "HostKeyMismatch")
    push_version(platform, "v3", "blog")
    platform.looks()
    assert platform.ids() == before
    given.known_hosts = right
    given.push()
    platform.answers("blog", "v3")
    platform.healthy("blog")
    platform.converged()
    _nothing_secret_lies_about(platform)


def _nothing_secret_lies_about(platform: Platform) -> None:
    """Invariant 6."""
    canaries = [*(token.encode() for token in TOKENS), b"PRIVATE KEY"]
    platform.stop()
    places = [platform.state, platform.folder / "run", platform.folder / "up.log"]
    files = [path for place in places for path in (place.rglob("*") if place.is_dir() else [place])]
    found = [
        path
        for path in files
        if path.is_file() and not path.is_symlink() and any(canary in path.read_bytes() for canary in canaries)
    ]
    assert found == []


def test_a_host_that_a_spec_lets_us_meet_is_remembered_over_a_restart(platform: Platform, ssh: SshServer) -> None:
    platform.settings |= {"GITSTEAD_POLL_S": "1", "GITSTEAD_KNOWN_HOSTS": str(ssh.known_hosts)}
    ssh.known_hosts.write_text("")
    ssh.authorize((ssh.known_hosts.parent / "id_ed25519.pub").read_text().strip())
    platform.app("blog")
    source = {"repo": ssh.url(platform.repos["blog"].bare)}
    platform.push_spec("blog", source=source)
    platform.start()
    assert "is not known: it shows SHA256:" in platform.condition("blog", "HostKeyMismatch")
    platform.push_spec("blog", source={**source, "host_key": "first-use"})
    platform.answers("blog", "v1")
    platform.healthy("blog")
    assert "host_key.met" in platform.log()
    platform.stop()
    ssh.change_host_key()
    platform.start()
    assert "is not the ssh host that is pinned" in platform.condition("blog", "HostKeyMismatch")
    assert platform.get("blog.localhost") == (200, "v1")
    assert Path(platform.state / "met_hosts").read_text().count("ssh-ed25519") == 1
