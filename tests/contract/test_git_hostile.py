"""Whatever a repository holds, nothing of it is run, nothing of the host gets into it, and nobody else waits for it.

Real git, real servers, the real engine.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.adapters.git_access import Access, Keyring, Permissions, Rights
from reconciler.adapters.git_export import Limits
from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.git_submodules import declared, resolved
from reconciler.adapters.image_builder import BuildRequest, ImageBuilder
from reconciler.adapters.secret_box import SecretBox, ensure_keys, recipients_of, seal
from reconciler.bootstrap.state import prepare_state
from reconciler.errors import BuildFailed, CredentialRefused, GitsteadError, SourceUnusable
from reconciler.masking import Masker
from reconciler.model import naming
from reconciler.model.effects import BuildStep, Stream
from reconciler.model.spec import CredentialSpec
from reconciler.settings import Settings
from tests.engine_support import new_instance, remove_everything, tiny_image
from tests.git_servers import HttpServer, Source, git, git_daemon, until

pytestmark = pytest.mark.real

MAIN = frozenset({"main"})


class Place:
    """Mirrors in a folder, and what is exported of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ensure_keys(folder / "keys")
        self.mirrors = Mirrors(
            folder / "mirrors",
            local_paths=(str(folder),),
            known_hosts=folder / "known",
            timeout_s=10,
            rights=Rights(folder / "met_hosts", Keyring(SecretBox(folder / "keys", Masker()))),
        )

    def export(self, repo: str, *, path: str = ".", limits: Limits | None = None) -> Path:
        state = self.mirrors.refresh(repo, MAIN)
        assert state.problem is None, state.problem
        out = self.folder / f"out-{time.monotonic_ns()}"
        kept = {"limits": limits} if limits else {}
        self.mirrors.export(repo, state.branches["main"], path=path, destination=out, **kept)
        return out

    def refused(self, repo: str, *words: str, kind: type[GitsteadError] = SourceUnusable) -> str:
        before = set(self.folder.glob("out-*"))
        with pytest.raises(kind) as error:
            self.export(repo)
        for word in words:
            assert word in str(error.value), error.value
        assert error.value.expected
        assert set(self.folder.glob("out-*")) == before, "all or nothing"
        return str(error.value)

    def token(self, value: str, host: str) -> CredentialSpec:
        sealed = seal(
            value, kind="credential", project="*", key="token", recipients=recipients_of(self.folder / "keys")
        )
        return CredentialSpec("token", "https-token", host, sealed, username="ana")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    with contextlib.closing(made.mirrors):
        yield made


@pytest.fixture
def http(tmp_path: Path) -> Iterator[HttpServer]:
    with HttpServer(tmp_path) as server:
        yield server


