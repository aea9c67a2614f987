"""Private repositories: a sealed credential opens exactly its own host, and a refusal is told and changes nothing.

Real sshd, real `git http-backend`, real age; acceptance 3 of the builds.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import yaml
from click.testing import CliRunner

from reconciler.adapters.git_access import TOKEN_FILE, Access, Keyring, Permissions, Rights, read_token
from reconciler.adapters.git_hosts import KnownHosts, fingerprints, keys_of, usable
from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.git_ssh_keys import make_key_pair, public_of_private
from reconciler.adapters.git_transport import Workers
from reconciler.adapters.secret_box import SecretBox, ensure_keys, recipients_of, seal
from reconciler.bootstrap.state import open_mirrors, prepare_state
from reconciler.cli import main
from reconciler.errors import CredentialRefused, SecretUnreadable
from reconciler.masking import Masker
from reconciler.model.address import remote_of
from reconciler.model.condition import Reason
from reconciler.model.desired import SourceProblem
from reconciler.model.spec import CredentialKind, CredentialSpec, HostKeyPolicy
from reconciler.settings import Settings
from tests.git_servers import HttpServer, Source, SshServer, make_key, ssh_server, sshd_missing, until

pytestmark = pytest.mark.real

MAIN = frozenset({"main"})


class Vault:
    """The keys of one platform and mirrors that open credentials with them."""

    def __init__(self, folder: Path, *, known_hosts: Path | None = None) -> None:
        self.folder = folder
        self.keys = folder / "keys"
        ensure_keys(self.keys)
        self.met = folder / "met_hosts"
        self.known_hosts = known_hosts or folder / "known"
        self.mirrors = self.open()

    def open(self, name: str = "mirrors", *, remembers: bool = True) -> Mirrors:
        keyring = Keyring(SecretBox(self.keys, Masker()))
        return Mirrors(
            self.folder / name,
            local_paths=(str(self.folder.parent),),
            known_hosts=self.known_hosts,
            timeout_s=10,
            rights=Rights(self.met, keyring, remembers=remembers),
        )

    def credential(
        self, value: str, *, host: str, name: str = "blog-key", kind: CredentialKind = "ssh-key", username: str = "git"
    ) -> CredentialSpec:
        recipients = recipients_of(self.keys)
        sealed = seal(value, kind="credential", project="*", key=name, recipients=recipients)
        return CredentialSpec(name, kind, host, sealed, username=username)

    def permit(
        self,
        url: str,
        credential: CredentialSpec | None = None,
        *,
        host_key: HostKeyPolicy = "pinned",
        known_hosts: tuple[str, ...] = (),
    ) -> frozenset[str]:
        return self.mirrors.permit(Permissions({url: Access(credential, host_key)}, known_hosts))

    def problem(self, url: str) -> SourceProblem | None:
        return self.mirrors.refresh(url, MAIN).problem

    def sha(self, url: str) -> str:
        state = self.mirrors.refresh(url, MAIN)
        assert state.problem is None, state.problem
        return state.branches["main"]

    def refused(self, url: str) -> str:
        problem = self.problem(url)
        assert problem is not None
        assert problem.reason == Reason.CREDENTIAL_REFUSED
        return problem.message


@pytest.fixture
def source(tmp_path: Path) -> Source:
    made = Source(tmp_path)
    made.push({"a.txt": "1"})
    return made


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[SshServer]:
    if sshd_missing():
        pytest.skip(sshd_missing())
    (tmp_path / "ssh").mkdir()
    with ssh_server(tmp_path / "ssh") as server:
        server.authorize()
        yield server


@pytest.fixture
def http(tmp_path: Path) -> Iterator[HttpServer]:
    with HttpServer(tmp_path) as server:
        server.login = ("ana", "a-token-1")
        yield server


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    (tmp_path / "vault").mkdir()
    made = Vault(tmp_path / "vault")
    with contextlib.closing(made.mirrors):
        yield made


# ---- ssh ---------------------------------------------------------------------------------------


def test_what_deploy_key_prints_opens_the_repository_and_the_private_half_is_nowhere(
    ssh: SshServer, source: Source, tmp_path: Path
) -> None:
    settings = Settings(state=tmp_path / "state", known_hosts=tmp_path / "known", git_timeout_s=10)
    prepare_state(settings)
    ensure_keys(settings.keys)
    before = set(Path("/dev/shm").glob("gitstead-key-*"))
    told = CliRunner().invoke(
        main, ["--state", str(settings.state), "deploy-key", "blog", "--host", ssh.authority], catch_exceptions=False
    )
    assert told.exit_code == 0, told.output
    assert set(Path("/dev/shm").glob("gitstead-key-*")) == before
    assert "PRIVATE KEY" not in told.output
    public = next(line for line in told.output.splitlines() if line.startswith("ssh-ed25519 "))
    (printed,) = fingerprints([" ".join(public.split()[:2])])
    assert printed.split()[0] in told.output
    platform, spec = told.output.split("credentials:", 1)[1].split("source:", 1)
    given = yaml.safe_load("credentials:" + platform)["credentials"]["blog-deploy-key"]
    assert given["projects"] == ["blog"]
    assert yaml.safe_load("source:" + spec) == {"source": {"credentials": "blog-deploy-key"}}

    ssh.authorize(public)
    url = ssh.url(source.bare)
    credential = CredentialSpec("blog-deploy-key", given["kind"], given["host"], given["value"])
    masker = Masker()
    box = SecretBox(settings.keys, masker)
    mirrors = open_mirrors(settings, secrets=box)
    with contextlib.closing(mirrors):
        mirrors.permit(Permissions({url: Access(credential)}, (ssh.line(),)))
        state = mirrors.refresh(url, MAIN)
        assert state.problem is None
        assert set(state.branches) == MAIN
        private = box.open(credential.sealed, kind="credential", project="*", key="blog-deploy-key")
        (worker,) = mirrors.worker_pids
        canary = private.splitlines()[3].encode()
        assert canary not in Path(f"/proc/{worker}/cmdline").read_bytes()
        assert canary not in Path(f"/proc/{worker}/environ").read_bytes()
    found = [path for path in (tmp_path / "state").rglob("*") if path.is_file() and canary in path.read_bytes()]
    assert found == []
    assert masker.mask(private.splitlines()[3]) == "[masked]"


def test_a_rotated_key_is_used_at_once_and_a_revoked_one_is_told_and_keeps_the_mirror(
    ssh: SshServer, source: Source, vault: Vault
) -> None:
    url = ssh.url(source.bare)
    old, new = make_key_pair(), make_key_pair()
    ssh.authorize(old.public.line("old"))
    vault.permit(url, vault.credential(old.private, host=ssh.authority), known_hosts=(ssh.line(),))
    first = vault.sha(url)

    ssh.authorize(new.public.line("new"))
    newer = source.push({"a.txt": "2"})
    said = vault.refused(url)
    assert said.startswith(f'{ssh.authority} refused the credential "blog-key" (ssh-key {old.public.fingerprint}): ')
    assert said.endswith("what runs goes on.")
    assert vault.mirrors.known(url, MAIN).branches["main"] == first
    use = vault.mirrors.credential_uses()["blog-key"]
    assert use.used_at > 0
    assert use.error == said

    renewed = vault.credential(new.private, host=ssh.authority)
    assert vault.permit(url, renewed, known_hosts=(ssh.line(),)) == {url}
    assert vault.sha(url) == newer
    assert vault.mirrors.credential_uses()["blog-key"].error == ""
    assert vault.permit(url, renewed, known_hosts=(ssh.line(),)) == frozenset(), "nothing new: nobody is asked"


def test_a_refused_key_is_offered_once_and_the_hosts_own_key_never_in_its_place(
    ssh: SshServer, source: Source, tmp_path: Path
) -> None:
    (tmp_path / "vault").mkdir()
    own = (ssh.known_hosts.parent / "id_ed25519.pub").read_text().strip()
    ssh.authorize(own)
    vault = Vault(tmp_path / "vault", known_hosts=ssh.known_hosts)
    url = ssh.url(source.bare)
    with contextlib.closing(vault.mirrors):
        assert vault.sha(url), "without a credential the key beside known_hosts serves"
        vault.permit(url, vault.credential(make_key_pair().private, host=ssh.authority))
        source.push({"a.txt": "2"})
        vault.refused(url)
        until(lambda: "Failed publickey" in ssh.attempts(), what="sshd's own account")
        assert ssh.attempts().count("Failed publickey") == 1


def test_two_repositories_of_one_host_are_each_opened_with_their_own_key(
    ssh: SshServer, source: Source, vault: Vault, tmp_path: Path
) -> None:
    other = Source(tmp_path, "shop")
    other.push({"b.txt": "1"})
    one, two = make_key_pair(), make_key_pair()
    urls = ssh.url(source.bare), ssh.url(other.bare)
    ssh.authorize(
        f'command="git-upload-pack {source.bare}",restrict {one.public.line("one")}',
        f'command="git-upload-pack {other.bare}",restrict {two.public.line("two")}',
    )
    access = {
        urls[0]: Access(vault.credential(one.private, host=ssh.authority, name="one")),
        urls[1]: Access(vault.credential(two.private, host=ssh.authority, name="two")),
    }
    vault.mirrors.permit(Permissions(access, (ssh.line(),)))
    for url, text in zip(urls, ("a.txt", "b.txt"), strict=True):
        assert vault.mirrors.source_state(url, vault.sha(url), ".").listing == {text}


def test_what_cannot_be_opened_fails_closed_with_the_credentials_name(
    ssh: SshServer, source: Source, vault: Vault
) -> None:
    url = ssh.url(source.bare)
    right = vault.credential("not a key at all", host=ssh.authority)
    wrong = CredentialSpec("shop-key", "ssh-key", ssh.authority, right.sealed)
    for credential, reason, words in (
        (wrong, Reason.SECRET_UNREADABLE, "credential shop-key of * was sealed as"),
        (right, Reason.CREDENTIAL_REFUSED, 'refused the credential "blog-key" (ssh-key): '),
    ):
        vault.permit(url, credential, known_hosts=(ssh.line(),))
        problem = vault.problem(url)
        assert problem is not None
        assert problem.reason == reason
        assert words in problem.message
        assert "not a key at all" not in problem.message


# ---- host keys -----------------------------------------------------------------------------------


def test_a_host_that_platform_yaml_pins_is_known_and_a_wrong_key_is_told_with_both_fingerprints(
    ssh: SshServer, source: Source, vault: Vault, tmp_path: Path
) -> None:
    url, pair = ssh.url(source.bare), make_key_pair()
    ssh.authorize(pair.public.line("x"))
    credential = vault.credential(pair.private, host=ssh.authority)
    vault.permit(url, credential, known_hosts=(ssh.line(),))
    good = vault.sha(url)
    wrong = ssh.line(make_key(tmp_path / "another"))
    before = ssh.attempts().count("publickey")
    vault.permit(url, credential, known_hosts=(wrong,))
    source.push({"a.txt": "2"})
    state = vault.mirrors.refresh(url, MAIN)
    assert state.problem is not None
    assert state.problem.reason == Reason.HOST_KEY_MISMATCH
    (shown,), (pinned,) = (fingerprints(keys_of(usable(line), remote_of(url))) for line in (ssh.line(), wrong))
    assert shown in state.problem.message
    assert pinned in state.problem.message
    assert state.branches["main"] == good
    assert ssh.attempts().count("publickey") == before, "no key was offered to a stranger"


def test_first_use_remembers_once_and_refuses_a_change(ssh: SshServer, source: Source, vault: Vault) -> None:
    url, pair = ssh.url(source.bare), make_key_pair()
    ssh.authorize(pair.public.line("x"))
    credential = vault.credential(pair.private, host=ssh.authority)
    vault.permit(url, credential)
    assert vault.problem(url).reason == Reason.HOST_KEY_MISMATCH  # type: ignore[union-attr]
    vault.permit(url, credential, host_key="first-use")
    with structlog.testing.capture_logs() as logs:
        good = vault.sha(url)
        vault.sha(url)
    (told,) = [each for each in logs if each["event"] == "host_key.met"]
    (fingerprint,) = fingerprints(keys_of(usable(ssh.line()), remote_of(url)))
    assert told["host"] == ssh.authority
    assert fingerprint in told["fingerprints"]
    kept = vault.met.read_text()
    assert vault.met.stat().st_mode & 0o777 == 0o600

    ssh.change_host_key()
    source.push({"a.txt": "2"})
    problem = vault.problem(url)
    assert problem is not None
    assert problem.reason == Reason.HOST_KEY_MISMATCH
    assert "is not the ssh host that is pinned" in problem.message
    assert fingerprint in problem.message
    assert vault.met.read_text() == kept
    assert vault.mirrors.known(url, MAIN).branches["main"] == good


def test_who_only_looks_meets_a_host_without_remembering_it_and_a_pinned_spec_never_uses_what_was_met(
    ssh: SshServer, source: Source, vault: Vault
) -> None:
    url, pair = ssh.url(source.bare), make_key_pair()
    ssh.authorize(pair.public.line("x"))
    permissions = Permissions({url: Access(vault.credential(pair.private, host=ssh.authority), "first-use")})
    looking = vault.open("preview", remembers=False)
    with contextlib.closing(looking):
        looking.permit(permissions)
        assert looking.refresh(url, MAIN).problem is None
        assert not vault.met.exists()
        vault.mirrors.permit(permissions)
        assert vault.problem(url) is None
        assert vault.met.exists()
        ssh.change_host_key()
        vault.permit(url)
        assert vault.problem(url).reason == Reason.HOST_KEY_MISMATCH  # type: ignore[union-attr]


def test_a_pinned_key_wins_over_one_that_was_met(ssh: SshServer, source: Source, vault: Vault, tmp_path: Path) -> None:
    url, pair = ssh.url(source.bare), make_key_pair()
    ssh.authorize(pair.public.line("x"))
    credential = vault.credential(pair.private, host=ssh.authority)
    vault.permit(url, credential, host_key="first-use")
    vault.sha(url)
    true_key = ssh.line(make_key(tmp_path / "true"))
    vault.permit(url, credential, host_key="first-use", known_hosts=(true_key,))
    assert vault.problem(url).reason == Reason.HOST_KEY_MISMATCH  # type: ignore[union-attr]


def test_a_key_that_is_revoked_is_not_trusted_because_it_was_met(tmp_path: Path) -> None:
    key, remote = make_key_pair().public, remote_of("ssh://git@git.example.com/x")
    line = f"git.example.com {key.kind} {key.key}"
    (tmp_path / "met").write_text(f"{line}\n")
    hosts = KnownHosts(tmp_path / "mirrors", tmp_path / "own", met=tmp_path / "met", remembers=True)
    for pinned, trusted in (((), True), ((f"@revoked {line}",), False)):
        home = hosts.home(remote, pinned, may_meet=True, timeout_s=1)
        assert (key.key in (home / ".ssh" / "known_hosts").read_text()) is trusted
        assert bool(hosts.keys(remote, pinned, may_meet=True)) is trusted


def test_a_line_of_known_hosts_is_read_as_ssh_reads_it() -> None:
    key = make_key_pair().public
    blob = f"{key.kind} {key.key}"
    hashed = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-rsa " + key.key
    remote = remote_of("ssh://git@git.example.com/x")
    for line, knows in (
        (f"git.example.com {blob} a comment", True),
        (f"other.example.com,GIT.example.com {blob}", True),
        (f"*.example.com {blob}", True),
        (f"[git.example.com]:2222 {blob}", False),
        (f"# git.example.com {blob}", False),
        (f"@cert-authority git.example.com {blob}", False),
        (f"@revoked git.example.com {blob}\ngit.example.com {blob}", False),
        ("git.example.com ssh-ed25519 ???", False),
        (hashed, False),
    ):
        assert bool(keys_of(usable(line), remote)) == knows, line
    assert keys_of(usable(hashed), remote_of("ssh://192.168.1.61/x"))
    assert public_of_private("nonsense") is None
    assert public_of_private("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----") is None


# ---- tokens --------------------------------------------------------------------------------------


def test_a_token_opens_rotates_and_is_told_where_it_is_refused(http: HttpServer, source: Source, vault: Vault) -> None:
    url = f"{http.url}/app.git"
    assert "asks for credentials, and none is named" in vault.refused(url)
    token = vault.credential("a-token-1", host=http.authority, kind="https-token", username="ana")
    vault.permit(url, token)
    assert vault.sha(url)
    http.login = ("ana", "a-token-2")
    newer = source.push({"a.txt": "2"})
    http.requests.clear()
    said = vault.refused(url)
    assert f'{http.authority} refused the credential "blog-key" (https-token): the host does not accept it' in said
    assert "a-token-1" not in said
    assert len([True for _, _, authorization in http.requests if authorization]) == 1, "it is offered once"
    renewed = vault.credential("a-token-2", host=http.authority, kind="https-token", username="ana")
    assert vault.permit(url, renewed) == {url}
    assert vault.sha(url) == newer


@pytest.mark.parametrize("asks_first", [True, False])
@pytest.mark.parametrize("elsewhere_name", ["127.0.0.1", "localhost"])
def test_a_redirect_leads_no_token_to_another_host_or_port_trap_18(
    http: HttpServer, source: Source, vault: Vault, asks_first: bool, elsewhere_name: str
) -> None:
    url = f"{http.url}/app.git"
    vault.permit(url, vault.credential("a-token-1", host=http.authority, kind="https-token", username="ana"))
    with HttpServer(http.base) as thief:
        thief.login = ("ana", "a-token-1")
        http.mode, http.elsewhere = "redirect", thief.url.replace("127.0.0.1", elsewhere_name)
        http.login = http.login if asks_first else None
        problem = vault.problem(url)
        assert problem is not None
        assert "sends us to another host, which we do not follow" in problem.message
        assert [authorization for _, _, authorization in thief.requests if authorization] == []


def test_a_credential_goes_only_where_it_fits(vault: Vault) -> None:
    """Validation refuses such specs; the adapter does not rely on it."""
    keyring = Keyring(SecretBox(vault.keys, Masker()))
    token = vault.credential("a-token", host="git.example.com", kind="https-token")
    key = vault.credential(make_key_pair().private, host="git.example.com")
    for credential, url in (
        (token, "http://git.example.com/x"),
        (token, "https://git.example.com:8443/x"),
        (token, "https://evil.example.com/x"),
        (token, "ssh://git@git.example.com/x"),
        (key, "https://git.example.com/x"),
        (key, "git@git.example.org:x"),
        (key, "ssh://git@git.example.com:2222/x"),
    ):
        with pytest.raises(CredentialRefused, match=f'the credential "{credential.name}" is'):
            keyring.open(credential, remote_of(url))
    assert keyring.open(token, remote_of("https://git.example.com/x")).text == "a-token"
    assert keyring.open(key, remote_of("git@git.example.com:x")).shown.startswith('"blog-key" (ssh-key SHA256:')
    assert "a-token" not in repr(keyring.open(token, remote_of("https://git.example.com/x")))


def test_a_server_that_repeats_the_token_does_not_get_it_into_a_message(
    http: HttpServer, source: Source, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of the worker is forged: no server of ours can be brought to it."""
    from reconciler.adapters.git_fetch import Answer

    monkeypatch.setattr(Workers, "ask", lambda self, request: Answer(trouble="auth", detail=f"bad {request.secret}"))
    url = f"{http.url}/app.git"
    vault.permit(url, vault.credential("a-token-1", host=http.authority, kind="https-token"))
    assert "bad [masked]" in vault.refused(url)


