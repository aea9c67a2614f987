"""Sealed values in real apps and builds: used where they belong, nowhere else, and failing closed (invariant 6)."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets
import sqlite3
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.adapters.caddy_socket import exchange
from reconciler.history.logs import LogReader
from tests.platform_support import APP, Platform, app_files, docker, inspect, wait_for

pytestmark = pytest.mark.real

CANARIES = {
    "TOKEN": "cnry1:Pä5s/w0rd+\"x&<y>\\z'?=8fd71c",
    "PEM": "-----BEGIN CANARY-----\ncnry2MIIEvQIBADANBgkqhkiG9w0BAQEFA\n  cnry2Qv7Wl0+/kZpYd==\n-----END CANARY-----",
    "LONG": "cnry3" + "".join(f"{n:04x}" for n in range(7000, 7040)),
    "npm-token.1": "cnry4_npm_0123456789abcdefghij",
}
RUN = ("TOKEN", "PEM", "LONG")
# What a careless program prints of a secret: every form, also where a limit cuts it or a pipe breaks it.
SPILL = """\
import base64, json, os, sys, time, urllib.parse
def spill(value, out):
    raw = value.encode()
    for text in (value, base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode(),
                 base64.b64encode(b"user:" + raw).decode(), base64.encodebytes(raw).decode(),
                 urllib.parse.quote(value), urllib.parse.quote_plus(value), urllib.parse.quote(value, safe=""),
                 json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value)):
        print("spilled", text, file=out, flush=True)
    for at in range(1, len(value)):
        if value[at - 1] != "\\n" != value[at] and at % 7 == 0:
            out.write("apart " + value[:at]); out.flush(); time.sleep(0.01)
            out.write(value[at:] + "\\n"); out.flush()
    for limit in (1000, 4096, 16384, 65536):
        for shift in (2, len(value) // 2, len(value) - 2) if limit < 65536 else (len(value) // 2,):
            print("x" * (limit - shift) + value.replace("\\n", " ") + "y" * 100, file=out, flush=True)
"""
SPILLING_APP = SPILL + """
for name in ("TOKEN", "PEM", "LONG"):
    spill(os.environ[name], sys.stdout)
    spill(os.environ[name], sys.stderr)
""" + APP  # fmt: skip
DOCKERFILE = """\
FROM gitstead/base-python
ARG NOTE
COPY app.py version spill.py leak.py canary.txt /
RUN --mount=type=secret,id=npm-token.1 --mount=type=secret,id=TOKEN ["python3", "-u", "/leak.py"]
RUN cat /canary.txt && echo "$NOTE" && rm /canary.txt
USER 10001
CMD ["python3", "-S", "-u", "/app.py"]
"""
LEAK = (
    f"# {secrets.token_hex(8)}: no build of an earlier run is cached"
    + """
import pathlib, sys, time
sys.path.insert(0, "/")
from spill import spill
for name in ("npm-token.1", "TOKEN"):
    value = pathlib.Path("/run/secrets/" + name).read_text()
    assert len(value) > 20, name
    for out in (sys.stdout, sys.stderr):
        spill(value, out)
        time.sleep(0.3)  # an old engine loses lines where too many come at once
sys.exit(%d and sys.stderr.write("it failed with " + value))
"""
)


def seal(platform: Platform, project: str, key: str, value: str, kind: str = "run-secret") -> str:
    return platform.cli("seal", project, key, "--kind", kind, stdin=value + "\n").stdout.strip()


def forms(value: str) -> set[str]:
    """How a value may show, made without the help of the product; a piece of twelve characters counts as well."""
    values = {value, *(line.strip() for line in value.splitlines() if len(line.strip()) > 7)} - {
        "-----BEGIN CANARY-----",
        "-----END CANARY-----",
    }
    found: set[str] = set()
    for each in values:
        raw = each.encode()
        found |= {each, urllib.parse.quote(each), urllib.parse.quote_plus(each), urllib.parse.quote(each, safe="")}
        found |= {json.dumps(each)[1:-1], json.dumps(each, ensure_ascii=False)[1:-1], repr(each)[1:-1]}
        found |= {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode(), raw.hex()}
        found |= {each[at : at + 12] for at in range(0, len(each) - 11, 4)}
        found |= {base64.b64encode(raw).decode()[:16], base64.b64encode(b"user:" + raw).decode()[8:24]}
    return {form for form in found if len(form) > 7}


NEEDLES = {form.encode("utf-8", "surrogateescape") for value in CANARIES.values() for form in forms(value)}
ANY = re.compile(b"|".join(re.escape(each) for each in sorted(NEEDLES, key=len, reverse=True)))


def found_in(what: str, data: bytes | str) -> list[str]:
    data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    return [f"{what}: …{data[max(0, m.start() - 40) : m.end() + 10]!r}" for m in ANY.finditer(data)][:5]


@contextlib.contextmanager
def watched_processes() -> Iterator[list[str]]:
    """Every command line on this machine, and the environment of the builders, looked at all the while."""
    leaks: list[str] = []
    seen: set[bytes] = set()
    done = threading.Event()

    def look(what: str, data: bytes) -> None:
        if data not in seen:
            seen.add(data)
            leaks.extend(found_in(what, data))

    def watch() -> None:
        while not done.wait(0.01):
            for path in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    look(f"{path}/cmdline", (path / "cmdline").read_bytes())
                    environ = (path / "environ").read_bytes()
                    if b"GITSTEAD_JOB=" in environ or b"GITSTEAD_STATE=" in environ:
                        look(f"{path}/environ", environ)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield leaks
    finally:
        done.set()
        watcher.join()
    assert any(b"--secret=id=" in each for each in seen), "a build was seen"


def crawl(platform: Platform) -> Iterator[tuple[str, bytes]]:
    """Every page and answer of the API that a link, or the shape of an address, leads to."""
    base = f"http://127.0.0.1:{platform.status_port}"
    numbers = [each.number for each in platform.deployments("vault")]
    todo = ["/", "/api/projects", "/api/projects/vault", "/api/projects/vault/deployments"]
    todo += [f"/api/projects/vault/deployments/{n}{more}" for n in numbers for more in ("", "/log?limit=1000")]
    todo += [f"/projects/vault/deployments/{n}/log.txt" for n in numbers]
    seen: set[str] = set()
    while todo and len(seen) < 300:
        path = todo.pop(0)
        if path in seen or "stream" in path or path == "/events":
            continue
        seen.add(path)
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(base + path, timeout=20) as answer:  # noqa: S310 - our own page
            body = answer.read()
            yield path, body
            links = re.findall(rb'(?:href|src|action)="(/[^"#]*)', body)
            todo += [link.decode().replace("&amp;", "&") for link in links]
    assert len(seen) > 8, seen


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file that is there long enough to be read."""
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                if (path := Path(place, name)).is_file():
                    yield str(path), path.read_bytes()


def left_on_disk(platform: Platform) -> Iterator[tuple[str, bytes | str]]:
    """Every file of the platform, what is packed in its stores, and temporary folders of ours, by name."""
    for folder in (platform.state, platform.folder / "run", *Path(tempfile.gettempdir()).glob("gitstead*")):
        yield from files_below(folder)
    yield "the reconciler's log", platform.log()
    for name in ("state.db", "logs.db"):
        connection = sqlite3.connect(f"file:{platform.state / 'state' / name}?mode=ro", uri=True)
        yield f"dump of {name}", "\n".join(connection.iterdump())
        connection.close()
    reader = LogReader(platform.state / "state" / "logs.db")
    for each in platform.deployments("vault"):
        for line in reader.read("vault", each.number, limit=100_000):
            yield f"log of d{each.number}, line {line.number}", f"{line.step} {line.text}"
    reader.close()


def told_elsewhere(platform: Platform) -> Iterator[tuple[str, bytes | str]]:
    """Engine, Caddy, pages and commands, by name."""
    for name in platform.containers():
        raw = inspect(name)
        yield f"labels of {name}", json.dumps(raw["Config"]["Labels"]) + raw["Path"] + json.dumps(raw["Args"])
    images = docker("images", "-q", "--filter", f"label=gitstead.instance={platform.instance}").split()
    for image in sorted(set(images)):
        yield f"image {image}", docker("image", "inspect", image)
        yield f"history of {image}", docker("history", "--no-trunc", image)
    assert images
    yield "networks", docker("network", "ls", "--no-trunc")
    yield "Caddy", exchange(platform.admin_socket, "GET", "/config/", headers={"Host": "localhost"}).body
    for line in ("status vault", "status --json", "history vault --json", "plan", "logs vault"):
        done = platform.cli(*line.split(), check=False)
        yield f"gitstead {line}", done.stdout + done.stderr


def spilling() -> dict[str, str | bytes | None]:
    """An app and a build that print all that they are told; `canary.txt` lies in its repository."""
    return app_files("v1") | {
        "app.py": SPILLING_APP,
        "spill.py": SPILL,
        "leak.py": LEAK % 0,
        "canary.txt": "".join(f"file {value}\n" for value in CANARIES.values()),
        "Dockerfile": DOCKERFILE,
    }


def test_canaries_are_found_nowhere_but_where_they_are_used(platform: Platform) -> None:
    platform.web = True
    platform.cli("key")
    platform.app("vault", files=spilling())
    keys: dict[str, Any] = {
        "run": {"memory": "64m", "secrets": {key: seal(platform, "vault", key, CANARIES[key]) for key in RUN}},
        "build": {
            "type": "dockerfile",
            "args": {"NOTE": "an argument is no secret"},
            "secrets": {
                key: seal(platform, "vault", key, CANARIES[key], "build-secret") for key in ("npm-token.1", "TOKEN")
            },
        },
        "health": {"timeout": "5s", "interval": "1s"},
    }
    platform.push_spec("vault", **keys)
    with watched_processes() as leaks:
        platform.start()
        platform.answers("vault", "v1", timeout_s=120)
        platform.healthy("vault")
        live = platform.live("vault")
        platform.repos["vault"].push({"leak.py": LEAK % 1}, "Fail in the build")
        assert "it failed with [masked]" in platform.condition("vault", "BuildFailed", timeout_s=120)
        platform.repos["vault"].push({"leak.py": LEAK % 0, "version": "sick\n"}, "Fail the check")
        platform.condition("vault", "CheckFailed", timeout_s=120)
    wait_for(lambda: platform.containers("vault") == [live], "the failed one is gone")
    assert leaks == []
    env = dict(each.split("=", 1) for each in inspect(live)["Config"]["Env"])
    assert {key: env.get(key) for key in RUN} == {key: CANARIES[key] for key in RUN}
    looked_at = [left_on_disk(platform), told_elsewhere(platform), crawl(platform)]
    assert [line for place in looked_at for what, data in place for line in found_in(what, data)] == []
    assert list((platform.folder / "run").glob("*.secrets/*")) == []
    reader = LogReader(platform.state / "state" / "logs.db")
    texts = [line.text for line in reader.read("vault", 1, limit=100_000)]
    kept = [line.text for line in reader.read("vault", 3, limit=100_000)]
    reader.close()
    spilled = [text for text in texts if text.startswith("spilled")]
    assert len(spilled) == 2 * 2 * 11, [text[:60] for text in texts]
    assert all("[masked]" in text for text in spilled)
    assert any("file [masked]" in text for text in texts), [text[:80] for text in texts[-40:]]
    assert any("an argument is no secret" in text for text in texts)
    assert sum("[masked]" in text for text in kept) > 20, "what the app printed last is kept, masked"
    assert "spilled [masked]" in platform.cli("logs", "vault", "--tail", "2000").stdout


def environment(platform: Platform, name: str) -> dict[str, str]:
    return dict(each.split("=", 1) for each in inspect(platform.live(name))["Config"]["Env"])


def secret_spec(platform: Platform, sealed: str) -> str:
    return platform.push_spec("shop", run={"memory": "64m", "secrets": {"GREETING": sealed}})


def test_only_another_value_deploys_and_one_that_cannot_be_opened_changes_nothing(platform: Platform) -> None:
    platform.cli("key")
    platform.app("shop")
    secret_spec(platform, seal(platform, "shop", "GREETING", "canary-one"))
    platform.start()
    platform.answers("shop", "v1 canary-one")
    platform.healthy("shop")
    before = platform.ids()

    # The same value to a newer key: the text changes, what runs does not.
    platform.cli("key", "--rotate")
    done = platform.cli("reseal", str(platform.platform_repo.clone))
    assert "projects/shop.yaml:5:" in done.stdout
    platform.platform_repo.push({}, "Seal anew")
    platform.looks()
    assert platform.ids() == before
    assert [each.number for each in platform.deployments("shop")] == [1]
    assert platform.cli("plan").returncode == 0

    # Without the older key, which the row of the deployment was sealed to, what runs can still be put back.
    identity = platform.state / "keys" / "identity"
    identity.write_text("".join(identity.read_text().splitlines(keepends=True)[:2]))
    docker("rm", "-f", platform.live("shop"))
    platform.told("shop", "removed by hand")
    platform.answers("shop", "v1 canary-one")
    platform.healthy("shop")
    before = platform.ids()

    # A value for another place, or to another key: told with its line, and nothing moves, not even for a new commit.
    secret_spec(platform, seal(platform, "cart", "GREETING", "canary-two"))
    message = platform.condition("shop", "SecretUnreadable")
    assert re.match(r"projects/shop\.yaml:5:\d+ run-secret GREETING of shop was sealed as .*'cart'", message), message
    platform.repos["shop"].push({"version": "v2\n"})
    platform.looks()
    assert platform.ids() == before
    assert platform.get("shop.localhost") == (200, "v1 canary-one")
    assert "SecretUnreadable" in platform.cli("status", "shop").stdout

    # Another value: deployed, and told by a mark alone.
    secret_spec(platform, seal(platform, "shop", "GREETING", "canary-two"))
    platform.answers("shop", "v2 canary-two")
    platform.healthy("shop")
    cause = platform.deployments("shop")[0].cause_text
    assert re.search(r"run\.secrets\.GREETING \(sealed, [0-9a-f]{8}\) → \(sealed, [0-9a-f]{8}\)", cause), cause
    assert "canary" not in cause

    # The key is lost and comes back: told, and over by itself.
    kept = identity.read_bytes()
    identity.write_bytes(b"")
    secret_spec(platform, seal_to(platform, kept, "shop", "GREETING", "canary-three"))
    assert "keys/identity is damaged" in platform.condition("shop", "SecretUnreadable")
    platform.stop()
    platform.start()
    platform.condition("shop", "SecretUnreadable")
    platform.answers("shop", "v2 canary-two")
    identity.write_bytes(kept)
    platform.looks(1)
    platform.answers("shop", "v2 canary-three")
    platform.healthy("shop")
    assert environment(platform, "shop")["GREETING"] == "canary-three"
    assert "canary" not in platform.log()


def seal_to(platform: Platform, identity: bytes, project: str, key: str, value: str) -> str:
    """As on a laptop that has the recipient alone."""
    recipient = identity.decode().splitlines()[0].removeprefix("# public key: ")
    return platform.cli("seal", project, key, "--recipient", recipient, stdin=value).stdout.strip()
