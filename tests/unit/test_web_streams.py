"""Live streams behind a real gunicorn: nothing lost, nothing twice, and never all the threads (trap 33)."""

from __future__ import annotations

import html
import json
import socket
import time
from collections.abc import Iterator

import pytest

from reconciler.history.log_sink import BuildLogSink
from reconciler.model.condition import Health
from reconciler.model.effects import BuildStep
from reconciler.model.release import State
from tests.web_support import LiveStream, World, free_port, get, poll_until, served
from web.app import MOST_STREAMS
from web.streams import KEEP_ALIVE_S

LOG = "/projects/blog/deployments/1/log/stream"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    world = World(tmp_path_factory.mktemp("web"), status_port=free_port())
    world.tell("blog")
    world.beat()
    with served(world.settings) as address:
        yield world, address
    world.close()


def _building(world: World, project: str) -> BuildLogSink:
    world.open(project, 1)
    world.advance(project, 1, State.BUILDING)
    return world.build_log(project, 1)


def _lines(event: dict[str, str]) -> list[str]:
    return ["".join(text for _, text in line["spans"]) for line in json.loads(event["data"])]


def test_a_change_of_the_store_reaches_the_page_within_a_second(platform: tuple[World, str]) -> None:
    world, address = platform
    stream = LiveStream(f"{address}/events")
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    first = stream.until("version")["data"]
    begun = time.monotonic()
    world.tell("blog", Health.DEGRADED)
    assert stream.until("version")["data"] != first
    assert time.monotonic() - begun < 1.0
    stream.close()


def test_the_version_of_a_page_is_that_of_the_stream(platform: tuple[World, str]) -> None:
    """Else a change between the page and its stream would be missed."""
    _, address = platform
    stream = LiveStream(f"{address}/events")
    assert f'data-version="{stream.until("version")["data"]}"' in get(f"{address}/").text
    stream.close()


def test_what_the_heartbeat_says_is_a_change_but_its_age_is_none(platform: tuple[World, str]) -> None:
    world, address = platform
    stream = LiveStream(f"{address}/events")
    first = stream.until("version")["data"]
    world.beat()
    world.beat(engine="the engine is away")
    second = stream.until("version")["data"]
    assert second != first
    world.beat()
    assert stream.until("version")["data"] == first
    stream.close()


def test_lines_come_as_they_are_written_and_the_end_is_told(platform: tuple[World, str]) -> None:
    world, address = platform
    log = _building(world, "blog")
    log.write("stdout", "one", at=world.now, step="1/2 RUN")
    stream = LiveStream(f"{address}{LOG}")
    first = stream.until("lines")
    assert _lines(first) == ["one"]
    assert first["id"] == "1"
    log.write("stderr", "\x1b[31mtwo\x1b[0m\n\nevent: end\ndata: forged", at=world.now)
    second = stream.until("lines")
    assert json.loads(second["data"])[0]["spans"][0] == ["t-red", "two"]
    assert len(json.loads(second["data"])) == 1
    log.close()
    assert stream.until("end")["data"] == "end"
    stream.close()


def test_a_reader_who_comes_back_gets_every_line_once(platform: tuple[World, str]) -> None:
    world, address = platform
    log = _building(world, "resume")
    path = f"{address}/projects/resume/deployments/1/log/stream"
    seen: list[str] = []
    last_id = ""
    for part in range(4):
        for number in range(700):
            log.write("stdout", f"{part}-{number}", at=world.now)
        log.flush()
        stream = LiveStream(path, last_id=last_id)
        event = stream.until("lines")
        seen += _lines(event)
        last_id = event["id"]
        stream.close()
    log.close()
    stream = LiveStream(path, last_id=last_id)
    while (event := stream.next())["event"] != "end":
        if event["event"] == "lines":
            seen += _lines(event)
    stream.close()
    assert seen == [f"{part}-{number}" for part in range(4) for number in range(700)]


def test_steps_are_told_as_they_begin_and_end_and_again_to_who_comes_back(platform: tuple[World, str]) -> None:
    world, address = platform
    log = _building(world, "steps")
    path = f"{address}/projects/steps/deployments/1/log/stream"
    log.step(BuildStep("1/2 COPY", world.now, world.now, "cached"))
    log.step(BuildStep("2/2 RUN", world.now))
    log.flush()
    stream = LiveStream(path)
    first = stream.until("steps")
    assert "id" not in first
    assert [(each["name"], each["outcome"]) for each in json.loads(first["data"])] == [
        ("1/2 COPY", "cached"),
        ("2/2 RUN", ""),
    ]
    log.write("stdout", "one", at=world.now, step="2/2 RUN")
    log.step(BuildStep("2/2 RUN", world.now, world.now + 4.2, "done"))
    log.flush()
    (ended,) = json.loads(stream.until("steps")["data"])
    assert (ended["name"], ended["outcome"], ended["took"], ended["lines"]) == ("2/2 RUN", "done", "4.2s", 1)
    stream.close()
    stream = LiveStream(path, last_id="1")
    assert len(json.loads(stream.until("steps")["data"])) == 2
    stream.close()
    log.close()