def with_module(folder: Path, url: str, sha: str, *, name: str = "app", path: str = "lib") -> Source:
    """A repository that pins `sha` at `path`, with `url` in its .gitmodules."""
    source = Source(folder, name)
    git("update-index", "--add", "--cacheinfo", f"160000,{sha},{path}", cwd=source.work)
    _write_modules(source, f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
    return source


def _write_modules(source: Source, text: str, message: str = "Modules") -> None:
    (source.work / ".gitmodules").write_text(text)
    (source.work / "main.txt").write_text("main")
    git("add", ".gitmodules", "main.txt", cwd=source.work)
    git("commit", "-q", "--allow-empty", "-m", message, cwd=source.work)
    git("push", "-q", "--force", "origin", "HEAD:refs/heads/main", cwd=source.work)


# ---- nothing of a repository is run ------------------------------------------------------------


def test_no_hook_filter_or_configuration_of_a_repository_is_ever_run(place: Place, tmp_path: Path) -> None:
    canary = tmp_path / "owned"
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {canary}\ncat\n")
    evil.chmod(0o755)
    source = Source(tmp_path)
    first = source.push(
        {
            ".gitattributes": "* filter=evil diff=evil merge=evil export-subst eol=crlf\n",
            ".lfsconfig": f'[lfs]\n\turl = ext::{evil}\n[filter "lfs"]\n\tsmudge = {evil}\n\tprocess = {evil}\n',
            ".gitconfig": f"[core]\n\tfsmonitor = {evil}\n\thooksPath = .githooks\n",
            ".githooks/post-checkout": f"#!/bin/sh\ntouch {canary}\n",
            "plain.txt": "$Format:%H$\n",
        }
    )
    other = source.push({"plain.txt": "replaced"}, "Other", branch="other")
    for bare in (source.bare, source.work / ".git"):
        for hook in ("post-checkout", "post-update", "pre-upload-pack", "reference-transaction", "fsmonitor-watchman"):
            (bare / "hooks").mkdir(exist_ok=True)
            (bare / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {canary}\n")
            (bare / "hooks" / hook).chmod(0o755)
        included = tmp_path / "included"
        included.write_text(f"[core]\n\tfsmonitor = {evil}\n\tsshCommand = {evil}\n")
        with (bare / "config").open("a") as config:
            config.write(
                f"[core]\n\tfsmonitor = {evil}\n\tsshCommand = {evil}\n\thooksPath = {bare}/hooks\n\tpager = {evil}\n"
                f'[filter "evil"]\n\tsmudge = {evil}\n\tclean = {evil}\n\tprocess = {evil}\n\trequired = true\n'
                f"[uploadpack]\n\tpackObjectsHook = {evil}\n[credential]\n\thelper = !{evil}\n"
                f'[include]\n\tpath = {included}\n[includeIf "gitdir:/"]\n\tpath = {included}\n'
                f'[url "ext::{evil} "]\n\tinsteadOf = {tmp_path}\n'
            )
        (bare / "info").mkdir(exist_ok=True)
        (bare / "info" / "grafts").write_text(f"{first} {other}\n")
        (bare / "info" / "attributes").write_text("* filter=evil\n")
        replaced = bare / "refs" / "replace" / first
        replaced.parent.mkdir(parents=True, exist_ok=True)
        replaced.write_text(f"{other}\n")
        (bare / "refs" / "heads" / "main").write_text(f"{first}\n")
    for repo in (str(source.bare), str(source.work)):
        out = place.export(repo)
        assert (out / "plain.txt").read_text() == "$Format:%H$\n"
        assert not canary.exists()
    with git_daemon(tmp_path) as url:
        assert (place.export(f"{url}/app.git") / "plain.txt").read_text() == "$Format:%H$\n"
    mirrors = [*(tmp_path / "mirrors").glob("*.git")]
    assert len(mirrors) == 3
    for mirror in mirrors:
        assert "evil" not in (mirror / "config").read_text()
        assert not (mirror / "info" / "grafts").exists()
        assert not (mirror / "refs" / "replace").exists()


def test_alternates_lead_a_local_repository_nowhere_outside(place: Place, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    secret, source = Source(tmp_path, "secret"), Source(tmp_path / "inside")
    secret.push({"key": "private"})
    source.push({"a": "1"})
    (source.bare / "objects" / "info" / "alternates").write_text(f"{secret.bare}/objects\n")
    mirrors = Mirrors(
        tmp_path / "m", local_paths=(str(tmp_path / "inside"),), known_hosts=tmp_path / "known", timeout_s=5
    )
    with contextlib.closing(mirrors):
        problem = mirrors.refresh(str(source.bare), MAIN).problem
        assert problem is not None
        assert "outside of local_paths" in problem.message


# ---- submodules ----------------------------------------------------------------------------------


def test_a_submodule_of_the_same_host_is_exported_at_exactly_its_pinned_commit(
    place: Place, http: HttpServer, tmp_path: Path
) -> None:
    lib = Source(tmp_path, "lib")
    pinned = lib.push({"code.txt": "pinned", "sub/deep.txt": "d"})
    lib.push({"code.txt": "newer"})
    with_module(tmp_path, "../lib.git", pinned, path="vendor/lib")
    url = f"{http.url}/app.git"
    out = place.export(url)
    assert (out / "vendor/lib/code.txt").read_text() == "pinned"
    assert (out / "vendor/lib/sub/deep.txt").read_text() == "d"
    assert (out / "main.txt").read_text() == "main"
    assert sorted(path.name for path in place.export(url, path="vendor").iterdir()) == ["lib"]
    asked = len(http.requests)
    place.mirrors.export(url, place.mirrors.known(url, MAIN).branches["main"], path=".", destination=tmp_path / "again")
    assert len(http.requests) == asked, "a pinned commit that is there needs no asking"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ext::sh -c touch% /tmp/owned", "is not an address that we know"),
        ("file:///etc", "is a path of this host"),
        ("/srv/git/secret.git", "is a path of this host"),
        ("~/secret.git", "is a path of this host"),
        ("-oProxyCommand=touch /tmp/owned", "is a path of this host"),
        ("--upload-pack=touch /tmp/owned", "is a path of this host"),
        ("ssh://-oProxyCommand=touch/x", "is not an address that we know"),
        ("git@-oProxyCommand=x:y", "is not an address that we know"),
        ("https://ana:secret@127.0.0.1/lib.git", "carries a user name or password"),
        ("https://evil.example.com/lib.git", 'comes from "evil.example.com", from which no submodule may come'),
        ("http://127.0.0.1:1/lib.git", 'comes from "127.0.0.1:1", from which no submodule may come'),
        ("git@evil.example.com:lib.git", 'comes from "evil.example.com"'),
        ("fd::17/lib", "is not an address that we know"),
        ("../../../../etc", "leads above"),
        ("lib.git", "is not an address that we know"),
        ('"https://evil.example.com/\\tx"', "line 3 of .gitmodules cannot be read"),
        ("", "it has no path and url in .gitmodules"),
    ],
)
def test_a_submodule_from_elsewhere_is_refused_by_name_and_nobody_is_asked(
    place: Place, http: HttpServer, tmp_path: Path, url: str, words: str
) -> None:
    with_module(tmp_path, url, "1" * 40)
    said = place.refused(f"{http.url}/app.git", 'submodule "lib": ', words)
    assert "secret@" not in said
    assert not Path("/tmp/owned").exists()
    assert all(path.startswith("/app.git/") for _, path, _ in http.requests)


def test_paths_of_gitmodules_that_point_elsewhere_bring_nothing(place: Place, http: HttpServer, tmp_path: Path) -> None:
    lib = Source(tmp_path, "lib")
    pinned = lib.push({"x": "1"})
    source = with_module(tmp_path, "../lib.git", pinned)
    for path in ("../lib", "/lib", "./lib", ".git/hooks", "lib/../lib", "LIB"):
        _write_modules(
            source, f'[submodule "lib"]\n\tpath = {path}\n\turl = ../lib.git\n\tupdate = !touch /tmp/owned\n'
        )
        place.refused(f"{http.url}/app.git", 'submodule "lib": it has no path and url in .gitmodules')
    (source.work / ".gitmodules").unlink()
    (source.work / ".gitmodules").symlink_to("main.txt")
    git("add", ".gitmodules", cwd=source.work)
    git("commit", "-q", "-m", "Link", cwd=source.work)
    git("push", "-q", "--force", "origin", "HEAD:refs/heads/main", cwd=source.work)
    place.refused(f"{http.url}/app.git", "it has no path and url in .gitmodules")


def test_an_allowed_host_gets_no_credential_of_the_parents_and_its_own_host_does(
    place: Place, http: HttpServer, tmp_path: Path
) -> None:
    lib = Source(tmp_path, "lib")
    pinned = lib.push({"code.txt": "1"})
    http.login = ("ana", "a-token")
    url = f"{http.url}/app.git"
    access = {url: Access(place.token("a-token", http.authority))}
    place.mirrors.permit(Permissions(access))
    source = with_module(tmp_path, "../lib.git", pinned)
    assert (place.export(url) / "lib" / "code.txt").read_text() == "1"
    assert place.mirrors.credential_uses()["token"].error == ""

    with HttpServer(tmp_path) as elsewhere:
        place.mirrors.permit(Permissions(access, submodule_hosts=(elsewhere.authority,)))
        _write_modules(source, f'[submodule "lib"]\n\tpath = lib\n\turl = {elsewhere.url}/lib.git\n')
        assert (place.export(url) / "lib" / "code.txt").read_text() == "1"
        assert [authorization for _, _, authorization in elsewhere.requests if authorization] == []
        elsewhere.login = ("ana", "a-token")
        newer = lib.push({"code.txt": "2"})
        git("update-index", "--cacheinfo", f"160000,{newer},lib", cwd=source.work)
        _write_modules(source, f'[submodule "lib"]\n\tpath = lib\n\turl = {elsewhere.url}/lib.git\n')
        place.refused(url, 'submodule "lib": ', "asks for credentials", kind=CredentialRefused)
        assert [authorization for _, _, authorization in elsewhere.requests if authorization] == []


def test_what_one_project_may_read_is_no_submodule_for_another_that_knows_its_address(
    place: Place, http: HttpServer, tmp_path: Path
) -> None:
    private = Source(tmp_path, "private")
    pinned = private.push({"secret.txt": "s"})
    with_module(tmp_path, "../private.git", pinned, name="rich")
    with_module(tmp_path, "../private.git", pinned, name="poor")
    http.login = ("ana", "a-token")
    rich, poor = f"{http.url}/rich.git", f"{http.url}/poor.git"
    token = place.token("a-token", http.authority)
    place.mirrors.permit(Permissions({rich: Access(token), f"{http.url}/private.git": Access(token)}))
    assert place.mirrors.refresh(f"{http.url}/private.git", MAIN).problem is None
    assert (place.export(rich) / "lib" / "secret.txt").read_text() == "s"
    sha = git("--git-dir", str(tmp_path / "poor.git"), "rev-parse", "main", cwd=tmp_path)
    http.login = None
    place.mirrors.refresh(poor, MAIN)
    http.login = ("ana", "a-token")
    with pytest.raises(CredentialRefused, match=r'submodule "lib": .* asks for credentials'):
        place.mirrors.export(poor, sha, path=".", destination=tmp_path / "stolen")
    assert not (tmp_path / "stolen").exists()


def test_submodules_lie_at_most_three_deep_and_twenty_in_all(place: Place, http: HttpServer, tmp_path: Path) -> None:
    leaf = Source(tmp_path, "d0")
    sha = leaf.push({"leaf.txt": "leaf"})
    for level in range(1, 5):
        source = with_module(tmp_path, f"../d{level - 1}.git", sha, name=f"d{level}", path="in")
        sha = git("rev-parse", "HEAD", cwd=source.work)
    assert (place.export(f"{http.url}/d3.git") / "in/in/in/leaf.txt").read_text() == "leaf"
    place.refused(f"{http.url}/d4.git", 'submodule "in/in/in/in": ', "at most 20 submodules, at most 3 inside")

    many = Source(tmp_path, "many")
    pinned = git("--git-dir", str(tmp_path / "d0.git"), "rev-parse", "main", cwd=tmp_path)
    for number in range(21):
        git("update-index", "--add", "--cacheinfo", f"160000,{pinned},m{number:02}", cwd=many.work)
    _write_modules(
        many,
        "".join(f'[submodule "m{number:02}"]\n\tpath = m{number:02}\n\turl = ../d0.git\n' for number in range(21)),
    )
    place.refused(f"{http.url}/many.git", 'submodule "m20": it is one too many')


def test_limits_and_links_hold_for_a_tree_with_all_its_submodules(
    place: Place, http: HttpServer, tmp_path: Path
) -> None:
    lib = Source(tmp_path, "lib")
    (lib.work / "up").symlink_to("../main.txt")
    pinned = lib.push({f"f{number}": "x" for number in range(10)})
    source = with_module(tmp_path, "../lib.git", pinned)
    url = f"{http.url}/app.git"
    assert (place.export(url) / "lib" / "up").resolve().read_text() == "main"
    with pytest.raises(SourceUnusable, match="more than 8 entries"):
        place.export(url, limits=Limits(entries=8))
    (lib.work / "out").symlink_to("../../etc")
    newer = lib.push({"x": "y"})
    git("update-index", "--cacheinfo", f"160000,{newer},lib", cwd=source.work)
    git("commit", "-q", "-m", "Newer", cwd=source.work)
    git("push", "-q", "origin", "HEAD:refs/heads/main", cwd=source.work)
    place.refused(url, '"lib/out" is a symlink to', "which leaves the tree")


def test_a_commit_that_no_branch_leads_to_and_a_submodule_that_is_down_fail_the_build_alone(
    place: Place, http: HttpServer, tmp_path: Path
) -> None:
    Source(tmp_path, "lib").push({"x": "1"})
    with_module(tmp_path, "../lib.git", "1" * 40)
    place.refused(f"{http.url}/app.git", 'submodule "lib": no branch of', f"leads to commit {'1' * 40}")
    with_module(tmp_path, "../gone.git", "1" * 40, name="other")
    place.refused(f"{http.url}/other.git", 'submodule "lib": ', "is not there, or we may not see it")


def test_a_local_repository_has_submodules_beside_it_and_nowhere_else(place: Place, tmp_path: Path) -> None:
    lib = Source(tmp_path, "lib")
    pinned = lib.push({"x": "1"})
    source = with_module(tmp_path, "../lib.git", pinned)
    assert (place.export(str(source.bare)) / "lib" / "x").read_text() == "1"
    for url, words in ((str(lib.bare), "is a path of this host"), ("../../outside.git", "lies outside")):
        _write_modules(source, f'[submodule "lib"]\n\tpath = lib\n\turl = {url}\n')
        place.refused(str(source.bare), words)


def test_gitmodules_is_read_as_git_reads_it() -> None:
    text = """
# a comment
[core]
    fsmonitor = evil
[submodule "a b"] ; comment
    path = "a b"   # comment
    url = "https://example.com/a\\"b.git"
    update = !evil
[SubModule "c"]
    URL = ../c.git
    Path = c
[submodule "half"]
    path = half
[submodule "late"]
    path = c
    url = ../d.git
"""
    assert declared(text) == {"a b": 'https://example.com/a"b.git', "c": "../d.git"}
    for url, parent, whole in (
        ("../lib.git", "https://example.com/acme/blog.git", "https://example.com/acme/lib.git"),
        ("./lib.git", "https://example.com/acme/blog.git/", "https://example.com/acme/blog.git/lib.git"),
        ("../../x", "ssh://git@example.com:22/acme/blog.git", "ssh://git@example.com:22/x"),
        ("../lib.git", "git@example.com:acme/blog.git", "git@example.com:acme/lib.git"),
        ("../../x", "git@example.com:acme/blog.git", "git@example.com:x"),
        ("../lib.git", "/srv/git/blog.git", "/srv/git/lib.git"),
    ):
        assert resolved(url, parent) == whole


# ---- nobody waits ----------------------------------------------------------------------------------


def test_seven_hostile_servers_delay_no_other_repository(place: Place, tmp_path: Path) -> None:
    source = Source(tmp_path, "good")
    source.push({"a": "0"})
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(HttpServer(tmp_path)) for _ in range(7)]
        good = f"{stack.enter_context(git_daemon(tmp_path))}/good.git"
        place.mirrors.refresh(good, MAIN)
        alone_s = _worst_of_five(place, good, source)
        for server in servers:
            server.mode = "drip"
        waiting = [
            threading.Thread(target=place.mirrors.refresh, args=(f"{server.url}/app.git", MAIN)) for server in servers
        ]
        for thread in waiting:
            thread.start()
        until(lambda: all(server.requests for server in servers), what="seven requests that drip")
        beside_s = _worst_of_five(place, good, source)
        assert any(thread.is_alive() for thread in waiting), "they still dripped"
        print(f"fetch of a push: alone {alone_s * 1000:.0f} ms, beside seven that drip {beside_s * 1000:.0f} ms")
        assert beside_s < alone_s * 3 + 1.5
        for server in servers:
            server.stop.set()
        for thread in waiting:
            thread.join(20)


