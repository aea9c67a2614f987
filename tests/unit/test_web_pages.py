"""The pages say what is, why, and what next; read from a real store that the real recorder filled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from reconciler.model.condition import Condition, Health, Reason
from reconciler.model.job import Job, JobKey
from reconciler.model.release import State
from tests.web_support import World, complaint
from web.logview import PAGE_LINES


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(world: World) -> FlaskClient:
    world.beat()
    return world.client()


def _text(client: FlaskClient, path: str, *, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    return answer.text


def test_the_overview_lists_each_project_with_symbol_and_word(world: World, client: FlaskClient) -> None:
    world.deploy("blog", 1)
    world.tell("blog")
    page = _text(client, "/")
    assert '<span aria-hidden="true">●</span> Healthy' in page
    assert 'href="/projects/blog"' in page
    assert 'href="https://blog.example.com"' in page
    assert "3f9c1e2" in page
    assert "Fix cart total" in page
    assert "1 healthy" in page
    assert "main@3f9c1e2" in page


def test_what_needs_a_look_comes_first_with_its_message(world: World, client: FlaskClient) -> None:
    world.tell("blog")
    crash = Condition("Ready", "False", Reason.CRASH_LOOP, 'exit 127, "gunicorn: not found"')
    world.tell("zoo", Health.DEGRADED, conditions=(crash,), next_retry_at=time.time() + 60)
    page = _text(client, "/")
    assert page.index('id="p-zoo"') < page.index('id="p-blog"')
    assert "exit 127, &#34;gunicorn: not found&#34;" in page
    assert "Tried again" in page
    assert "1 needs a look" in page


def test_a_healthy_project_whose_newest_build_failed_says_so(world: World, client: FlaskClient) -> None:
    stalled = Condition("Stalled", "True", Reason.BUILD_FAILED, "step 3/6: no flsk")
    world.tell("guest", conditions=(Condition("Ready", "True", Reason.LIVE, "r4 serves."), stalled))
    assert "step 3/6: no flsk" in _text(client, "/")


def test_what_is_under_way_and_what_waits_is_on_the_overview(world: World, client: FlaskClient) -> None:
    world.tell("docs", Health.PROGRESSING, under_way=8, under_way_state="building", under_way_since=time.time() - 12)
    world.tell("shop", waiting="02be77f1aa", blocks=("approval by storefront",))
    page = _text(client, "/")
    assert 'href="/projects/docs/deployments/8"' in page
    assert "building for" in page
    assert "02be77f1" in page
    assert "approval by storefront" in page


def test_problems_of_specs_stand_on_top_with_their_place(world: World, client: FlaskClient) -> None:
    world.tell("blog")
    world.tell("shop")
    world.beat(diagnostics=(complaint('run.port is "eighty"'),))
    for path in ("/", "/projects/blog"):
        assert "projects/blog.yaml:7:9" in _text(client, path)
    assert "projects/blog.yaml:7:9" not in _text(client, "/projects/shop")


def test_an_empty_platform_says_what_to_do(client: FlaskClient) -> None:
    page = _text(client, "/")
    assert "No project yet" in page
    assert "projects/hello.yaml" in page


@pytest.mark.parametrize("age_s", [91, None])
def test_a_reconciler_that_does_not_run_is_told_with_what_to_do(world: World, age_s: float | None) -> None:
    if age_s is not None:
        world.beat(at=time.time() - age_s)
    page = _text(world.client(), "/")
    assert "The reconciler does not run" in page
    assert "gitstead up" in page


def test_a_docker_or_caddy_that_does_not_answer_is_told(world: World, client: FlaskClient) -> None:
    world.beat(engine="connection refused at /run/docker.sock", caddy="no admin socket")
    page = _text(client, "/")
    assert "connection refused at /run/docker.sock" in page
    assert "no admin socket" in page
    assert "The reconciler does not run" not in page


def test_the_project_page_says_why_it_is_as_it_is(world: World, client: FlaskClient) -> None:
    world.deploy("blog", 1)
    world.recorder.record_event("blog", "drift", "container removed by hand", now=time.time(), reason="Repairing")
    world.tell(
        "blog",
        desired={"memory": "256m"},
        observed={"memory": "512m", "upstream": "127.0.0.1:20001"},
        blocks=("approval by storefront",),
        last_error="port 20001 is in use",
        next_retry_at=time.time() + 30,
    )
    page = _text(client, "/projects/blog")
    for expected in (
        "blog is Healthy. It answers at its address.",
        "differs",
        "127.0.0.1:20001",
        "approval by storefront",
        "port 20001 is in use",
        "container removed by hand",
        "push to main of /srv/git/blog.git",
        "by <bdi>Ana</bdi>",
        "10.9s",
        'href="/projects/blog/deployments/1"',
    ):
        assert expected in page


def test_deployments_are_paged_by_number(world: World, client: FlaskClient) -> None:
    for number in range(1, 24):
        world.deploy("blog", number)
    world.tell("blog")
    first = _text(client, "/projects/blog")
    assert 'id="d-23"' in first
    assert 'id="d-3"' not in first
    assert 'href="/projects/blog?before=4#deployments"' in first
    second = _text(client, "/projects/blog?before=4")
    assert 'id="d-3"' in second
    assert 'id="d-4"' not in second
    assert "?before=" not in second


def test_a_project_that_left_git_keeps_its_history(world: World, client: FlaskClient) -> None:
    world.deploy("blog", 1)
    page = _text(client, "/projects/blog")
    assert "left Git" in page
    assert 'id="d-1"' in page


def test_an_unknown_project_names_those_that_are_there(world: World, client: FlaskClient) -> None:
    world.tell("blog")
    page = _text(client, "/projects/blgo", status=404)
    assert "Did you mean blog?" in page


def test_a_failed_deployment_leads_with_reason_and_hint(world: World, client: FlaskClient) -> None:
    world.deploy("guest", 4)
    world.tell("guest", release=4, deployment=4)
    world.open("guest", 5)
    world.advance("guest", 5, State.BUILDING)
    log = world.build_log("guest", 5)
    log.write("stdout", "Collecting flsk", at=world.now, step="2/6 COPY . .")
    log.write("stderr", "\x1b[31mERROR\x1b[0m no flsk", at=world.now, step="3/6 RUN pip install")
    log.close()
    world.fail("guest", 5, message='step 3/6: no version of "flsk" found', hint="Push a fix, or gitstead retry guest")
    page = _text(client, "/projects/guest/deployments/5")
    assert page.index("BuildFailed") < page.index("no version of") < page.index("gitstead retry guest")
    assert page.index("gitstead retry guest") < page.index("Build log") < page.index("Operations")
    assert ">r4</a> serves" in page
    assert '<li class="broke">\n<span>building</span>' in page
    assert '<span class="t-red">ERROR</span> no flsk' in page
    assert '<details open data-step="3/6 RUN pip install"' in page
    assert '<details data-step="2/6 COPY . ."' in page


def test_the_journal_says_what_why_and_how_long(world: World, client: FlaskClient) -> None:
    world.deploy("blog", 1)
    page = _text(client, "/projects/blog/deployments/1")
    assert "create container" in page
    assert "gs-k3v9qa-blog-d1-web-1 on port 20001" in page
    assert "change: <bdi>push to main of /srv/git/blog.git</bdi>" in page
    assert "600ms" in page or "599ms" in page


def test_the_states_show_how_long_each_took(world: World, client: FlaskClient) -> None:
    world.deploy("blog", 1)
    page = _text(client, "/projects/blog/deployments/1")
    assert "<span>building</span> <small>9.3s</small>" in page
    assert 'aria-current="step">\n<span>live</span>' in page


def test_while_it_builds_the_page_says_how_long_that_usually_takes(world: World, client: FlaskClient) -> None:
    for number, seconds in ((1, 31.0), (2, 33.0), (3, 900.0)):
        key = JobKey("docs", number, "build")
        world.recorder.job_started(Job(key, "running", "content", number * 1e4, number * 1e4 + 1200))
        ended = Job(key, "succeeded", "content", number * 1e4, number * 1e4 + 1200, ended_at=number * 1e4 + seconds)
        world.recorder.job_ended(ended)
    world.open("docs", 8)
    world.advance("docs", 8, State.BUILDING)
    assert "builds usually take 33.0s" in _text(client, "/projects/docs/deployments/8")


def test_a_long_log_is_shown_in_parts(world: World, client: FlaskClient) -> None:
    world.open("blog", 1)
    log = world.build_log("blog", 1)
    for number in range(1, PAGE_LINES + 21):
        log.write("stdout", f"line-{number}.", at=world.now)
    log.close()
    world.start("blog", 1)
    first = _text(client, "/projects/blog/deployments/1")
    assert "line-500." in first
    assert "line-501." not in first
    assert "after=500#log" in first
    rest = _text(client, "/projects/blog/deployments/1?after=500")
    assert "line-501." in rest
    assert "line-520." in rest
    assert "line-500." not in rest
    assert "line-520." in _text(client, "/projects/blog/deployments/1?tail=1")


def test_the_whole_log_is_plain_text_without_colours(world: World, client: FlaskClient) -> None:
    world.open("blog", 1)
    log = world.build_log("blog", 1)
    for number in range(1, 1502):
        log.write("stdout", f"\x1b[32mline-{number}.\x1b[0m", at=world.now, step="1/2 RUN")
    log.write("stderr", "oops <b>", at=world.now, step="2/2 RUN")
    log.close()
    answer = client.get("/projects/blog/deployments/1/log.txt")
    assert answer.mimetype == "text/plain"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="blog-d1.log.txt"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    lines = answer.text.splitlines()
    assert lines[0] == "== 1/2 RUN"
    assert lines[1501].endswith("    line-1501.")
    assert lines[1502] == "== 2/2 RUN"
    assert lines[1503].endswith(" err oops <b>")
    assert len(lines) == 1504


def test_the_live_part_is_the_page_without_its_frame(world: World, client: FlaskClient) -> None:
    world.tell("blog")
    part = _text(client, "/?part=live")
    assert "<html" not in part
    assert 'id="p-blog"' in part
    assert "data-version" in part


@pytest.mark.parametrize("path", ["/projects/blog", "/projects/blog/deployments/1", "/"])
def test_payloads_of_strangers_are_text(world: World, client: FlaskClient, path: str) -> None:
    payload = "<script>alert(1)</script>\u202e\x1b[2J"
    world.open("blog", 1, subject=payload, author=payload)
    log = world.build_log("blog", 1)
    log.write("stdout", payload, at=world.now, step='"><img src=x onerror=alert(2)>')
    log.close()
    world.recorder.record_event("blog", "drift", payload, now=world.now)
    ready = Condition("Ready", "False", Reason.EXITED, payload)
    world.tell(
        "blog",
        Health.DEGRADED,
        subject=payload,
        conditions=(ready,),
        address="javascript:alert(3)",
        last_error=payload,
        observed={payload: payload},
        under_way=1,
        under_way_state="queued",
    )
    page = _text(client, path)
    assert "<script>alert" not in page
    assert "<img" not in page.replace('<img src="/static/icon.svg', "")
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert 'href="javascript' not in page
