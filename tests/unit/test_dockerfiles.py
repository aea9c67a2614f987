"""Dockerfiles chosen or written from a spec and a listing, read for their bases, built and run for real."""

from __future__ import annotations

import json
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

from reconciler.desired.base_images import bases_of
from reconciler.desired.dockerfiles import (
    GENERATED_PATH,
    STATIC_BASE_CADDYFILE,
    STATIC_BASE_DOCKERFILE,
    dockerfile_for,
    pairs,
)
from reconciler.model.condition import Reason
from reconciler.model.desired import Dockerfile, SourceProblem
from reconciler.model.spec import BuildSpec, BuildType, HealthSpec, ProjectSpec, RunSpec, SourceSpec

BASES = pairs({"static": "gitstead/base-static", "python": "gitstead/base-python"})


def spec(build_type: BuildType, **changes: object) -> ProjectSpec:
    return ProjectSpec("blog", "b10b", SourceSpec("/srv/git/x.git"), BuildSpec(build_type), **changes)  # type: ignore[arg-type]


def made(project: ProjectSpec, *files: str, own: str | None = None) -> Dockerfile:
    dockerfile = dockerfile_for(project, frozenset(files), own, base_name=BASES, cache_id="k3v9qa-blog")
    assert isinstance(dockerfile, Dockerfile), dockerfile
    return dockerfile


def text_of(project: ProjectSpec, *files: str) -> str:
    text = made(project, *files).text
    assert text is not None
    return text


def refused(project: ProjectSpec, *files: str, own: str | None = None) -> str:
    problem = dockerfile_for(project, frozenset(files), own, base_name=BASES, cache_id="k3v9qa-blog")
    assert isinstance(problem, SourceProblem), problem
    assert problem.reason is Reason.SOURCE_UNUSABLE
    return problem.message


def test_a_repository_s_own_dockerfile_is_used_as_it_is() -> None:
    own = "FROM alpine:3\n"
    assert made(spec("dockerfile"), "Dockerfile", own=own) == Dockerfile("Dockerfile", None, ("alpine:3",))


def test_a_missing_dockerfile_is_told_with_the_candidates() -> None:
    message = refused(spec("dockerfile"), "web.Dockerfile", "docker/Dockerfile", "app.py")
    assert "/srv/git/x.git, branch main) has no Dockerfile" in message
    assert "set build.dockerfile to docker/Dockerfile or web.Dockerfile" in message
    assert "add one, or choose another build.type" in refused(spec("dockerfile"), "app.py")


def test_a_dockerfile_that_is_a_link_is_told() -> None:
    assert "has Dockerfile, but it is a link or no text" in refused(spec("dockerfile"), "Dockerfile")


@pytest.mark.parametrize("build_type", ["dockerfile", "static", "python", "flask"])
def test_an_empty_source_is_told(build_type: BuildType) -> None:
    assert f"has no files (build.type {build_type}): push some" in refused(spec(build_type))


def test_a_static_site_needs_an_answer_at_its_health_path() -> None:
    assert made(spec("static"), "index.html").bases == ("gitstead/base-static",)
    assert "set source.path to the folder that has one (public)" in refused(spec("static"), "public/index.html")
    assert "add one, or set health.path" in refused(spec("static"), "a.txt")
    assert made(spec("static", health=HealthSpec(path="/a.txt")), "a.txt").path == GENERATED_PATH


@pytest.mark.parametrize(
    ("files", "module"),
    [
        (("app.py",), "app:app"), (("wsgi.py", "app.py"), "wsgi:app"), (("main.py",), "main:app"),
        (("app/__init__.py",), "app:app"), (("application.py",), "application:app"),
    ],
)  # fmt: skip
def test_a_flask_app_is_found_by_its_file(files: tuple[str, ...], module: str) -> None:
    command = json.loads(text_of(spec("flask"), *files).rpartition("CMD ")[2])
    assert (command[0], command[-1]) == ("gunicorn", module)


def test_a_python_program_is_found_by_its_file() -> None:
    assert text_of(spec("python"), "app.py", "main.py").endswith('CMD ["python", "main.py"]\n')
    assert text_of(spec("python"), "__main__.py").endswith('CMD ["python", "__main__.py"]\n')


def test_a_program_that_is_not_found_is_told_unless_the_spec_names_it() -> None:
    assert "has none of wsgi.py, app.py, main.py, application.py" in refused(spec("flask"), "x.py")
    assert "add one, or set run.command" in refused(spec("python"), "x.py")
    assert "CMD" not in text_of(spec("python", run=RunSpec(command=("python", "x.py"))), "x.py")