def test_what_is_hidden_in_lines_and_names_of_steps_is_shown_as_on_the_page(platform: tuple[World, str]) -> None:
    world, address = platform
    log = _building(world, "hostile")
    name = "RUN \u202eexe.\x1b[2J</script>"
    log.step(BuildStep(name, world.now))
    log.write("stdout", "\x1b]8;;javascript:alert(1)\x07\u202e", at=world.now, step=name)
    log.close()
    stream = LiveStream(f"{address}/projects/hostile/deployments/1/log/stream")
    lines, steps = stream.until("lines")["data"], stream.until("steps")["data"]
    for text in (lines, steps):
        assert "\\u202e" not in text
        assert "\\u001b" not in text
    page = html.unescape(get(f"{address}/projects/hostile/deployments/1").text)
    shown = json.loads(steps)[0]["name"]
    assert shown == json.loads(lines)[0]["step"] == "RUN \u2039U+202E\u203aexe.␛[2J</script>"
    assert f'data-step="{shown}"' in page
    stream.close()


def test_a_deployment_that_built_nothing_ends_at_once(platform: tuple[World, str]) -> None:
    world, address = platform
    world.open("nothing", 1)
    world.start("nothing", 1)
    stream = LiveStream(f"{address}/projects/nothing/deployments/1/log/stream")
    stream.until("end")
    stream.close()


def test_a_queued_deployment_is_waited_for(platform: tuple[World, str]) -> None:
    world, address = platform
    world.open("queued", 1)
    stream = LiveStream(f"{address}/projects/queued/deployments/1/log/stream")
    stream.until("version")
    world.advance("queued", 1, State.BUILDING)
    log = world.build_log("queued", 1)
    log.write("stdout", "at last", at=world.now)
    assert _lines(stream.until("lines")) == ["at last"]
    log.close()
    stream.close()


def test_streams_never_take_the_threads_of_pages(platform: tuple[World, str]) -> None:
    """Security row 75: the rest is told to poll, pages still answer, and readers who leave free their slots."""
    _, address = platform
    streams = _take_all(address)
    refused = LiveStream(f"{address}/events")
    assert refused.status == 503
    assert refused.headers["Retry-After"]
    refused.close()
    begun = time.monotonic()
    assert get(f"{address}/").status == 200
    assert time.monotonic() - begun < 1.0
    for stream in streams:
        stream.close()
    for stream in _take_all(address):
        stream.close()


def test_a_reader_who_never_reads_holds_no_page_up(platform: tuple[World, str]) -> None:
    world, address = platform
    log = _building(world, "flood")
    for _ in range(3000):
        log.write("stdout", "x" * 2000, at=world.now)
    log.close()
    port = int(address.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.sendall(b"GET /projects/flood/deployments/1/log/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert get(f"{address}/").status == 200


@pytest.mark.parametrize("request_text", [b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n", b"GARBAGE\r\n\r\n", b""])
def test_clients_who_do_not_hang_up_hold_nobody_up(platform: tuple[World, str], request_text: bytes) -> None:
    """gunicorn's own worker waits 2 s for each of them on the thread that accepts connections."""
    _, address = platform
    port = int(address.rsplit(":", 1)[1])
    rude = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
    for each in rude:
        each.sendall(request_text)
    slowest, until = 0.0, time.monotonic() + 2.0
    while time.monotonic() < until:
        begun = time.monotonic()
        assert get(f"{address}/static/app.css").status == 200
        slowest = max(slowest, time.monotonic() - begun)
    for each in rude:
        each.close()
    assert slowest < 1.0


def test_a_stream_of_what_is_not_there_is_404(platform: tuple[World, str]) -> None:
    _, address = platform
    assert get(f"{address}/projects/blog/deployments/77/log/stream").status == 404


def _take_all(address: str) -> list[LiveStream]:
    """Every slot; those of readers who left are free before the next sign of life would find them out."""
    taken: list[LiveStream] = []

    def has_all() -> bool:
        stream = LiveStream(f"{address}/events")
        if stream.status == 200:
            taken.append(stream)
        else:
            stream.close()
        return len(taken) == MOST_STREAMS

    poll_until(has_all, deadline_s=KEEP_ALIVE_S / 2, what="every slot is free")
    return taken
