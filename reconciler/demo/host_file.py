"""The demo's host file: its ports, its state folder, and where its repositories lie.

Called by `session` before each start and by `reset`. The platform is then run from the very file that
`./demo/gitstead` reads, so that both speak of the same one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.adapters import host_ports
from reconciler.adapters.caddy_process import MARK as CADDY_MARK
from reconciler.adapters.process_marks import marked_pids
from reconciler.demo.folder import DemoFolder
from reconciler.demo.repositories import BRANCH
from reconciler.errors import HostUnfit
from reconciler.settings import Settings, load_settings

_HOST = "127.0.0.1"
_TRIES = 200
_HEAD = "# Written by gitstead demo at each start. ./gitstead in this folder asks the demo's platform with it.\n"

Say = Callable[[str], None]


def demo_settings(folder: DemoFolder, base: Settings) -> Settings:
    """Those of the demo's last start; of its first one, where `base` gives ports, engine and log level."""
    if folder.host_file.is_file():
        return load_settings({}, host_file=folder.host_file)
    return replace(
        base,
        state=folder.state,
        platform_repo=str(folder.bare("platform")),
        platform_branch=BRANCH,
        listen_host=_HOST,
        status_host=_HOST,
        local_paths=(str(folder.repos),),
        caddy_admin=None,
        runtime=folder.runtime,
        log_format="json",
    )


def write_host_file(folder: DemoFolder, base: Settings, say: Say) -> Settings:
    """Choose ports that are free, say which were not, write the file; the settings that it gives."""
    wanted = demo_settings(folder, base)
    # A Caddy that outlived a killed demo holds our own port and is taken over.
    ours = str((folder.state / "caddy").resolve()) in marked_pids(CADDY_MARK).values()
    http_port = wanted.http_port if ours else _free(wanted.http_port, "the apps answer", say, avoid=0)
    status_port = _free(wanted.status_port, "the status page is", say, avoid=http_port)
    settings = replace(wanted, http_port=http_port, status_port=status_port)
    temporary = folder.host_file.with_suffix(".new")
    temporary.write_text(_HEAD + _as_yaml(_document(settings)))
    temporary.replace(folder.host_file)
    return load_settings({}, host_file=folder.host_file)


def _free(port: int, what: str, say: Say, *, avoid: int) -> int:
    for candidate in range(port, min(port + _TRIES, 65536)):
        if candidate != avoid and host_ports.bind_test(candidate):
            if candidate != port:
                owner = host_ports.owner_of(port)
                say(f"Port {port} is taken{f' by {owner}' if owner else ''}: {what} on {candidate} instead.")
            return candidate
    raise HostUnfit(
        f"no port from {port} to {min(port + _TRIES, 65536) - 1} is free",
        expected="a free port on 127.0.0.1",
        remedy="Set GITSTEAD_HTTP_PORT or GITSTEAD_STATUS_PORT to one that is",
    )


def _document(settings: Settings) -> dict[str, Any]:
    """In the words of schemas/host.schema.json."""
    return {
        "state": settings.state,
        "platform": {"repo": settings.platform_repo, "branch": settings.platform_branch},
        "listen": {
            "host": settings.listen_host,
            "http_port": settings.http_port,
            "status_host": settings.status_host,
            "status_port": settings.status_port,
        },
        "local_paths": list(settings.local_paths),
        "ports": list(settings.ports),
        "runtime": settings.runtime,
        "log": {"level": settings.log_level, "format": settings.log_format},
        **({"docker_host": settings.docker_host} if settings.docker_host else {}),
    }


def _as_yaml(document: dict[str, Any]) -> str:
    """One key a line; JSON values are YAML values."""
    lines = (f"{key}: {json.dumps(value, ensure_ascii=False, default=_text)}\n" for key, value in document.items())
    return "".join(lines)


def _text(value: Path) -> str:
    return str(value)
