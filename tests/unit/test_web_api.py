"""The same facts as JSON, cheap to ask for again, and /healthz."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from reconciler.model.condition import Health
from reconciler.model.release import State
from tests.web_support import REVISION, World, complaint


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(world: World) -> FlaskClient:
    world.beat()
    return world.client()


def test_projects_come_with_the_platform(world: World, client: FlaskClient) -> None:
    world.tell("blog")
    world.tell("shop", Health.DEGRADED)
    world.beat(diagnostics=(complaint("run.port"),))
    found = client.get("/api/projects").json
    assert found is not None
    assert found["platform"]["revision"] == REVISION
    assert found["platform"]["is_fresh"] is True
    assert found["platform"]["diagnostics"][0]["where"] == "projects/blog.yaml:7:9"
    assert [(each["project"], each["health"]) for each in found["projects"]] == [
        ("blog", "Healthy"),
        ("shop", "Degraded"),
    ]


def test_a_project_says_its_headline_and_conditions(world: World, client: FlaskClient) -> None:
    world.tell("blog", desired={"memory": "256m"})
    found = client.get("/api/projects/blog").json
    assert found is not None
    assert found["headline"] == "blog is Healthy. It answers at its address."
    assert found["conditions"][0]["reason"] == "Live"
    assert found["desired"] == {"memory": "256m"}


def test_deployments_are_paged_until_there_are_no_more(world: World, client: FlaskClient) -> None:
    for number in range(1, 6):
        world.deploy("blog", number)
    seen: list[int] = []
    path = "/api/projects/blog/deployments?limit=2"
    while True:
        found = client.get(path).json
        assert found is not None
        seen += [each["number"] for each in found["deployments"]]
        if found["next_before"] is None:
            break
        path = f"/api/projects/blog/deployments?limit=2&before={found['next_before']}"
    assert seen == [5, 4, 3, 2, 1]


def test_a_deployment_has_times_operations_and_no_environment(world: World, client: FlaskClient) -> None:
    world.deploy("blog", 1)
    found = client.get("/api/projects/blog/deployments/1").json
    assert found is not None
    assert found["state"] == "live"
    assert list(found["entered"]) == ["queued", "building", "starting", "checking", "switching", "live"]
    assert found["build_s"] == pytest.approx(9.3, abs=0.01)
    assert found["operations"][0]["operation"] == "OpenDeployment"
    assert found["operations"][0]["outcome"] == "ok"
    assert "LOG_LEVEL" not in client.get("/api/projects/blog/deployments/1").text


def test_a_log_is_read_in_parts_without_loss(world: World, client: FlaskClient) -> None:
    world.open("blog", 1)
    world.advance("blog", 1, State.BUILDING)
    log = world.build_log("blog", 1)
    for number in range(1, 2501):
        log.write("stdout", f"line {number}", at=world.now)
    log.close()
    after, texts, closed = 0, [], False
    while True:
        found = client.get(f"/api/projects/blog/deployments/1/log?after={after}").json
        assert found is not None
        if not found["lines"]:
            closed = found["closed"]
            break
        texts += [line["text"] for line in found["lines"]]
        after = found["next_after"]
    assert texts == [f"line {number}" for number in range(1, 2501)]
    assert closed


@pytest.mark.parametrize("path", ["/api/projects/blog", "/api/projects/blog/deployments/1/log", "/api/projects"])
def test_an_answer_that_is_still_true_is_not_sent_again(world: World, client: FlaskClient, path: str) -> None:
    world.deploy("blog", 1)
    world.tell("blog")
    first = client.get(path)
    tag = first.headers["ETag"]
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    world.tell("blog", Health.DEGRADED)
    changed = client.get(path, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


def test_a_tag_of_another_process_is_not_taken_for_this_one(world: World, client: FlaskClient) -> None:
    world.tell("blog")
    tag = client.get("/api/projects/blog").headers["ETag"]
    assert world.client().get("/api/projects/blog", headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/projects/nope", 404),
        ("/api/projects/blog/deployments/7", 404),
        ("/api/projects/blog/deployments/99999999999999999999", 404),
        ("/api/projects/blog/deployments?limit=0", 400),
        ("/api/projects/blog/deployments?limit=1e3", 400),
        ("/api/projects/blog/deployments?before=-1", 400),
        ("/api/projects/blog/deployments/1/log?after=99999999999999", 400),
        ("/api/projects/blog/deployments/1/log?limit=²", 400),
        ("/api/nothing", 404),
    ],
)
def test_errors_say_what_was_expected_and_what_to_do(world: World, client: FlaskClient, path: str, status: int) -> None:
    world.deploy("blog", 1)
    world.tell("blog")
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.json is not None
    error = answer.json["error"]
    assert error["what"]
    assert error["expected"]
    assert error["remedy"]


def test_an_unknown_project_lists_those_that_are_there(world: World, client: FlaskClient) -> None:
    world.tell("blog")
    world.tell("shop")
    answer = client.get("/api/projects/nope").json
    assert answer is not None
    assert "blog, shop" in answer["error"]["expected"]


def test_healthz_is_fine_while_store_and_reconciler_are(client: FlaskClient) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["ok"] is True


def test_healthz_says_that_the_reconciler_does_not_run(world: World) -> None:
    world.beat(at=time.time() - 600)
    answer = world.client().get("/healthz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert "does not run" in answer.json["error"]["what"]


def test_healthz_says_that_the_store_cannot_be_read(world: World, client: FlaskClient) -> None:
    world.settings.state_db.rename(world.settings.state_db.with_name("away.db"))
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json is not None
    assert "store" in answer.json["error"]["what"]


def test_what_an_image_is_named_by_is_not_told_since_whoever_knows_it_can_build_upon_the_image(
    world: World, client: FlaskClient
) -> None:
    world.deploy("blog", 1)
    world.built("blog", 1, seconds=2.0)
    with_jobs = client.get("/api/projects/blog/deployments/1").json
    listed = client.get("/api/projects/blog/deployments").json
    assert with_jobs is not None
    assert listed is not None
    (job,) = with_jobs["jobs"]
    for each in (with_jobs, listed["deployments"][0]):
        assert "image_id" in each
        assert not {"content_key", "source_key", "run"} & set(each)
    for each in (job, listed["deployments"][0]["build"]):
        assert each["key"]["kind"] == "build"
        assert "subject" not in each
