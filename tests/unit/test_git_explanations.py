"""Every trouble has a sentence with the value, what was expected and what to do."""

from __future__ import annotations

from pathlib import Path

import pygit2
import pytest

from reconciler.adapters.git_address import parse
from reconciler.adapters.git_fetch import Answer, Callbacks, Refused, Request, classify
from reconciler.adapters.git_mirror import folder_name, mirror_ref
from reconciler.adapters.git_trouble import Asked, branch_missing, explain, problem_of
from reconciler.errors import GitsteadError
from reconciler.model.condition import Reason

KINDS = ["host_key", "not_found", "sha256", "too_big", "deadline", "auth", "asks", "forbidden", "tls"]
KINDS += ["redirect", "not_git", "mirror", "busy", "died", "down", "new-and-unknown"]


@pytest.mark.parametrize("trouble", KINDS)
@pytest.mark.parametrize("url", ["https://example.com/x", "ssh://git@example.com/x"])
@pytest.mark.parametrize("credential", ["", '"blog-deploy-key" (ssh-key SHA256:x)'])
def test_every_trouble_has_value_expectation_and_remedy(trouble: str, url: str, credential: str) -> None:
    error = explain(Answer(trouble=trouble, detail="D"), _asked(url, credential=credential))
    assert isinstance(error, GitsteadError)
    assert "example.com" in error.what
    assert error.expected
    assert error.remedy
    assert problem_of(error).message == str(error)


def _asked(url: str = "ssh://git@example.com/x", **more: object) -> Asked:
    address = parse(url, local_paths=())
    return Asked(address, timeout_s=30, known_hosts=Path("/k"), met=Path("/met"), **more)  # type: ignore[arg-type]


def test_an_unknown_host_key_and_a_changed_one_are_told_apart_with_their_fingerprints() -> None:
    answer = Answer(trouble="host_key", detail="example.com")
    unknown = explain(answer, _asked(shown_keys=("SHA256:a (ssh-ed25519)",)))
    changed = explain(answer, _asked(shown_keys=("SHA256:a (ssh-ed25519)",), known_keys=("SHA256:b (ssh-rsa)",)))
    for error in (unknown, changed, explain(answer, _asked())):
        assert problem_of(error).reason == Reason.HOST_KEY_MISMATCH
        assert "/k" in str(error)
    assert "is not known: it shows SHA256:a (ssh-ed25519); expected a line" in str(unknown)
    assert "is not the ssh host that is pinned: it shows SHA256:a (ssh-ed25519); expected SHA256:b" in str(changed)


def test_a_refused_credential_is_named_with_its_host_and_what_runs_goes_on() -> None:
    asked = _asked(credential='"blog-deploy-key" (ssh-key SHA256:x)')
    refused = explain(Answer(trouble="auth", detail="no"), asked)
    assert problem_of(refused).reason == Reason.CREDENTIAL_REFUSED
    assert str(refused).startswith('example.com refused the credential "blog-deploy-key" (ssh-key SHA256:x): no; ')
    assert str(refused).endswith("what runs goes on.")
    assert problem_of(explain(Answer(trouble="forbidden"), asked)).reason == Reason.CREDENTIAL_REFUSED
    asks = explain(Answer(trouble="asks", detail="no"), _asked("https://example.com/x"))
    assert problem_of(asks).reason == Reason.CREDENTIAL_REFUSED
    assert "source.credentials" in str(asks)
    assert problem_of(explain(Answer(trouble="forbidden"), _asked())).reason == Reason.REMOTE_UNAVAILABLE


def test_a_missing_branch_names_at_most_five_others() -> None:
    error = branch_missing("/srv/x", "main", tuple("abcdefg"))
    assert 'one of its branches: "a", "b", "c", "d", "e" and more' in str(error)


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (pygit2.GitError("could not read from socket: timed out"), "deadline"),
        (TimeoutError(), "deadline"),
        (pygit2.GitError("unexpected http status code: 403"), "forbidden"),
        (pygit2.GitError("unexpected http status code: 503"), "down"),
        (pygit2.GitError("the SSL certificate is invalid"), "tls"),
        (pygit2.GitError("failed to write chunk: No space left on device"), "mirror"),
        (KeyError("x"), "down"),
    ],
)
def test_an_error_of_the_library_is_told_apart_by_its_words(error: Exception, trouble: str) -> None:
    assert classify(error) == trouble


