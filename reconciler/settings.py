"""Reads the environment and the host file once into one frozen value.

Called by `cli` and `web` at start; everything else is handed the value. Nothing else in the
product reads the environment. What concerns the host is here and never in Git.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from reconciler.desired.base_names import BASE_NAMES, Bases
from reconciler.desired.documents import parse
from reconciler.desired.schema_check import check
from reconciler.desired.units import parse_size
from reconciler.errors import HostUnfit

LogFormat = Literal["console", "json"]
Bytes = int


def _half_the_cores() -> int:
    return max(1, (os.cpu_count() or 1) // 2)


@dataclass(frozen=True)
class Settings:
    """`platform_repo` is a URL or an absolute path, "" while none is set; a private one is asked over https with
    `platform_username` and the token in `platform_token_file`.

    `listen_host`/`http_port` is where Caddy takes the apps' visitors, `status_*` where the web
    page listens. `caddy_admin` is the socket of a Caddy that runs already; None lets `up` start
    one as a child with a socket in the state folder. `local_paths` are the folders of this host
    under which repositories may lie. `docker_host` None means the engine's default socket.
    `runtime` is a folder on tmpfs for liveness. `failpoint` is for the chaos tests alone: the
    place at which the process ends itself (see `apply.failpoints`). `notify_socket` is where systemd
    wants to hear how we fare. Of the limits, None means what fits the machine: for `disk_floor_bytes` and
    `build_memory_bytes` a share of it, for `build_cache_bytes` none where the engine is not our own. `bases` says
    where the images come from that generated Dockerfiles begin with.
    """

    state: Path
    platform_repo: str = ""
    platform_branch: str = "main"
    platform_token_file: Path | None = None
    platform_username: str = "git"
    listen_host: str = "127.0.0.1"
    http_port: int = 8680
    status_host: str = "127.0.0.1"
    status_port: int = 8600
    ports: tuple[int, int] = (20000, 29999)
    poll_s: float = 15.0
    full_look_s: float = 60.0
    git_timeout_s: float = 30.0
    local_paths: tuple[str, ...] = ()
    known_hosts: Path = field(default_factory=lambda: Path.home() / ".ssh" / "known_hosts")
    caddy_admin: Path | None = None
    docker_host: str | None = None
    apply_workers: int = 4
    builds: int = field(default_factory=_half_the_cores)
    disk_budget_bytes: Bytes = 10 * 2**30
    build_cache_bytes: Bytes | None = None
    disk_floor_bytes: Bytes | None = None
    build_memory_bytes: Bytes | None = None
    bases: Bases = "own"
    log_level: str = "info"
    log_format: LogFormat = "console"
    runtime: Path = Path("/run/gitstead")
    failpoint: str = ""
    notify_socket: str = ""

    @property
    def admin_socket(self) -> Path:
        return self.caddy_admin or self.state / "caddy" / "admin.sock"

    @property
    def heartbeat(self) -> Path:
        """Liveness and ages, replaced atomically at each look; named by the state folder."""
        name = hashlib.sha256(str(self.state).encode()).hexdigest()[:12]
        return self.runtime / f"{name}.heartbeat.json"

    @property
    def build_secrets(self) -> Path:
        """Where a build's secrets lie while it runs; on tmpfs, as the heartbeat."""
        return self.heartbeat.with_name(self.heartbeat.name.replace(".heartbeat.json", ".secrets"))

    @property
    def keys(self) -> Path:
        return self.state / "keys"

    def environment(self) -> dict[str, str]:
        """`GITSTEAD_*` variables that make `load_settings` of a child give this very value."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        texts = {name: _as_text(value) for name, value in values.items() if value not in (None, "", ())}
        return {_PREFIX + name.upper(): text for name, text in texts.items()}

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


_PREFIX = "GITSTEAD_"
_FLAT = {
    ("platform", "repo"): "platform_repo",
    ("platform", "branch"): "platform_branch",
    ("platform", "token_file"): "platform_token_file",
    ("platform", "username"): "platform_username",
    ("listen", "host"): "listen_host",
    ("listen", "http_port"): "http_port",
    ("listen", "status_host"): "status_host",
    ("listen", "status_port"): "status_port",
    ("log", "level"): "log_level",
    ("log", "format"): "log_format",
    ("limits", "disk"): "disk_budget_bytes",
    ("limits", "build_cache"): "build_cache_bytes",
    ("limits", "disk_floor"): "disk_floor_bytes",
    ("limits", "build_memory"): "build_memory_bytes",
    ("poll",): "poll_s",
    ("full_look",): "full_look_s",
    ("git_timeout",): "git_timeout_s",
}
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def load_settings(environ: Mapping[str, str], *, host_file: Path | None = None) -> Settings:
    """The host file first, then `GITSTEAD_*` variables (e.g. `GITSTEAD_HTTP_PORT`) over it.

    The host file is `host_file`, else `$GITSTEAD_HOST_FILE`, else /etc/gitstead/host.yaml where it
    is there. Raises HostUnfit naming the file or variable, the value and what was expected.
    """
    named = host_file or (Path(environ["GITSTEAD_HOST_FILE"]) if environ.get("GITSTEAD_HOST_FILE") else None)
    path = named or Path("/etc/gitstead/host.yaml")
    values = _from_file(path) if named or path.is_file() else {}
    values |= _from_environment(environ)
    if environ.get("DOCKER_HOST"):
        values.setdefault("docker_host", environ["DOCKER_HOST"])
    if environ.get("NOTIFY_SOCKET"):
        values.setdefault("notify_socket", environ["NOTIFY_SOCKET"])
    values.setdefault("state", Path("/var/lib/gitstead"))
    return Settings(**values)


def _from_file(path: Path) -> dict[str, Any]:
    """The host file under the same rules and with the same messages as every other YAML of ours."""
    try:
        parsed = parse(str(path), path.read_bytes())
    except OSError as error:
        raise HostUnfit(f"the host file {path} cannot be read: {error.strerror}", remedy="Check its owner") from error
    document = parsed.document
    problems = list(parsed.diagnostics) + (check(document, "host") if document is not None else [])
    if problems or document is None:
        raise HostUnfit("; ".join(str(each) for each in problems), remedy="See schemas/host.schema.json")
    values = document.value if isinstance(document.value, Mapping) else {}
    return {name: _typed(name, value, str(path)) for name, value in _flatten(values).items()}


def _flatten(document: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if (key,) in _FLAT or not isinstance(value, Mapping):
            flat[_FLAT.get((key,), key)] = value
        else:
            flat |= {_FLAT[(key, inner)]: each for inner, each in value.items()}
    return flat


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for each in fields(Settings):
        variable = _PREFIX + each.name.upper()
        if environ.get(variable):
            values[each.name] = _typed(each.name, environ[variable], variable)
    return values


def _typed(name: str, value: Any, where: str) -> Any:
    """The value as the field's type; texts of the environment and YAML values alike."""
    try:
        return _convert(name, value)
    except (ValueError, TypeError) as error:
        raise HostUnfit(
            f"{where}: {name} is {value!r}: {error}", remedy="Correct it; see schemas/host.schema.json"
        ) from error


def _convert(name: str, value: Any) -> Any:
    kind = str(Settings.__dataclass_fields__[name].type)
    if kind.startswith("Path"):
        return Path(str(value)).expanduser()
    if kind == "int":
        return int(value)
    if kind == "Bases" and value not in BASE_NAMES:
        raise ValueError(f"expected one of {', '.join(BASE_NAMES)}")
    if kind.startswith("Bytes"):
        return int(value) if str(value).isdigit() else parse_size(str(value))
    if kind == "float":
        return _seconds(value)
    if kind.startswith("tuple[int"):
        first, last = value.split("-") if isinstance(value, str) else value
        return int(first), int(last)
    if kind.startswith("tuple[str"):
        return tuple(value.split(":") if isinstance(value, str) else value)
    return str(value)


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ("-" if isinstance(value[0], int) else ":").join(str(each) for each in value)
    return str(value)


def _seconds(value: Any) -> float:
    if isinstance(value, int | float):
        return float(value)
    number = str(value).rstrip("msdh")
    return float(number) * _UNITS[str(value)[len(number) :] or "s"]
