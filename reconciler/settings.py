"""Reads the environment and the host file once into one frozen value.

Called by `cli` and `web` at start; everything else is handed the value. Nothing else in the
product reads the environment. What concerns the host is here and never in Git.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LogFormat = Literal["console", "json"]


@dataclass(frozen=True)
class Settings:
    """`platform_repo` is a URL or an absolute path, "" while none is set.

    `listen_host`/`http_port` is where Caddy takes the apps' visitors, `status_*` where the web
    page listens. `caddy_admin` is the socket of a Caddy that runs already; None lets `up` start
    one as a child with a socket in the state folder. `local_paths` are the folders of this host
    under which repositories may lie. `docker_host` None means the engine's default socket.
    """

    state: Path
    platform_repo: str = ""
    platform_branch: str = "main"
    listen_host: str = "127.0.0.1"
    http_port: int = 8680
    status_host: str = "127.0.0.1"
    status_port: int = 8600
    ports: tuple[int, int] = (20000, 29999)
    poll_s: float = 15.0
    full_look_s: float = 60.0
    git_timeout_s: float = 30.0
    local_paths: tuple[str, ...] = ()
    known_hosts: Path = Path("~/.ssh/known_hosts")
    caddy_admin: Path | None = None
    docker_host: str | None = None
    apply_workers: int = 4
    builds: int = 1
    log_level: str = "info"
    log_format: LogFormat = "console"

    @property
    def admin_socket(self) -> Path:
        return self.caddy_admin or self.state / "caddy" / "admin.sock"

    @property
    def upstreams(self) -> Path:
        return self.state / "upstreams"

    @property
    def mirrors(self) -> Path:
        return self.state / "mirrors"

    @property
    def state_db(self) -> Path:
        return self.state / "state" / "state.db"

    @property
    def logs_db(self) -> Path:
        return self.state / "state" / "logs.db"

    @property
    def inbox(self) -> Path:
        return self.state / "inbox"

    @property
    def inbox_db(self) -> Path:
        return self.inbox / "inbox.db"

    @property
    def wake_socket(self) -> Path:
        return self.inbox / "wake.sock"

    @property
    def last_good_caddy(self) -> Path:
        return self.state / "caddy" / "last-good.json"
