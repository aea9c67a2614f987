"""Every way in which a remote goes wrong is a state with a reason, in time, and delays nobody else."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.adapters import git_mirror, git_transport
from reconciler.adapters.git_fetch import Request
from reconciler.adapters.git_repository import Mirrors
from reconciler.model.condition import Reason
from tests.git_servers import (
    HttpServer,
    Source,
    SshServer,
    free_port,
    git_daemon,
    make_key,
    ssh_server,
    sshd_missing,
    until,
)

pytestmark = pytest.mark.real

MAIN = frozenset({"main"})
TIMEOUT_S = 1.0


@pytest.fixture
def source(tmp_path: Path) -> Source:
    made = Source(tmp_path)
    made.push({"a.txt": "1"})
    return made


@pytest.fixture
def http(tmp_path: Path) -> Iterator[HttpServer]:
    with HttpServer(tmp_path) as server:
        yield server


@pytest.fixture
def mirrors(tmp_path: Path) -> Iterator[Mirrors]:
    made = Mirrors(
        tmp_path / "mirrors", local_paths=(str(tmp_path),), known_hosts=tmp_path / "known", timeout_s=TIMEOUT_S
    )
    yield made
    made.close()


@pytest.mark.parametrize(
    ("mode", "reason", "words"),
    [
        ("401", Reason.CREDENTIAL_REFUSED, "asks for credentials, and none is named: the host asks for a user name"),
        ("404", Reason.SOURCE_UNUSABLE, "is not there, or we may not see it"),
        ("html", Reason.REMOTE_UNAVAILABLE, "answered with a page, not with a repository"),
        ("redirect", Reason.REMOTE_UNAVAILABLE, "sends us to another host, which we do not follow"),
        ("hang", Reason.REMOTE_UNAVAILABLE, "did not answer in time; expected an answer within 1 s"),
        ("drip", Reason.REMOTE_UNAVAILABLE, "did not answer in time; expected an answer within 1 s"),
        ("hang-pack", Reason.REMOTE_UNAVAILABLE, "did not answer in time"),
    ],
)
def test_a_bad_answer_is_told_and_the_mirror_stays_usable(
    http: HttpServer, source: Source, mirrors: Mirrors, mode: str, reason: Reason, words: str
) -> None:
    url = f"{http.url}/app.git"
    good = mirrors.refresh(url, MAIN).branches["main"]
    newer = source.push({"a.txt": "2"})
    with HttpServer(http.base) as elsewhere:
        http.elsewhere = elsewhere.url.replace("127.0.0.1", "localhost")
        http.requests.clear()
        http.mode = mode
        state = mirrors.refresh(url, MAIN)
        assert elsewhere.requests == []
    assert state.problem is not None
    assert state.problem.reason == reason
    assert words in state.problem.message
    assert f'"{url}"' in state.problem.message
    assert state.branches["main"] == good
    assert mirrors.source_state(url, good, ".").read_text("a.txt") == "1"
    assert [authorization for _, _, authorization in http.requests if authorization] == []

    http.mode = ""
    assert mirrors.refresh(url, MAIN).branches["main"] == newer
    assert mirrors.known(url, MAIN).problem is None


def test_a_redirect_on_the_same_host_is_followed(http: HttpServer, source: Source, mirrors: Mirrors) -> None:
    sha = source.push({"a.txt": "2"})
    with HttpServer(http.base) as elsewhere:
        http.mode, http.elsewhere = "redirect", elsewhere.url
        assert mirrors.refresh(f"{http.url}/app.git", MAIN).branches["main"] == sha


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_a_hang_ends_at_the_deadline_and_delays_no_other_repository(
    http: HttpServer, source: Source, tmp_path: Path, mode: str
) -> None:
    patient_s = 4.0
    mirrors = Mirrors(
        tmp_path / "mirrors", local_paths=(str(tmp_path),), known_hosts=tmp_path / "known", timeout_s=patient_s
    )
    with git_daemon(tmp_path) as good, contextlib.closing(mirrors):
        mirrors.refresh(f"{good}/app.git", MAIN)
        http.mode = mode
        began = time.monotonic()
        hanging = threading.Thread(target=mirrors.refresh, args=(f"{http.url}/app.git", MAIN))
        hanging.start()
        until(lambda: http.requests, what="the request that hangs")
        sha = source.push({"a.txt": "2"})
        for url in (f"{good}/app.git", str(source.bare)):
            assert mirrors.refresh(url, MAIN).branches["main"] == sha
        assert hanging.is_alive(), "the others were served while it hung"
        hanging.join(20)
        assert time.monotonic() - began < patient_s + 3, "the deadline, and some slack for a busy machine"
        assert mirrors.known(f"{http.url}/app.git", MAIN).problem is not None


def test_nobody_listening_and_no_such_host_are_told_at_once(mirrors: Mirrors) -> None:
    port = free_port()
    for url in (f"http://127.0.0.1:{port}/x", f"git://127.0.0.1:{port}/x", f"ssh://127.0.0.1:{port}/x"):
        state = mirrors.refresh(url, MAIN)
        assert state.problem is not None
        assert state.problem.reason == Reason.REMOTE_UNAVAILABLE
        assert "cannot be reached" in state.problem.message
        assert "refused" in state.problem.message
    state = mirrors.refresh("https://gitstead.invalid/x", MAIN)
    assert state.problem is not None
    assert "gitstead.invalid" in state.problem.message


def test_a_plain_server_where_tls_was_expected_is_told(http: HttpServer, mirrors: Mirrors) -> None:
    state = mirrors.refresh(f"{http.url.replace('http:', 'https:')}/app.git", MAIN)
    assert state.problem is not None
    assert state.problem.reason == Reason.REMOTE_UNAVAILABLE


def test_a_worker_that_is_killed_in_mid_fetch_costs_only_its_request(
    http: HttpServer, source: Source, mirrors: Mirrors
) -> None:
    url = f"{http.url}/app.git"
    mirrors.refresh(url, MAIN)
    (worker,) = mirrors.worker_pids
    http.mode = "hang"
    http.requests.clear()
    results: list[object] = []
    asking = threading.Thread(target=lambda: results.append(mirrors.refresh(url, MAIN).problem))
    asking.start()
    until(lambda: http.requests, what="the request")
    os.kill(worker, signal.SIGKILL)
    asking.join(10)
    assert "the worker that talked to" in str(results)
    http.mode = ""
    sha = source.push({"a.txt": "2"})
    assert mirrors.refresh(url, MAIN).branches["main"] == sha


def test_a_worker_that_is_killed_while_a_pack_arrives_leaves_nothing_behind_trap_21(
    http: HttpServer, source: Source, tmp_path: Path
) -> None:
    mirrors = Mirrors(tmp_path / "m", local_paths=(), known_hosts=tmp_path / "known", timeout_s=20)
    url = f"{http.url}/app.git"
    with contextlib.closing(mirrors):
        good = mirrors.refresh(url, MAIN).branches["main"]
        (worker,) = mirrors.worker_pids
        (source.work / "big.bin").write_bytes(os.urandom(2_000_000))
        sha = source.push({"a.txt": "2"})
        http.mode = "half-pack"
        asking = threading.Thread(target=mirrors.refresh, args=(url, MAIN))
        asking.start()
        halves = tmp_path / "m"
        until(lambda: [*halves.glob("*.git/objects/pack/pack_git2_*")], what="half a pack")
        os.kill(worker, signal.SIGKILL)
        asking.join(20)
        assert [*halves.glob("*.git/objects/pack/pack_git2_*")] == []
        assert mirrors.known(url, MAIN).branches["main"] == good
        http.mode = ""
        assert mirrors.refresh(url, MAIN).branches["main"] == sha


def test_where_every_worker_waits_for_slow_hosts_that_is_told_in_time(
    http: HttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_transport, "LIMIT", 1)
    http.mode = "drip"
    url = f"{http.url}/app.git"
    git_mirror.make(tmp_path / "mirror.git", url)
    patient = Request(url, str(tmp_path / "mirror.git"), ("refs/heads/main",), 3.0, 3.0, 1000, home=str(tmp_path))
    workers = git_transport.Workers(log_path=tmp_path / "worker.log")
    with contextlib.closing(workers):
        first = threading.Thread(target=workers.ask, args=(patient,))
        first.start()
        until(lambda: http.requests, what="the request that hangs")
        assert workers.ask(replace(patient, timeout_s=0.2)).trouble == "busy"
        first.join(10)


def test_a_server_that_advertises_without_end_is_ended(mirrors: Mirrors) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        flood = threading.Thread(target=_flood, args=(listener,))
        flood.start()
        state = mirrors.refresh(f"git://127.0.0.1:{listener.getsockname()[1]}/x", MAIN)
        flood.join(10)
    assert state.problem is not None
    assert state.problem.reason in {Reason.REMOTE_UNAVAILABLE, Reason.SOURCE_UNUSABLE}


def _flood(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        number = 0
        while True:
            line = f"{number:040x} refs/heads/b{number}\n"
            number += 1
            try:
                connection.sendall(f"{len(line) + 4:04x}{line}".encode())
            except OSError:
                return


def test_a_transfer_beyond_the_byte_limit_is_ended_and_leaves_nothing(tmp_path: Path) -> None:
    source = Source(tmp_path)
    (source.work / "big.bin").write_bytes(os.urandom(3_000_000))
    source.push({"a.txt": "1"})
    mirrors = Mirrors(
        tmp_path / "m", local_paths=(str(tmp_path),), known_hosts=tmp_path / "k", timeout_s=10, max_bytes=500_000
    )
    with git_daemon(tmp_path) as url:
        for repo in (f"{url}/app.git", str(source.bare)):
            state = mirrors.refresh(repo, MAIN)
            assert state.problem is not None
            assert state.problem.reason == Reason.SOURCE_UNUSABLE
            assert "is too big to mirror" in state.problem.message
            assert dict(state.branches) == {}
    mirrors.close()
    assert list((tmp_path / "m").glob("*.git/objects/pack/pack*")) == []


def test_no_worker_is_started_before_a_remote_is_asked_and_one_serves_them_all(
    http: HttpServer, source: Source, mirrors: Mirrors, tmp_path: Path
) -> None:
    mirrors.refresh(str(source.bare), MAIN)
    assert mirrors.worker_pids == ()
    with git_daemon(tmp_path) as url:
        for repo in (f"{http.url}/app.git", f"{url}/app.git") * 2:
            mirrors.refresh(repo, MAIN)
    (worker,) = mirrors.worker_pids
    mirrors.close()
    assert not Path(f"/proc/{worker}").exists()


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[SshServer]:
    if sshd_missing():
        pytest.skip(sshd_missing())
    (tmp_path / "ssh").mkdir()
    with ssh_server(tmp_path / "ssh") as server:
        yield server


@pytest.fixture
def by_ssh(ssh: SshServer, tmp_path: Path) -> Iterator[Mirrors]:
    made = Mirrors(tmp_path / "mirrors", local_paths=(), known_hosts=ssh.known_hosts, timeout_s=10)
    yield made
    made.close()


@pytest.mark.parametrize("known", ["unknown", "wrong", "no file"])
def test_an_unknown_or_wrong_host_key_is_refused_trap_17(
    ssh: SshServer, by_ssh: Mirrors, source: Source, tmp_path: Path, known: str
) -> None:
    if known == "wrong":
        ssh.trust(make_key(tmp_path / "another"))
    elif known == "unknown":
        ssh.known_hosts.write_text("")
    else:
        ssh.known_hosts.unlink()
    state = by_ssh.refresh(ssh.url(source.bare), MAIN)
    assert state.problem is not None
    assert state.problem.reason == Reason.HOST_KEY_MISMATCH
    assert str(ssh.known_hosts) in state.problem.message
    assert dict(state.branches) == {}
    assert "publickey" not in ssh.attempts(), "no key was offered to a stranger"


def test_a_host_key_that_changes_later_stops_fetching_and_keeps_the_mirror(
    ssh: SshServer, by_ssh: Mirrors, source: Source, tmp_path: Path
) -> None:
    url = ssh.url(source.bare)
    good = by_ssh.refresh(url, MAIN).branches["main"]
    source.push({"a.txt": "2"})
    ssh.trust(make_key(tmp_path / "another"))
    state = by_ssh.refresh(url, MAIN)
    assert (state.branches["main"], state.problem and state.problem.reason) == (good, Reason.HOST_KEY_MISMATCH)


def test_a_known_hosts_file_of_any_name_is_used(ssh: SshServer, source: Source, tmp_path: Path) -> None:
    elsewhere = tmp_path / "etc" / "gitstead_hosts"
    elsewhere.parent.mkdir()
    ssh.known_hosts.rename(elsewhere)
    (ssh.known_hosts.parent / "id_ed25519").rename(elsewhere.parent / "id_ed25519")
    mirrors = Mirrors(tmp_path / "mirrors", local_paths=(), known_hosts=elsewhere, timeout_s=10)
    assert mirrors.refresh(ssh.url(source.bare), MAIN).problem is None
    mirrors.close()


def test_a_key_that_is_not_accepted_is_offered_once_trap_18(ssh: SshServer, by_ssh: Mirrors, source: Source) -> None:
    for name in ("id_ed25519", "id_ed25519.pub"):
        (ssh.known_hosts.parent / name).unlink()
    make_key(ssh.known_hosts.parent / "id_ed25519")
    state = by_ssh.refresh(ssh.url(source.bare), MAIN)
    assert state.problem is not None
    assert "refused the ssh key of this host: the host does not accept the ssh key" in state.problem.message
    until(lambda: "Connection closed" in ssh.attempts(), what="sshd's own account")
    assert ssh.attempts().count("Failed publickey") == 1


def test_no_key_at_all_is_told_with_the_places_that_were_looked_at(
    ssh: SshServer, by_ssh: Mirrors, source: Source
) -> None:
    (ssh.known_hosts.parent / "id_ed25519").unlink()
    state = by_ssh.refresh(ssh.url(source.bare), MAIN)
    assert state.problem is not None
    assert str(ssh.known_hosts.parent / "id_ed25519") in state.problem.message