def _worst_of_five(place: Place, repo: str, source: Source) -> float:
    worst = 0.0
    for number in range(5):
        sha = source.push({"a": f"{number} {time.monotonic_ns()}"})
        began = time.monotonic()
        assert place.mirrors.refresh(repo, MAIN).branches["main"] == sha
        worst = max(worst, time.monotonic() - began)
    return worst


# ---- builds ------------------------------------------------------------------------------------------


CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_ADMIN = 16, 17, 21


class Lines:
    """A sink that remembers what was printed."""

    def __init__(self) -> None:
        self.printed: list[str] = []

    def write(self, stream: Stream, text: str, *, at: float, step: str = "") -> None:
        self.printed.append(text)

    def step(self, step: BuildStep) -> None:
        """Steps are no matter here."""

    def close(self) -> None:
        raise AssertionError("whoever opened the sink closes it")


SNOOPING = """FROM {base}
COPY ../../.. /up/
SHELL ["/bin/sh", "-c"]
RUN cd /up && echo up: * .[!.]*
RUN for f in {places}; do test -e $f && echo found: $f; done; echo looked
RUN --mount=type=bind,source=../../..,target=/ctx cd /ctx && echo context: * .[!.]*
RUN --mount=type=secret,id=identity echo secrets: /run/secrets/*
RUN --mount=type=ssh test -e $SSH_AUTH_SOCK || echo no agent
RUN echo environment: $(export)
RUN while read -r key value; do test $key != CapEff: || echo $key $value; done < /proc/self/status
RUN echo {nonce}
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    settings = Settings(state=tmp_path / "state")
    prepare_state(settings)
    ensure_keys(settings.keys)
    return settings.state


def test_a_build_sees_nothing_of_the_host_the_engine_or_the_platform(
    tmp_path: Path, state: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITSTEAD_CANARY", "canary-of-the-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-the-environment")
    source = Source(tmp_path)
    instance = new_instance()
    with tiny_image() as base:
        places = " ".join(f"{root}{path}" for root in ("", "/proc/1/root") for path in _private(state))
        text = SNOOPING.format(base=base, places=places, nonce=new_instance())
        source.push({"Dockerfile": text, "mine.txt": "x"})
        try:
            said = _built(place.export(str(source.bare)), instance)
        finally:
            remove_everything(instance)
    assert "up: Dockerfile mine.txt" in said
    assert "context: Dockerfile mine.txt" in said
    assert "looked" in said
    assert "found:" not in said
    assert "secrets: /run/secrets/*" in said
    assert "no agent" in said
    assert "environment:" in said
    for canary in ("canary-of-the-environment", "GITSTEAD", "AGE-SECRET-KEY", str(state)):
        assert canary not in said
    effective = int(said.partition("CapEff: ")[2].split()[0], 16)
    assert effective
    assert not effective & (1 << CAP_SYS_ADMIN | 1 << CAP_SYS_MODULE | 1 << CAP_SYS_RAWIO)


def _private(state: Path) -> list[str]:
    engine = ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/buildkit"]
    return [
        *engine,
        "/run/gitstead",
        str(state),
        f"{state}/keys/identity",
        f"{state}/instance",
        "/dev/vda",
        "/dev/kmsg",
    ]


@pytest.mark.parametrize(
    "wish",
    [
        "RUN --network=host true",
        "# syntax-less labs\nRUN --security=insecure true",
        "RUN --device=/dev/kmsg true",
        "RUN --mount=type=bind,source=/var/run/docker.sock,target=/s cat /s",
        "RUN --mount=type=bind,from=../..,target=/s true",
        "COPY outside /x",
    ],
)
def test_a_build_that_wishes_for_the_host_fails(tmp_path: Path, state: Path, wish: str) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "outside").symlink_to(state / "instance")
    (context / "Dockerfile").write_text(f"FROM scratch\n{wish}\n")
    instance = new_instance()
    try:
        with pytest.raises(BuildFailed):
            _built(context, instance)
    finally:
        remove_everything(instance)


def _built(context: Path, instance: str) -> str:
    """What the build printed, without the titles of its steps."""
    sink = Lines()
    request = BuildRequest(
        context=context,
        dockerfile=context / "Dockerfile",
        tag=f"gs-{instance}-blog:1",
        labels={naming.LABEL_INSTANCE: instance, naming.LABEL_PROJECT: "blog", naming.LABEL_CONTENT: "0"},
        timeout_s=60.0,
        job_id=f"{instance}/blog/d1",
    )
    ImageBuilder(None).build(request, sink)
    return "\n".join(line for line in sink.printed if not line.startswith("["))


def test_a_link_in_the_repository_to_a_file_of_the_host_fails_before_the_build(
    tmp_path: Path, state: Path, place: Place
) -> None:
    source = Source(tmp_path)
    (source.work / "Dockerfile").symlink_to(state / "keys" / "identity")
    source.push({"a": "1"})
    place.refused(str(source.bare), '"Dockerfile" is a symlink to', "which leaves the tree")
    assert os.path.lexists(source.work / "Dockerfile")
