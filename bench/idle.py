"""Goals 4 and 13: what a platform costs while nothing happens: CPU and memory of its processes.

Called by `passing` once the fleet has the size for it. Reconciler, web and Caddy are told apart.
"""

from __future__ import annotations

import time

from bench.measure import Report, gauge_ms
from bench.processes import command, cpu_s, descendants, pss_mb, threads
from reconciler.adapters.caddy_socket import peer_pid
from tests.platform_support import Platform, docker

_SETTLE_S = 5.0


def measure(platform: Platform, report: Report, *, projects: int, seconds: float) -> None:
    """Print both figures for a platform with `projects` live projects and no visitors."""
    time.sleep(_SETTLE_S)
    parts = _parts(platform)
    before = {name: cpu_s(pids) for name, pids in parts.items()}
    gauge = [gauge_ms()]
    began_at, began = time.time(), time.monotonic()
    time.sleep(seconds)
    passed_s = time.monotonic() - began
    events = docker("events", f"--since={began_at:.3f}", f"--until={time.time():.3f}", "--format={{.Type}}").split()
    gauge.append(gauge_ms())
    used = {name: 100 * (cpu_s(pids) - before[name]) / passed_s for name, pids in parts.items()}
    memory = {name: pss_mb(pids) for name, pids in parts.items()}
    report.title(f"Idle with {projects} projects live, over {passed_s:.0f} s")
    report.say(f"fixed CPU work {max(gauge):.1f} ms; {len(events)} events on the engine meanwhile, all of others")
    for name, pids in parts.items():
        usage = f"{used[name]:5.2f} % of a core, {memory[name]:6.1f} MB"
        report.say(f"{name:<10}  {usage}, {len(pids)} processes, {threads(pids)} threads")
    report.bound(f"CPU of the reconciler {used['reconciler']:.2f} %", used["reconciler"], aim=1, unit=" %")
    together = sum(memory.values())
    report.bound(f"memory (PSS) together {together:.0f} MB", together, aim=250, unit=" MB")


def _parts(platform: Platform) -> dict[str, list[int]]:
    assert platform.process is not None
    family = descendants(platform.process.pid)
    caddy = peer_pid(platform.state / "caddy" / "admin.sock")
    web = [pid for pid in family if "web.wsgi" in command(pid)]
    own = [pid for pid in family if pid not in web and pid != caddy]
    return {"reconciler": own, "web": web, "caddy": [caddy] if caddy else []}
