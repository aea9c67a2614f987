"""The page in a real browser, behind a real gunicorn, over a store that the real recorder fills."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.condition import Condition, Health, Reason
from reconciler.model.release import State
from tests.browser_support import Browser, browser
from tests.web_support import LiveStream, World, free_port, poll_until, served
from web.app import MOST_STREAMS

pytestmark = pytest.mark.real

PAYLOAD = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202e"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    world = World(tmp_path_factory.mktemp("web"), status_port=free_port())
    world.deploy("blog", 1)
    world.tell("blog")
    world.beat()
    with served(world.settings) as address:
        yield world, address
    world.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture(autouse=True)
def _usual(page: Browser) -> None:
    page.look()
    page.script(enabled=True)
    page.console.clear()
    page.dialogs.clear()


def test_the_page_lists_a_project_healthy(platform: tuple[World, str], page: Browser) -> None:
    _, address = platform
    page.open(f"{address}/")
    assert "● Healthy" in page.value("document.getElementById('p-blog').innerText")
    page.wait_for("document.getElementById('follow').textContent === 'Live'")
    assert page.console == []


def test_the_overview_follows_without_a_reload(platform: tuple[World, str], page: Browser) -> None:
    world, address = platform
    page.open(f"{address}/")
    page.wait_for("document.getElementById('follow').textContent === 'Live'")
    page.value("window.same = true; document.querySelector('#p-blog a').focus()")
    broken = Condition("Ready", "False", Reason.CRASH_LOOP, "exit 127")
    world.tell("blog", Health.DEGRADED, conditions=(broken,))
    world.tell("fresh")
    page.wait_for("document.body.innerText.includes('exit 127') && !!document.getElementById('p-fresh')")
    assert page.value("window.same")
    assert page.value("document.activeElement.getAttribute('href')") == "/projects/blog"
    assert "1 needs a look" in page.value("document.title")
    world.tell("blog")
    page.wait_for("!document.body.innerText.includes('exit 127')")


def test_a_log_appears_line_by_line_and_the_page_says_when_it_is_live(
    platform: tuple[World, str], page: Browser
) -> None:
    world, address = platform
    world.open("docs", 1)
    world.advance("docs", 1, State.BUILDING)
    log = world.build_log("docs", 1)
    log.write("stdout", "first line", at=world.now, step="1/2 COPY")
    log.flush()
    page.open(f"{address}/projects/docs/deployments/1")
    page.value("window.same = true")
    for number in range(1, 301):
        log.write("stderr" if number % 2 else "stdout", f"\x1b[32mline {number}.\x1b[0m", at=world.now, step="2/2 RUN")
    page.wait_for("document.querySelectorAll('#steps li').length === 301")
    assert page.value("[...document.querySelectorAll('#steps li')].map((each) => each.id).join()") == ",".join(
        f"L{number}" for number in range(1, 302)
    )
    assert page.value("document.querySelectorAll('#steps details').length") == 2
    assert page.value("scrollY > 0 && document.getElementById('steps').getBoundingClientRect().bottom <= innerHeight")
    assert page.value("document.querySelectorAll('#steps .t-green').length") == 300
    assert page.value("document.querySelectorAll('#steps li.stderr .mark').length") == 150
    log.close()
    world.start("docs", 1)
    for state in (State.CHECKING, State.SWITCHING):
        world.advance("docs", 1, state)
    world.go_live("docs", 1)
    page.wait_for("document.querySelector('h1').innerText.includes('live')")
    assert page.value("window.same")
    assert page.console == []


def test_a_log_survives_a_restart_of_the_web(page: Browser, tmp_path: Path) -> None:
    """The page comes back by itself, without a line lost or shown twice."""
    world = World(tmp_path, status_port=free_port())
    world.beat()
    world.open("docs", 1)
    world.advance("docs", 1, State.BUILDING)
    log = world.build_log("docs", 1)
    with served(world.settings) as address:
        page.open(f"{address}/projects/docs/deployments/1")
        log.write("stdout", "before", at=time.time())
        page.wait_for("document.querySelectorAll('#steps li').length === 1")
    log.write("stdout", "meanwhile", at=time.time())
    with served(world.settings):
        log.write("stdout", "after", at=time.time())
        page.wait_for("document.querySelectorAll('#steps li').length === 3", deadline_s=30)
        shown = page.value("[...document.querySelectorAll('#steps li .text')].map((each) => each.innerText).join()")
        assert shown == "before,meanwhile,after"
        log.close()
        page.open("about:blank#left")
    world.close()


def test_payloads_in_subject_log_and_cause_are_inert(platform: tuple[World, str], page: Browser) -> None:
    """Security row 69."""
    world, address = platform
    world.open("evil", 1, subject=PAYLOAD, author=PAYLOAD)
    world.advance("evil", 1, State.BUILDING)
    log = world.build_log("evil", 1)
    log.write("stdout", PAYLOAD, at=world.now, step=PAYLOAD)
    log.flush()
    world.recorder.record_event("evil", "drift", PAYLOAD, now=world.now)
    stalled = Condition("Stalled", "True", Reason.BUILD_FAILED, PAYLOAD)
    world.tell("evil", conditions=(stalled,), subject=PAYLOAD, address="javascript:alert(3)", last_error=PAYLOAD)
    for path in ("/", "/projects/evil", "/projects/evil/deployments/1"):
        page.open(f"{address}{path}")
        page.wait_for("document.getElementById('follow').textContent === 'Live'")
        assert page.value("document.querySelectorAll('main img, main script, a[href^=javascript]').length") == 0
        assert "onerror=alert(1)" in page.text()
    log.write("stderr", f"live {PAYLOAD}", at=world.now, step="live <b>")
    page.wait_for("document.body.innerText.includes('live <img')")
    assert page.value("document.querySelectorAll('main img, main script, main b b').length") == 0
    assert page.dialogs == []
    log.close()


def test_the_policy_stops_a_script_that_got_into_a_page(platform: tuple[World, str], page: Browser) -> None:
    _, address = platform
    page.open(f"{address}/")
    page.value(
        "(() => { const made = document.createElement('script'); made.textContent = 'window.broken = 1';"
        " document.body.append(made); document.body.insertAdjacentHTML('beforeend',"
        " '<img src=x onerror=\"window.broken = 2\">'); })()"
    )
    page.wait_for("document.querySelectorAll('img[src=x]').length === 1")
    assert page.value("window.broken === undefined")


@pytest.mark.parametrize("dark", [False, True])
def test_pages_fit_a_phone(platform: tuple[World, str], page: Browser, dark: bool) -> None:
    _, address = platform
    page.look(width=375, height=740, dark=dark)
    for path in ("/", "/projects/blog", "/projects/blog/deployments/1", "/nothing"):
        page.open(f"{address}{path}")
        assert page.value("document.documentElement.scrollWidth") <= 375
    colour = page.value("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(20, 24, 22)") is dark


def test_a_keyboard_reaches_everything_and_shows_where_it_is(platform: tuple[World, str], page: Browser) -> None:
    _, address = platform
    page.open(f"{address}/")
    reached = []
    for _ in range(4):
        page.press("Tab")
        reached.append(page.value("document.activeElement.innerText"))
        assert page.value("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert reached[:3] == ["Skip to the content", "Gitstead", "blog"]


def test_pages_work_without_a_script(platform: tuple[World, str], page: Browser) -> None:
    _, address = platform
    page.script(enabled=False)
    for path, expected in (
        ("/", "Healthy"),
        ("/projects/blog", "Deployments"),
        ("/projects/blog/deployments/1", "Log"),
    ):
        page.open(f"{address}{path}")
        assert expected.lower() in page.text().lower()


def test_when_streams_are_taken_the_page_polls(platform: tuple[World, str], page: Browser) -> None:
    world, address = platform
    page.open("about:blank#free")
    taken: list[LiveStream] = []

    def all_are_taken() -> bool:
        stream = LiveStream(f"{address}/events")
        if stream.status == 200:
            taken.append(stream)
        else:
            stream.close()
        return len(taken) == MOST_STREAMS

    poll_until(all_are_taken, what="every stream is taken")
    page.open(f"{address}/")
    page.wait_for("document.getElementById('follow').textContent.startsWith('Asks')")
    world.tell("polled")
    page.wait_for("!!document.getElementById('p-polled')", deadline_s=20)
    for stream in taken:
        stream.close()