def _request(**changes: object) -> Request:
    fields: dict[str, object] = {
        "url": "ssh://git@example.com/x",
        "mirror": "/m",
        "refs": ("refs/heads/main",),
        "timeout_s": 1.0,
        "transfer_s": 10.0,
        "max_bytes": 100,
    }
    return Request(**fields | changes)  # type: ignore[arg-type]


def test_credentials_go_once_and_only_to_the_configured_host_trap_18(tmp_path: Path) -> None:
    key = tmp_path / "id_ed25519"
    key.write_text("key")
    callbacks = Callbacks(_request(keys=(str(tmp_path / "missing"), str(key))))
    ssh_key = pygit2.enums.CredentialType.SSH_KEY
    for url in (
        "ssh://git@elsewhere.com/x",
        "https://example.com.evil.com/x",
        "git@elsewhere.com:x",
        "ssh://git@example.com:2222/elsewhere",
        "https://example.com/elsewhere",
    ):
        with pytest.raises(Refused, match=r"elsewhere|evil|example.com"):
            callbacks.credentials(url, "git", ssh_key)
    given = callbacks.credentials("ssh://git@example.com/x", "git", ssh_key)
    assert given.credential_tuple == ("git", None, str(key), "")
    with pytest.raises(Refused, match="does not accept the ssh key"):
        callbacks.credentials("ssh://git@example.com/x", "git", ssh_key)


def test_a_key_in_memory_and_a_token_go_once_each_as_what_they_are_trap_18() -> None:
    kinds = pygit2.enums.CredentialType
    by_key = Callbacks(_request(secret="private", keys=("/k/id_ed25519",)))
    assert by_key.credentials("git@example.com:x", "git", kinds.SSH_KEY).credential_tuple[2] == "private"
    with pytest.raises(Refused):
        by_key.credentials("git@example.com:x", "git", kinds.SSH_KEY)
    by_token = Callbacks(_request(url="https://example.com/x", username="ana", secret="token"))
    with pytest.raises(Refused):
        by_token.credentials("https://example.com:8443/x", None, kinds.USERPASS_PLAINTEXT)
    given = by_token.credentials("https://example.com/x", None, kinds.USERPASS_PLAINTEXT)
    assert given.credential_tuple == ("ana", "token")
    with pytest.raises(Refused):
        by_token.credentials("https://example.com/x", None, kinds.USERPASS_PLAINTEXT)
    assert "token" not in repr(_request(secret="token"))


def test_a_certificate_counts_only_if_the_library_found_it_valid_trap_17() -> None:
    assert Callbacks(_request()).certificate_check(None, True, b"example.com")
    for url, trouble in (("ssh://git@example.com/x", "host_key"), ("https://example.com/x", "tls")):
        with pytest.raises(Refused) as refused:
            Callbacks(_request(url=url)).certificate_check(None, False, b"example.com")
        assert refused.value.trouble == trouble


def test_a_transfer_that_drips_ends_at_its_deadline_whatever_arrives() -> None:
    now = [0.0]
    callbacks = Callbacks(_request(), clock=lambda: now[0])
    callbacks.begin_transfer()
    now[0] = 9.9
    callbacks.sideband_progress("Counting objects")
    now[0] = 10.1
    with pytest.raises(Refused) as refused:
        callbacks.sideband_progress("Counting objects")
    assert refused.value.trouble == "deadline"


def test_no_part_of_an_address_or_branch_becomes_a_path() -> None:
    assert folder_name("https://example.com/../../etc").endswith(".git")
    assert len(folder_name("x" * 5000)) == 36
    assert mirror_ref("refs/heads/a/b") == "refs/mirror/heads%2Fa%2Fb"
    assert pygit2.reference_is_valid_name(mirror_ref("refs/heads/ünï/@x+y"))