# ---- the platform's own repository ---------------------------------------------------------------


def test_the_token_file_of_the_host_opens_the_platform_repository_alone(
    http: HttpServer, source: Source, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-1\n")
    token.chmod(0o600)
    url = f"{http.url}/app.git"
    settings = Settings(
        state=tmp_path / "state",
        platform_repo=url,
        platform_token_file=token,
        platform_username="ana",
        known_hosts=tmp_path / "known",
    )
    mirrors = open_mirrors(settings)
    with contextlib.closing(mirrors):
        mirrors.permit(Permissions({url: Access()}))
        assert mirrors.refresh(url, MAIN).problem is None
        assert mirrors.credential_uses()[TOKEN_FILE].used_at > 0
        other = Source(tmp_path, "other")
        other.push({"b": "1"})
        problem = mirrors.refresh(f"{http.url}/other.git", MAIN).problem
        assert problem is not None
        assert problem.reason == Reason.CREDENTIAL_REFUSED
        token.chmod(0o644)
        problem = mirrors.refresh(url, MAIN).problem
        assert problem is not None
        assert f"{token} has mode 0644" in problem.message


def test_a_token_file_that_is_missing_or_empty_is_told(tmp_path: Path) -> None:
    with pytest.raises(SecretUnreadable, match="cannot be read"):
        read_token(tmp_path / "none")
    (tmp_path / "empty").touch(mode=0o600)
    with pytest.raises(SecretUnreadable, match="has 0 characters"):
        read_token(tmp_path / "empty")


def test_deploy_key_takes_the_host_from_the_spec_and_seals_to_a_given_recipient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_keys(tmp_path / "far" / "keys")
    (recipient,) = recipients_of(tmp_path / "far" / "keys")
    folder = tmp_path / "platform"
    (folder / "projects").mkdir(parents=True)
    (folder / "platform.yaml").write_text("apiVersion: gitstead/v1\nkind: Platform\n")
    monkeypatch.chdir(folder)
    spec = folder / "projects" / "blog.yaml"
    for repo, words in (
        ("git@git.example.com:acme/blog.git", ['host: "git.example.com"', "source:\n  credentials"]),
        ("ssh://git@git.example.com:2222/acme/blog.git", ['host: "git.example.com:2222"']),
        ("https://git.example.com/acme/blog.git", ["  repo: ssh://git@git.example.com/acme/blog.git\n"]),
        ("/srv/git/blog.git", ["is a path of this host"]),
        ("", ["there is no projects/blog.yaml with a source.repo", "--host git.example.com"]),
    ):
        spec.write_text(f"source: {{repo: {json.dumps(repo)}, credentials: not-there-yet}}\n" if repo else "a: [\n")
        argv = ["--state", str(tmp_path / "none"), "deploy-key", "blog", "--recipient", recipient]
        told = CliRunner().invoke(main, argv)
        for word in words:
            assert word in told.output
    nowhere = CliRunner().invoke(main, ["--state", str(tmp_path / "none"), "deploy-key", "blog", "--host", "h"])
    assert nowhere.exit_code == 1
    assert "cannot be read" in nowhere.output
