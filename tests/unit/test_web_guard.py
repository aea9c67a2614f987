"""Only GET exists, strange requests are refused, every answer carries its headers (invariant 9, trap 33)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

import web
from tests.web_support import World
from web.app import create_app

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
ROUTES = {
    "/": 200,
    "/projects/blog": 200,
    "/projects/blog/deployments/1": 200,
    "/projects/blog/deployments/1/log.txt": 200,
    "/projects/blog/deployments/1/log/stream": 200,
    "/events": 200,
    "/healthz": 200,
    "/api/projects": 200,
    "/api/projects/blog": 200,
    "/api/projects/blog/deployments": 200,
    "/api/projects/blog/deployments/1": 200,
    "/api/projects/blog/deployments/1/log": 200,
    "/static/app.css": 200,
}
_MAY_IMPORT = (
    *("reconciler.settings", "reconciler.errors", "reconciler.model", "reconciler.masking", "reconciler.heartbeat"),
    *(f"reconciler.history.{name}" for name in ("queries", "logs", "failing", "requests", "sessions")),
    *("flask", "markupsafe", "werkzeug", "structlog", "web"),
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.deploy("blog", 1)
    made.tell("blog")
    made.beat()
    yield made
    made.close()


@pytest.fixture
def app(world: World) -> Flask:
    return world.app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_the_table_of_routes_is_complete(app: Flask) -> None:
    adapter = app.url_map.bind("localhost")
    matched = {str(adapter.match(path, return_rule=True)[0].rule) for path in ROUTES}
    assert matched == {rule.rule for rule in app.url_map.iter_rules()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ROUTES)
def test_every_route_answers_get_and_head_alone(client: FlaskClient, path: str, method: str) -> None:
    answer = client.open(path, method=method, buffered=False)
    expected = ROUTES[path] if method in ("GET", "HEAD") else 405
    assert answer.status_code == expected
    if expected == 405:
        assert answer.headers["Allow"] == "GET, HEAD"
        assert "Content-Security-Policy" in answer.headers
    answer.close()


def test_a_head_of_a_stream_gives_its_slot_back(app: Flask, client: FlaskClient) -> None:
    client.head("/events").close()
    client.head("/projects/blog/deployments/1/log.txt").close()
    assert app.extensions["gitstead"].slots.taken == 0


@pytest.mark.parametrize("path", [*ROUTES, "/nothing", "/projects/none"])
def test_every_answer_is_protected(client: FlaskClient, path: str) -> None:
    answer = client.get(path, buffered=False)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert "Set-Cookie" not in answer.headers
    if not path.startswith(("/api/projects", "/static")):
        assert answer.headers["Cache-Control"] == "no-store"
    answer.close()


def test_no_page_has_anything_inline(client: FlaskClient) -> None:
    for path in ("/", "/projects/blog", "/projects/blog/deployments/1", "/nothing"):
        page = client.get(path).text
        assert "<style" not in page
        assert "style=" not in page
        assert " onclick=" not in page
        assert page.count("<script") == page.count('<script src="/static/app.js') == 1


def test_no_page_asks_another_host(client: FlaskClient) -> None:
    for name in ("app.css", "app.js"):
        body = client.get(f"/static/{name}").text
        assert "http://" not in body
        assert "https://" not in body
        assert "@import" not in body


def test_all_files_together_are_below_30_kilobytes(client: FlaskClient) -> None:
    assert sum(len(client.get(f"/static/{name}").data) for name in ("app.css", "app.js", "icon.svg")) < 30_000


def test_a_file_is_kept_for_ever_only_under_its_own_version(client: FlaskClient) -> None:
    page = client.get("/").text
    address = page.split('rel="stylesheet" href="')[1].split('"')[0]
    assert "immutable" in client.get(address).headers["Cache-Control"]
    assert "immutable" not in client.get("/static/app.css?v=old").headers["Cache-Control"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8600", 200),
        ("status.localhost", 200),
        ("127.0.0.1:8600", 200),
        ("[::1]:8600", 200),
        ("192.168.1.5", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("[::1].evil.example", 400),
        ("a b", 400),
        ("localhost/../x", 400),
        ("", 400),
    ],
)
def test_only_our_own_names_are_served(client: FlaskClient, host: str, status: int) -> None:
    assert client.get("/", headers={"Host": host}).status_code == status


def test_the_name_that_it_listens_on_is_served(world: World) -> None:
    client = create_app(replace(world.settings, status_host="Status.example.com")).test_client()
    assert client.get("/", headers={"Host": "status.example.com"}).status_code == 200


def test_forwarded_headers_change_nothing(client: FlaskClient) -> None:
    headers = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "1.2.3.4"}
    assert "evil.example" not in client.get("/", headers=headers).text


def test_a_large_body_is_refused_before_it_is_read(client: FlaskClient) -> None:
    assert client.get("/", data=b"x" * 20_000).status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/app.css%00",
        "/static//etc/passwd",
        "/static/.",
        "/projects//blog",
        "/projects/blog/",
        "/projects/..%2f..%2fetc",
        "/projects/blog%00",
        "/projects/blog%0a",
        "/projects/blog/deployments/0",
        "/projects/blog/deployments/-1",
        "/projects/blog/deployments/1.5",
        "/projects/blog/deployments/123456789012345678901234567890",
    ],
)
def test_strange_paths_lead_nowhere(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["//evil.example", "//evil.example/", "/projects//blog"])
def test_no_path_redirects_anywhere(client: FlaskClient, path: str) -> None:
    """Security row 80."""
    answer = client.get("/", environ_overrides={"PATH_INFO": path})
    assert answer.status_code == 404
    assert "Location" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/projects/blog", "/projects/blog/deployments/1", "/api/projects/blog"])
def test_a_store_that_cannot_be_read_is_a_readable_503(world: World, client: FlaskClient, path: str) -> None:
    world.settings.state_db.rename(world.settings.state_db.with_name("away.db"))
    answer = client.get(path)
    assert answer.status_code == 503
    assert "there is no store at" in answer.text
    assert "Start the reconciler" in answer.text
    assert answer.headers["Retry-After"]
    assert "Traceback" not in answer.text


def test_the_pages_come_back_with_the_store(world: World, client: FlaskClient) -> None:
    away = world.settings.state_db.with_name("away.db")
    world.settings.state_db.rename(away)
    assert client.get("/").status_code == 503
    away.rename(world.settings.state_db)
    assert client.get("/").status_code == 200


def test_a_fault_of_ours_is_a_readable_page_without_a_traceback(app: Flask) -> None:
    def broken() -> str:
        raise RuntimeError("the inner secret")

    app.add_url_rule("/broken", view_func=broken)
    answer = app.test_client().get("/broken")
    assert answer.status_code == 500
    assert "request_id=" in answer.text
    assert answer.headers["X-Request-Id"] in answer.text
    assert "inner secret" not in answer.text
    assert "Traceback" not in answer.text


def test_the_web_can_reach_neither_docker_nor_git_nor_caddy() -> None:
    """Invariant 9: what may be imported is a closed list."""
    found = set()
    for path in Path(web.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                found.add(f"{node.module}")
            elif isinstance(node, ast.Import):
                found |= {each.name for each in node.names}
    ours = {name for name in found if name.startswith(("reconciler", "web", "docker", "pygit2", "caddy"))}
    assert all(name.startswith(_MAY_IMPORT) for name in ours), ours
    assert "subprocess" not in found
