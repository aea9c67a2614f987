"""Generated Dockerfiles built and run for real, without any capability, as the product runs them."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.desired.static_base import STATIC_BASE_CADDYFILE, STATIC_BASE_DOCKERFILE
from reconciler.model.desired import Dockerfile
from tests.golden_sources import Case, made


@pytest.fixture
def instance() -> Iterator[str]:
    """An instance of this test alone, whose containers and images are removed afterwards."""
    name = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(6))
    yield name
    labelled = ["--filter", f"label=gitstead.instance={name}", "--quiet"]
    for container_id in docker("ps", "--all", *labelled).split():
        docker("rm", "--force", container_id)
    for image in docker("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference=gs-{name}-*").split():
        docker("rmi", "--force", image)


def docker(*arguments: str) -> str:
    finished = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def build(context: Path, dockerfile: str, image: str) -> None:
    flags = ["--quiet", "--load", "--provenance=false", "--sbom=false"]
    docker("buildx", "build", *flags, "--file", str(context / dockerfile), "--tag", image, str(context))


def run_hardened(instance: str, image: str) -> Callable[[str], tuple[int, str]]:
    """Start as the product does, without any capability; return what asks it for a path."""
    hardened = ["--init", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only", "--tmpfs=/tmp"]
    container_id = docker(
        "run", "--detach", f"--label=gitstead.instance={instance}", *hardened, "--memory=64m", "--pids-limit=64",
        "--env=PORT=8123", "--publish=127.0.0.1::8123", image,
    )  # fmt: skip
    address = docker("port", container_id, "8123/tcp").split()[0]

    def ask(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    deadline, pause = time.monotonic() + 20, threading.Event()
    while True:
        try:
            ask("/")
            return ask
        except OSError:
            assert time.monotonic() < deadline, docker("logs", container_id)
            pause.wait(0.05)


@pytest.mark.real
def test_a_static_site_is_served_without_capabilities_and_hides_what_is_hidden(instance: str, tmp_path: Path) -> None:
    base, site = tmp_path / "base", tmp_path / "site"
    base.mkdir()
    shutil.copy(Path(sys.executable).with_name("caddy"), base / "caddy")
    (base / "Caddyfile").write_text(STATIC_BASE_CADDYFILE)
    (base / "Dockerfile").write_text(STATIC_BASE_DOCKERFILE)
    build(base, "Dockerfile", f"gs-{instance}-base:1")
    for path, text in {
        "index.html": "hello", "docs/a.txt": "a", ".env": "secret", "docs/.git/config": "secret",
        ".well-known/x": "public", "404.html": "lost?",
    }.items():  # fmt: skip
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    project = made(Case({"index.html": "hello"}, base_name=lambda *_: f"gs-{instance}-base:1"))
    assert isinstance(project, Dockerfile)
    assert project.text is not None
    (site / project.path).parent.mkdir()
    (site / project.path).write_text(project.text)
    build(site, project.path, f"gs-{instance}-site:1")
    ask = run_hardened(instance, f"gs-{instance}-site:1")
    assert ask("/") == (200, "hello")
    assert ask("/docs/a.txt") == (200, "a")
    assert ask("/.well-known/x") == (200, "public")
    for hidden in (
        "/docs/",
        "/nothing",
        "/.env",
        "/%2eenv",
        "/docs/.git/config",
        "/.gitstead/Dockerfile",
        "/../Caddyfile",
    ):
        assert ask(hidden) == (404, "lost?")


@pytest.mark.real
def test_a_python_program_runs_without_capabilities_as_a_user_of_its_own(instance: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "import http.server, os, sys\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        "        self.wfile.write(f'{os.getuid()} {sys.prefix}'.encode())\n"
        "http.server.HTTPServer(('', int(os.environ['PORT'])), Handler).serve_forever()\n"
    )
    project = made(Case({"main.py": ""}, "python"))
    assert isinstance(project, Dockerfile)
    assert project.text is not None
    (tmp_path / project.path).parent.mkdir()
    (tmp_path / project.path).write_text(project.text)
    build(tmp_path, project.path, f"gs-{instance}-app:1")
    assert run_hardened(instance, f"gs-{instance}-app:1")("/") == (200, "10001 /venv")
