"""Goals 2 and 3: a pass with nothing to do, and how it grows with the number of running apps.

Called by `__main__`. Gitstead deploys the apps as a process of its own; for the passes its parts are built in
this process, exactly as `gitstead up` builds them, and the loop's own look is called with nothing marked.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from bench import idle
from bench.bare_pass import BarePass
from bench.compose import Compose, compose
from bench.fleet import Fleet
from bench.measure import Report, in_turn, timed
from bench.place import LEASES, Place
from reconciler.adapters.caddy_process import CaddyProcess
from reconciler.bootstrap.platform import Platform as Built
from reconciler.bootstrap.platform import build
from reconciler.bootstrap.state import only_reconciler, prepare_state
from reconciler.errors import GitsteadError
from reconciler.log_output import configure_logging
from reconciler.loop.queue import ALL, Mark
from reconciler.settings import Settings, load_settings
from tests.platform_support import Platform, wait_for

_IDLE_SIZE = 50
_COMPOSE_PORTS = LEASES[1] + 1


def measure(place: Place, report: Report, *, sizes: list[int], rounds: int, idle_s: float) -> None:
    """Print the passes at each size; with `idle_s`, also what 50 projects (or the largest size) cost while idle.

    No `rounds`, no passes.
    """
    found: dict[int, float] = {}
    other = _compose(place, report)
    with place.platform("fleet", builds="4") as platform:
        fleet = Fleet(place, platform)
        for size in sorted(sizes):
            platform.start()
            platform.wait_started()
            taken_s = fleet.grow(size)
            report.title(f"{size} projects live after {taken_s:.0f} s")
            if idle_s and size == min(sizes, key=lambda each: abs(each - _IDLE_SIZE)):
                idle.measure(platform, report, projects=size, seconds=idle_s)
            platform.stop()
            if not rounds:
                continue
            with _in_process(platform) as built:
                found[size] = _passes(fleet, built, report, rounds=rounds)
                if other is not None:
                    _against_compose(other, fleet, built, report, rounds=rounds)
    if len(found) > 1:
        _growth(found, report)


def _passes(fleet: Fleet, built: Built, report: Report, *, rounds: int) -> float:
    """Ours over the bare pass; the median of ours."""
    worker = built.worker
    bare = _bare(fleet)
    assert bare.run()
    assert not bare.run()
    asked = {f"repo:{repo}": Mark(1, "poll") for repo in built.parts.sources.local_addresses()}
    size = len(fleet.names)
    report.title(f"A pass with nothing to do, {size} apps running ({rounds} rounds)")
    figures = in_turn(
        {
            "ours": lambda: timed(lambda: worker.look({}, "bench")),
            "ours, every repository asked": lambda: timed(lambda: worker.look(asked, "bench")),
            "bare list + refs + hash": lambda: timed(bare.run),
        },
        rounds,
    )
    report.rounds(figures)
    report.ratio(figures, ("ours", "bare list + refs + hash"), aim=2)
    _count(built, report)
    full = in_turn({"full look": lambda: timed(lambda: worker.look({ALL: Mark(1, "interval")}, "bench"))}, 3)
    report.say(f"the look each minute that believes no cache: {full.median('full look'):.0f} ms")
    return figures.median("ours")


def _against_compose(other: Compose, fleet: Fleet, built: Built, report: Report, *, rounds: int) -> None:
    """Ours over `docker compose up -d`, with the services of both running: only ours lists them all."""
    size = len(fleet.names)
    other.write(size, _COMPOSE_PORTS)
    try:
        other.up()
        name = "docker compose up -d"
        report.title(f"The same beside Docker Compose {other.version}, {size} services each ({rounds} rounds)")
        figures = in_turn(
            {"ours": lambda: timed(lambda: built.worker.look({}, "bench")), name: lambda: timed(other.up)}, rounds
        )
        report.rounds(figures)
        report.ratio(figures, ("ours", name), aim=0.2)
    finally:
        other.down()


def _count(built: Built, report: Report) -> None:
    """What one pass asks of the outside, and that it writes nothing (invariant 11).

    The quietest of ten: what others do on this engine meanwhile is looked at as well.
    """
    passes = [_used(built) for _ in range(10)]
    used = min(passes, key=lambda each: sum(each.values()))
    report.say(f"one pass asks: {', '.join(f'{name} × {count}' for name, count in used.items())}")
    writes = max(sum(count for name, count in each.items() if name.startswith("write")) for each in passes)
    calls = sum(count for name, count in used.items() if name.startswith("docker"))
    report.bound(f"calls to Docker {calls}", calls, aim=1)
    report.bound(f"writes to Docker, Caddy, upstream files and store {writes}", writes, aim=0)


def _used(built: Built) -> dict[str, int]:
    before = _counters(built)
    built.worker.look({}, "bench")
    return {name: count - before.get(name, 0) for name, count in _counters(built).items() if count != before.get(name)}


def _counters(built: Built) -> dict[str, int]:
    parts = built.parts
    caddy, upstreams = parts.observer.caddy, parts.observer.upstreams
    return {
        **{f"docker: {doing}": count for doing, count in parts.engine.reads.items()},
        **{f"write to Docker: {doing}": count for doing, count in parts.engine.writes.items()},
        "Caddy: read the configuration": caddy.reads,
        "write to Caddy": caddy.writes,
        "write an upstream file": upstreams.writes,
        "write to the store": parts.recorder.writes,
    }


def _growth(found: dict[int, float], report: Report) -> None:
    small, large = min(found), max(found)
    value = found[large] / found[small]
    report.title("Growth")
    report.bound(f"ours at {large} ÷ ours at {small} = {value:.1f}", value, aim=8)


def _bare(fleet: Fleet) -> BarePass:
    platform = fleet.platform
    clone = platform.platform_repo.clone
    return BarePass(
        instance=platform.instance,
        platform_repo=platform.platform_repo.bare,
        repos={name: platform.folder / f"{name}.git" for name in fleet.names},
        specs={name: (clone / "projects" / f"{name}.yaml").read_bytes() for name in fleet.names},
    )


def _compose(place: Place, report: Report) -> Compose | None:
    try:
        return compose(place)
    except GitsteadError as error:
        report.title(f"Without Docker Compose: {error}")
        return None


@contextlib.contextmanager
def _in_process(platform: Platform) -> Iterator[Built]:
    """The platform's parts in this process, its Caddy and its event stream beside them, after a first pass."""
    settings = load_settings(platform.environment())
    configure_logging(level="warning", form="json")
    host = prepare_state(settings)
    with only_reconciler(settings), _caddy(settings):
        built = build(settings, host)
        built.events.start()
        try:
            wait_for(lambda: _is_settled(built), "a look finds nothing to do")
            yield built
        finally:
            built.events.stop()
            built.watch.close()
            built.jobs.close()
            built.store.close()


def _is_settled(built: Built) -> bool:
    """Whether the engine's cache is kept and a look writes nothing."""
    used = _used(built)
    time.sleep(0.1)
    return used == {"docker: list containers": 1, "Caddy: read the configuration": 1}


@contextlib.contextmanager
def _caddy(settings: Settings) -> Iterator[None]:
    folder: Path = settings.state / "caddy"
    caddy = CaddyProcess(
        folder,
        admin_socket=settings.admin_socket,
        last_good=settings.last_good_caddy,
        listen=(settings.listen_host, settings.http_port),
    )
    caddy.ensure()
    try:
        yield
    finally:
        caddy.stop()
