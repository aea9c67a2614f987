"""The build log in a real browser: live, through lost connections, by keyboard, by address, in a flood, on a phone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from reconciler.history.log_sink import BuildLogSink
from reconciler.model.effects import BuildStep
from reconciler.model.release import State
from tests.browser_support import Browser, browser
from tests.relay_support import TcpRelay
from tests.web_support import World, free_port, served

pytestmark = pytest.mark.real

COPY, INSTALL = "[1/2] COPY . .", "[2/2] RUN npm ci"
NUMBERS = "[...document.querySelectorAll('#steps li')].map((each) => Number(each.id.slice(1)))"
MOST_LINES = 5000


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    world = World(tmp_path_factory.mktemp("web"), status_port=free_port())
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


def _building(world: World, project: str) -> BuildLogSink:
    world.open(project, 1)
    world.advance(project, 1, State.BUILDING)
    log = world.build_log(project, 1)
    log.step(BuildStep(COPY, world.now, world.now, "cached"))
    log.write("system", COPY, at=world.now, step=COPY)
    log.step(BuildStep(INSTALL, time.time()))
    log.write("system", INSTALL, at=world.now, step=INSTALL)
    return log


def _of(step: str) -> str:
    return f"document.querySelector('details[data-step=\"{step}\"]')"


def _summary(step: str) -> str:
    return f"{_of(step)}.querySelector('summary').innerText.replace(/\\s+/g, ' ')"


def _is_open(step: str) -> str:
    return f"{_of(step)}.open"


def test_steps_say_how_they_go_and_the_one_that_broke_leads(platform: tuple[World, str], page: Browser) -> None:
    """Without a reload: running, then failed, and above it why, with its last lines."""
    world, address = platform
    log = _building(world, "broken")
    log.flush()
    page.open(f"{address}/projects/broken/deployments/1")
    page.value("window.same = true")
    page.wait_for("document.getElementById('follow').textContent === 'Live'")
    assert page.value(_summary(COPY)) == f"{COPY} cached 1 line"
    assert not page.value(_is_open(COPY))
    page.wait_for(f"{_summary(INSTALL)}.startsWith('{INSTALL} running ')")
    log.write("stderr", "\x1b[41;97mFAIL\x1b[0m no such package", at=world.now, step=INSTALL)
    log.step(BuildStep(INSTALL, world.now, world.now + 4.2, "failed"))
    log.close()
    world.fail("broken", 1, message="build step 2/2: no such package", hint="Correct its name")
    page.wait_for("document.getElementById('failing')?.innerText.includes('FAIL no such package')")
    page.wait_for(f"{_summary(INSTALL)} === '{INSTALL} failed 4.2s 2 lines'")
    assert page.value(_is_open(INSTALL))
    assert page.value("document.querySelectorAll('#steps .on-red').length") == 1
    assert page.value("window.same")
    assert page.console == []


def test_a_step_that_ended_folds_and_a_keyboard_opens_it_for_good(platform: tuple[World, str], page: Browser) -> None:
    world, address = platform
    log = _building(world, "keys")
    log.flush()
    page.open(f"{address}/projects/keys/deployments/1")
    page.wait_for("document.getElementById('follow').textContent === 'Live'")
    log.step(BuildStep(INSTALL, world.now, world.now + 1, "done"))
    page.wait_for(f"!{_is_open(INSTALL)}")
    page.value(f"{_of(INSTALL)}.querySelector('summary').focus()")
    page.press("Enter")
    page.wait_for(_is_open(INSTALL))
    assert page.value("getComputedStyle(document.activeElement).outlineStyle") != "none"
    log.step(BuildStep(INSTALL, world.now, world.now + 2, "done"))
    page.wait_for(f"{_summary(INSTALL)}.includes('2.0s')")
    assert page.value(_is_open(INSTALL))
    log.close()


def test_a_connection_that_is_cut_loses_and_repeats_no_line(platform: tuple[World, str], page: Browser) -> None:
    world, _ = platform
    log = _building(world, "cut")
    with TcpRelay(free_port(), world.settings.status_port) as relay:
        page.open(f"{relay.url}/projects/cut/deployments/1")
        page.value("window.same = true")
        written = 2
        for _ in range(3):
            for _ in range(400):
                log.write("stdout", f"line {written + 1}", at=world.now, step=INSTALL)
                written += 1
            page.wait_for(f"document.querySelectorAll('#steps li').length > {written - 400}")
            relay.drop()
        relay.cut()
        log.write("stdout", "while nobody could listen", at=world.now, step=INSTALL)
        relay.mend()
        page.wait_for(f"document.querySelectorAll('#steps li').length >= {written + 1}", deadline_s=30)
        assert page.value(NUMBERS) == list(range(1, written + 2))
        assert page.value("window.same")
        log.close()
        page.open("about:blank#left")


def test_the_address_of_a_line_leads_there_wherever_it_is(platform: tuple[World, str], page: Browser) -> None:
    world, address = platform
    log = _building(world, "long")
    for number in range(3, 2001):
        log.write("stdout", f"line {number}", at=world.now, step=INSTALL)
    log.step(BuildStep(INSTALL, world.now, world.now + 1, "done"))
    log.close()
    world.start("long", 1)
    for target in ("#L1500", "?line=1500#L1500"):
        page.open(f"{address}/projects/long/deployments/1{target}")
        page.wait_for("location.search === '?line=1500' && !!document.getElementById('L1500')")
        assert page.value("document.querySelector('.hit').innerText").split() == ["1500", "line", "1500"]
        page.wait_for(
            "(({top, bottom}) => top > 0 && bottom < innerHeight)"
            "(document.getElementById('L1500').getBoundingClientRect())"
        )
    page.open("about:blank#left")


def test_a_flood_leaves_the_page_quick_and_bounded(platform: tuple[World, str], page: Browser) -> None:
    world, address = platform
    log = _building(world, "flood")
    page.open(f"{address}/projects/flood/deployments/1")
    page.wait_for("document.getElementById('follow').textContent === 'Live'")
    slowest = 0.0
    for number in range(3, 40_001):
        log.write("stdout", f"line {number}", at=world.now, step=INSTALL)
    log.flush()
    shown = 0
    while shown < 40_000:
        begun = time.monotonic()
        shown = int(page.value("document.getElementById('last-shown').textContent"))
        slowest = max(slowest, time.monotonic() - begun)
    assert slowest < 2.0
    page.wait_for(f"document.querySelectorAll('#steps li').length === {MOST_LINES}")
    assert page.value(NUMBERS) == list(range(40_001 - MOST_LINES, 40_001))
    assert page.value("!document.getElementById('dropped').hidden")
    assert "39999 lines" in page.value(_summary(INSTALL))
    log.close()


def test_a_log_fits_a_phone(platform: tuple[World, str], page: Browser) -> None:
    world, address = platform
    log = _building(world, "phone")
    log.write("stderr", "a" * 500, at=world.now, step=INSTALL)
    log.write("stdout", "a few words " * 30, at=world.now, step=INSTALL)
    log.step(BuildStep(INSTALL, world.now, world.now + 1, "failed"))
    log.close()
    world.fail("phone", 1, message="build step 2/2: " + "b" * 200, hint="Correct its name")
    world.tell("phone")
    page.look(width=375, height=740)
    for path in ("", "/deployments/1", "/deployments/1?line=2", "/deployments/1?q=words"):
        page.open(f"{address}/projects/phone{path}")
        assert page.value("document.documentElement.scrollWidth") <= 375
    page.value("document.getElementById('times')?.click()")
    assert page.value("document.documentElement.scrollWidth") <= 375


def test_steps_fold_without_a_script(platform: tuple[World, str], page: Browser) -> None:
    world, address = platform
    log = _building(world, "plain")
    log.step(BuildStep(INSTALL, world.now, world.now + 1, "done"))
    log.close()
    world.start("plain", 1)
    page.script(enabled=False)
    page.open(f"{address}/projects/plain/deployments/1")
    assert not page.value(_is_open(INSTALL))
    page.value(f"{_of(INSTALL)}.querySelector('summary').focus()")
    page.press("Enter")
    page.wait_for(_is_open(INSTALL))
