"""The build log on the page: steps that fold, what broke before all else, links to lines, and hostile output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from reconciler.history.log_sink import BuildLogSink
from reconciler.history.logs import LogReader
from reconciler.model.effects import BuildStep
from reconciler.model.release import State
from tests.web_support import World
from web import logsearch
from web.logview import PAGE_LINES

COPY, INSTALL = "[1/2] COPY . .", "[2/2] RUN npm ci"
LOG = "/projects/blog/deployments/1"
HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "\x1b]8;;javascript:alert(3)\x1b\\click\x1b]8;;\x1b\\",
    "\x1b[31m<b>red</b>\x1b[0m \x1b[2J\x9b2J",
    "exe.gpj\u202e.txt",
    "{{ 7 * 7 }} &lt;b&gt; &#60;i&#62;",
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.beat()
    yield made
    made.close()


@pytest.fixture
def client(world: World) -> FlaskClient:
    return world.client()


def _building(world: World) -> BuildLogSink:
    """Deployment 1 of blog builds: its first step came out of the cache, the second one runs."""
    world.open("blog", 1)
    world.advance("blog", 1, State.BUILDING)
    log = world.build_log("blog", 1)
    log.step(BuildStep(COPY, world.now, world.now, "cached"))
    log.write("system", COPY, at=world.now, step=COPY)
    log.step(BuildStep(INSTALL, world.now))
    log.write("system", INSTALL, at=world.now, step=INSTALL)
    log.write("stdout", "added 12 packages", at=world.now + 1, step=INSTALL)
    return log


def _ended(world: World, log: BuildLogSink, *, well: bool) -> None:
    log.step(BuildStep(INSTALL, world.now, world.now + 4.2, "done" if well else "failed"))
    log.close()
    if well:
        world.start("blog", 1)
    else:
        world.fail("blog", 1, message="build step 2/2: no such package", hint="Correct its name")


def _page(client: FlaskClient, query: str = "") -> str:
    answer = client.get(f"{LOG}{query}")
    assert answer.status_code == 200, answer.text
    return answer.text


def _steps(page: str) -> dict[str, tuple[bool, str]]:
    """Step to whether it is open, and its summary as text."""
    found = re.findall(r'<details( open)?[^>]* data-step="([^"]*)".*?<summary>(.*?)</summary>', page, re.DOTALL)
    return {
        name: (bool(is_open), " ".join(re.sub(r"<[^>]*>", " ", summary).split())) for is_open, name, summary in found
    }


def test_a_running_step_is_open_and_what_ended_is_folded(world: World, client: FlaskClient) -> None:
    log = _building(world)
    log.flush()
    assert _steps(_page(client)) == {
        COPY: (False, f"{COPY} cached 1 line"),
        INSTALL: (True, f"{INSTALL} running 2 lines"),
    }
    log.close()


def test_the_steps_of_a_finished_build_fold_with_their_durations(world: World, client: FlaskClient) -> None:
    _ended(world, _building(world), well=True)
    assert _steps(_page(client)) == {
        COPY: (False, f"{COPY} cached 1 line"),
        INSTALL: (False, f"{INSTALL} 4.2s 2 lines"),
    }


def test_a_failed_build_leads_with_the_step_that_broke(world: World, client: FlaskClient) -> None:
    log = _building(world)
    for number in range(100):
        log.write("stderr", f"npm error {number}.", at=world.now + 2, step=INSTALL)
    _ended(world, log, well=False)
    page = _page(client)
    lead = page.partition('id="failing"')[2].partition("</section>")[0]
    assert "npm error 99." in lead
    assert "npm error 70." in lead
    assert "npm error 69." not in lead
    assert 'href="?line=103#L103"' in lead
    assert (
        page.index("Correct its name") < page.index('id="failing"') < page.index('id="facts"') < page.index('id="log"')
    )
    assert _steps(page) == {
        COPY: (False, f"{COPY} cached 1 line"),
        INSTALL: (True, f"{INSTALL} failed 4.2s 102 lines"),
    }
    ids = re.findall(r' id="(L\d+)"', page)
    assert len(ids) == len(set(ids)) == 103


def test_of_several_failed_steps_the_first_one_broke_the_build(world: World, client: FlaskClient) -> None:
    """BuildKit ends what runs beside a failing step; that is no cause."""
    log = _building(world)
    other = "[other 1/1] RUN sleep 60"
    log.write("stdout", "was ended", at=world.now, step=other)
    log.step(BuildStep(other, world.now, world.now + 4.3, "failed"))
    log.write("stdout", "was ended", at=world.now, step=other)
    _ended(world, log, well=False)
    steps = _steps(_page(client))
    assert steps[INSTALL][0]
    assert not steps[other][0]


@pytest.mark.parametrize(
    ("line", "first", "last"), [(1, 1, 500), (700, 450, 949), (1203, 953, 1203), (2000, 704, 1203)]
)
def test_the_address_of_a_line_shows_what_stands_around_it(
    world: World, client: FlaskClient, line: int, first: int, last: int
) -> None:
    log = _building(world)
    for number in range(4, 1204):
        log.write("stdout", f"line {number}", at=world.now, step=INSTALL)
    _ended(world, log, well=True)
    page = _page(client, f"?line={line}")
    ids = [int(each) for each in re.findall(r'<li id="L(\d+)"', page)]
    assert (ids[0], ids[-1]) == (first, last)
    assert page.count(" hit") == (1 if line <= 1203 else 0)
    assert ("There is no line 2000" in page) is (line > 1203)
    assert _steps(page)[INSTALL][0]


def test_a_step_that_is_not_on_this_part_leads_to_its_first_line(world: World, client: FlaskClient) -> None:
    log = _building(world)
    for number in range(4, PAGE_LINES + 20):
        log.write("stdout", f"line {number}", at=world.now, step=INSTALL)
    last = "exporting to image"
    log.step(BuildStep(last, world.now))
    log.write("system", last, at=world.now, step=last)
    _ended(world, log, well=True)
    page = _page(client)
    assert f'href="?line={PAGE_LINES + 20}#L{PAGE_LINES + 20}"' in page
    assert f"</span> of {PAGE_LINES + 20}</span>" in page


def test_a_log_of_any_length_is_a_page_of_one_size(world: World, client: FlaskClient) -> None:
    log = _building(world)
    for number in range(4, 30_001):
        log.write("stdout", f"line {number}", at=world.now, step=INSTALL)
    _ended(world, log, well=True)
    for query in ("", "?line=15000", "?tail=1", "?after=20000"):
        assert _page(client, query).count('<li id="L') == PAGE_LINES


def test_a_build_of_very_many_steps_is_still_a_page(world: World, client: FlaskClient) -> None:
    log = _building(world)
    for number in range(2000):
        log.step(BuildStep(f"step {number}", world.now, world.now, "done"))
    _ended(world, log, well=True)
    page = _page(client)
    assert page.count("<details") == 500
    assert "1502 more steps are not listed" in page


def test_a_build_that_broke_in_a_step_without_lines_shows_the_last_there_are(world: World, client: FlaskClient) -> None:
    log = _building(world)
    log.step(BuildStep("silent", world.now, world.now + 1, "failed"))
    log.close()
    world.fail("blog", 1, message="the step ended", hint="")
    lead = _page(client).partition('id="failing"')[2].partition("</section>")[0]
    assert "Last lines of the build" in lead
    assert "added 12 packages" in lead


def test_a_log_that_lacks_lines_says_so_with_the_remedy(world: World, client: FlaskClient) -> None:
    log = _building(world)
    log.step(BuildStep(INSTALL, world.now, clipped=True))
    log.flush()
    page = _page(client, "?part=live")
    assert "The engine cut the output of a step" in page
    assert "gitstead doctor --fix" in page
    log.close()


@pytest.mark.parametrize("failed", [False, True])
def test_hostile_output_is_text(world: World, client: FlaskClient, failed: bool) -> None:
    log = _building(world)
    for text in HOSTILE:
        log.write("stderr", text, at=world.now, step=text)
        log.step(BuildStep(text, world.now, world.now + 9, "failed" if failed else "done"))
        log.write("stdout", text, at=world.now, step=INSTALL)
    _ended(world, log, well=not failed)
    for query in ("", "?line=5", "?part=live", "?q=alert", "?q=%3Cscript%3Ealert(1)%3C/script%3E"):
        page = _page(client, query)
        tags = set(re.findall(r"<(\w+)", page))
        assert not tags & {"b>red", "iframe", "object", "svg"}
        assert page.count("<script") == page.count('<script src="/static/app.js') <= 1
        assert page.count("<img") == page.count('<img src="/static/icon.svg')
        assert "onerror=alert" not in re.sub(r"&#34;&gt;&lt;img src=x onerror=alert\(2\)&gt;", "", page)
        assert 'href="javascript' not in page
        for hidden in ("\u202e", "\x1b", "\x9b"):
            assert hidden not in page
        assert "<b>red" not in page
        assert ">49<" not in page


def test_text_is_found_whatever_its_colours_and_leads_to_its_line(world: World, client: FlaskClient) -> None:
    log = _building(world)
    log.write("stderr", "npm \x1b[31mERR\x1b[0mOR <b>code</b> E404, error again", at=world.now, step=INSTALL)
    _ended(world, log, well=True)
    page = _page(client, "?q=error")
    assert "npm <mark>ERROR</mark> &lt;b&gt;code&lt;/b&gt; E404, <mark>error</mark> again" in page
    assert 'href="?line=4#L4"' in page
    assert 'value="error"' in page
    assert "No line with" in _page(client, "?q=nowhere")
    assert 'id="steps"' in _page(client, "?q=")
    assert client.get(f"{LOG}?q={'x' * 201}").status_code == 400


def test_hits_are_paged_until_the_end_and_none_is_lost(world: World, client: FlaskClient) -> None:
    log = _building(world)
    for number in range(4, 6001):
        log.write("stdout", f"line {number}{' hit' if number % 15 == 0 else ''}", at=world.now, step=INSTALL)
    _ended(world, log, well=True)
    seen: list[int] = []
    query = "?q=hit"
    while query:
        page = _page(client, query)
        seen += [int(each) for each in re.findall(r'<a class="n" href="\?line=(\d+)#', page)]
        following = re.search(r'href="[^"]*(\?q=hit&amp;after=\d+)#log" rel="next"', page)
        query = following[1].replace("&amp;", "&") if following else ""
    assert seen == list(range(15, 6001, 15))


def test_a_search_looks_at_a_bounded_part_and_goes_on_behind_it(world: World) -> None:
    log = _building(world)
    for number in range(4, 6001):
        log.write("stdout", f"line {number}", at=world.now, step=INSTALL)
    _ended(world, log, well=True)
    reader = LogReader(world.settings.logs_db)
    deployment = world.store.queries.deployment("blog", 1)
    assert deployment
    first = logsearch.search(reader, deployment, "line 5000", at_most=2000)
    assert (first.hits, first.looked_to, first.has_more) == ((), 2000, True)
    rest = logsearch.search(reader, deployment, "line 5000", after=first.looked_to)
    assert [hit.line.number for hit in rest.hits] == [5000]
    assert (rest.looked_to, rest.has_more) == (6000, False)
    reader.close()


def test_a_very_long_line_is_shown_around_its_match(world: World, client: FlaskClient) -> None:
    log = _building(world)
    log.write("stdout", "a" * 9000 + "needle" + "b" * 3000, at=world.now, step=INSTALL)
    log.write("stdout", "İ" * 50 + "needle", at=world.now, step=INSTALL)
    _ended(world, log, well=True)
    page = _page(client, "?q=needle")
    assert f"… {'a' * 500}<mark>needle</mark>{'b' * 494} …" in page
    assert "İ" * 50 + "needle" in page


def test_stderr_and_our_own_words_are_told_by_a_word_too(world: World, client: FlaskClient) -> None:
    log = _building(world)
    log.write("stderr", "npm warn", at=world.now, step=INSTALL)
    log.flush()
    page = _page(client)
    assert page.count('<span class="mark" title="stderr">err</span>') == 1
    assert page.count(">sys</span>") == 2
    log.close()


def test_a_deployment_says_what_it_was_built_from_and_how(world: World, client: FlaskClient) -> None:
    world.deploy("blog", 1)
    world.built("blog", 1, seconds=31.0, steps=9, cached=7)
    page = _page(client)
    for fact in (
        "<bdi>main</bdi>",
        "node (Next.js)",
        "sha256:000",
        "31.0s, 7 of 9 steps from the cache",
        "Fix cart total",
    ):
        assert fact in page


def test_the_project_says_what_each_build_took_and_the_trend(world: World, client: FlaskClient) -> None:
    for number in range(1, 13):
        world.deploy("blog", number)
        world.built("blog", number, seconds=60.0 if number < 3 else 30.0, steps=9, cached=number % 9)
    world.tell("blog")
    page = client.get("/projects/blog").text
    assert "A build takes 30.0s, the median of the last 10; the 2 before took 1m 0s, so 50 % less." in page
    assert '<span class="bars" aria-hidden="true">██▅▅▅▅▅▅▅▅▅▅</span>' in page
    assert "node (Next.js)" in page
    assert "3/9 cached" in page
    assert "on <bdi>main</bdi>" in page


def test_what_was_detected_waits_for_a_person_with_its_evidence(world: World, client: FlaskClient) -> None:
    world.tell(
        "blog",
        waiting="02be77f1aa",
        gate="confirmation",
        detected="node (Next.js)",
        evidence=('package.json depends on "next"',),
        others=("dockerfile: docker/Dockerfile is there (build.type: dockerfile)",),
        dockerfile="FROM <script>alert(1)</script>\nRUN npm ci",
    )
    page = client.get("/projects/blog").text
    for text in (
        "It looks like <bdi>node (Next.js)</bdi>",
        "package.json depends on &#34;next&#34;",
        "docker/Dockerfile is there",
        "gitstead confirm blog",
        '<details id="dockerfile"><summary>',
        "FROM &lt;script&gt;alert(1)&lt;/script&gt;\nRUN npm ci",
    ):
        assert text in page
    assert "Approval" not in page
    assert "#confirmation" in client.get("/").text


def test_the_overview_says_what_is_known_of_disk_and_builds(world: World, client: FlaskClient) -> None:
    assert 'id="host"' not in client.get("/").text
    world.facts |= {"disk": "40 GB free", "builds": "2 at once"}
    world.beat()
    page = client.get("/").text
    assert "disk: <bdi>40 GB free</bdi> · builds: <bdi>2 at once</bdi>" in page