def test_requirements_are_a_layer_before_the_source_and_gunicorn_is_always_there() -> None:
    text = text_of(spec("flask"), "app.py", "requirements.txt", "requirements-dev.txt", "requirements/base.txt")
    order = [
        text.index(part)
        for part in (
            'COPY ["requirements-dev.txt", "requirements.txt", "./"]', 'COPY ["requirements/", "./requirements/"]',
            '"-r", "requirements.txt"]', '"gunicorn"]', "COPY . .", "USER 10001:10001",
        )
    ]  # fmt: skip
    assert order == sorted(order)
    assert "id=gitstead-pip-k3v9qa-blog," in text
    assert "gunicorn" not in text_of(spec("python"), "main.py", "requirements.txt")


def test_without_requirements_flask_is_installed_and_a_pyproject_is_honoured() -> None:
    text = text_of(spec("flask"), "app.py")
    assert '"flask", "gunicorn"]' in text
    assert '"."]' not in text
    assert text_of(spec("python"), "main.py", "pyproject.toml").index("COPY . .") < text_of(
        spec("python"), "main.py", "pyproject.toml"
    ).index('"."]')


def test_no_shell_reads_a_generated_dockerfile() -> None:
    for project, files in ((spec("flask"), ("app.py", "requirements.txt")), (spec("static"), ("index.html",))):
        for line in text_of(project, *files).splitlines():
            if line.startswith(("RUN", "CMD")):
                assert line.endswith("]"), line


def test_a_file_name_never_reaches_an_instruction() -> None:
    odd = (
        "requirements\nRUN evil.txt",
        "requirements; evil.txt",
        'requirements"evil.txt',
        "requirements/\nRUN evil.txt",
    )
    assert "evil" not in text_of(spec("python"), "main.py", "requirements.txt", *odd)


def test_a_cache_id_that_could_end_the_mount_is_refused() -> None:
    with pytest.raises(ValueError, match="cache id"):
        dockerfile_for(spec("python"), frozenset({"main.py"}), None, base_name=BASES, cache_id="a,target=/")


@pytest.mark.parametrize(
    ("text", "bases"),
    [
        ("FROM alpine", ("alpine",)),
        ("from --platform=$BUILDPLATFORM golang:1 as build\nFROM scratch\nCOPY --from=build /a /a\n", ("golang:1",)),
        ("FROM a AS one\nFROM one\nFROM b AS two\nFROM a\n", ("a", "b")),
        ("ARG V=3\nARG BASE=alpine:${V}\nFROM ${BASE}\n", ("alpine:3",)),
        ("ARG V='3'\nFROM alpine:$V\n", ("alpine:3",)),
        ('ARG V="3" W=x\nFROM alpine:$V-$W\n', ("alpine:3-x",)),
        ("FROM alpine:${V:-3}\n", ("alpine:3",)),
        ("ARG V\nFROM alpine:$V\n", None),
        ("FROM alpine:${V:+3}\n", None),
        ("FROM alpine\nARG V=3\nFROM b:$V\n", None),
        ("# FROM x\n# syntax=docker/dockerfile:1\n\nFROM \\\n  # a comment\n  alpine \\\n  AS x\n", ("alpine",)),
        ("# escape=`\nFROM `\nalpine\nRUN dir c:\\\nRUN x\n", ("alpine",)),
        ("FROM a\nCOPY --link --from=nginx:1 /x /x\nCOPY --from=0 /y /y\n", ("a", "nginx:1")),
        ("FROM a\nRUN --mount=type=bind,from=tools:2,target=/t id\n", ("a", "tools:2")),
        ("FROM a\nCOPY --from=$X /x /x\n", None),
        ("FROM a\nRUN <<EOF\nFROM b\nEOF\nFROM c\n", ("a", "c")),
        ("FROM scratch\n", ()),
        ("RUN id\n", None),
        ("FROM\n", None),
        ("ARG V=\nFROM ${V:-}\n", None),
        ('FROM ""$\n', None),
        ("", None),
        ("\ufeffFROM alpine\r\n", ("alpine",)),
    ],
)
def test_bases_are_read_where_the_text_says_them(text: str, bases: tuple[str, ...] | None) -> None:
    assert bases_of(text) == bases


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
    project = dockerfile_for(
        spec("static"), frozenset({"index.html"}), None, base_name=lambda _: f"gs-{instance}-base:1", cache_id="x"
    )
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
    project = made(spec("python"), "main.py")
    assert project.text is not None
    (tmp_path / project.path).parent.mkdir()
    (tmp_path / project.path).write_text(project.text)
    build(tmp_path, project.path, f"gs-{instance}-app:1")
    assert run_hardened(instance, f"gs-{instance}-app:1")("/") == (200, "10001 /venv")
