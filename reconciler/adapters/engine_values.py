"""Turns the engine's JSON into our frozen values, and what we want into the engine's JSON.

Used by `docker_engine` alone; pure, so that every odd answer of an engine can be tested without one.
Must not import docker.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
import struct
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reconciler.model import naming
from reconciler.model.observed import Container, ContainerSettings, ContainerState, Image, Network
from reconciler.model.operation import CreateContainer

Json = Mapping[str, Any]
LogStream = Literal["stdout", "stderr"]

LOG_OPTIONS = {"max-size": "10m", "max-file": "3"}
_NEVER = "0001-01-01"
_SUBNET_BITS = 27
_FRAME_HEAD = struct.Struct(">BxxxL")
_FRAME_LIMIT = 1024 * 1024
_ENDED = re.compile(r"[A-Za-z]+ \(-?\d+\)")


@dataclass(frozen=True)
class Inspected:
    """The part of a container that the engine's list leaves out."""

    memory_bytes: int
    cpus: float
    pids: int
    restart_policy: str
    host_ports: tuple[int, ...]
    exit_code: int
    oom_killed: bool
    restart_count: int
    error: str
    started_at: float
    finished_at: float


# Of a foreign container that runs only its name, its state and its ports matter, and the list has them.
NOT_INSPECTED = Inspected(
    0, 0.0, 0, "no", (), exit_code=0, oom_killed=False, restart_count=0, error="", started_at=0.0, finished_at=0.0
)


def marker_of(listed: Json) -> Hashable:
    """What of a list's row would differ if the container had been touched; no ages."""
    ended = _ENDED.match(listed.get("Status") or "")
    networks, ports = _networks_of(listed), tuple(sorted(_published_now(listed)))
    return (listed.get("State"), tuple(listed.get("Names") or ()), networks, ports, ended and ended[0])


def container_from(listed: Json, inspected: Inspected, instance: str) -> Container:
    """One container out of the list's row and what inspecting it said."""
    state: ContainerState = listed["State"]
    return Container(
        id=listed["Id"],
        name=name_of(listed),
        image_id=listed.get("ImageID") or "",
        state=state,
        created_at=float(listed.get("Created") or 0),
        identity=identity_from(listed.get("Labels"), instance),
        host_ports=tuple(sorted({*inspected.host_ports, *_published_now(listed)})),
        settings=ContainerSettings(
            memory_bytes=inspected.memory_bytes,
            cpus=inspected.cpus,
            pids=inspected.pids,
            restart_policy=inspected.restart_policy,
            networks=_networks_of(listed),
        ),
        exit_code=inspected.exit_code,
        oom_killed=inspected.oom_killed,
        restart_count=inspected.restart_count,
        error=inspected.error,
        started_at=inspected.started_at,
        finished_at=inspected.finished_at,
    )


def inspected_from(raw: Json) -> Inspected:
    host: Json = raw.get("HostConfig") or {}
    state: Json = raw.get("State") or {}
    return Inspected(
        memory_bytes=int(host.get("Memory") or 0),
        cpus=_cpus_of(host),
        pids=max(0, int(host.get("PidsLimit") or 0)),
        restart_policy=_policy_text(host.get("RestartPolicy") or {}),
        host_ports=tuple(sorted(bound_ports(host))),
        exit_code=int(state.get("ExitCode") or 0),
        oom_killed=bool(state.get("OOMKilled")),
        restart_count=int(raw.get("RestartCount") or 0),
        error=str(state.get("Error") or ""),
        started_at=seconds(state.get("StartedAt")),
        finished_at=seconds(state.get("FinishedAt")),
    )


def image_from(listed: Json) -> Image:
    """One image. Labels count only with a name of ours, or with none: who builds upon our image inherits them."""
    labels: Json = listed.get("Labels") or {}
    names = tuple(name for name in listed.get("RepoTags") or () if name != "<none>:<none>")
    instance = labels.get(naming.LABEL_INSTANCE, "")
    if names and not any(is_our_image_name(name, instance) for name in names):
        labels = {}
    return Image(
        id=listed["Id"],
        names=names,
        instance=labels.get(naming.LABEL_INSTANCE, ""),
        project=labels.get(naming.LABEL_PROJECT, ""),
        content_key=labels.get(naming.LABEL_CONTENT, ""),
        created_at=float(listed.get("Created") or 0),
        parent_id=listed.get("ParentId") or "",
    )


def is_our_image_name(name: str, instance: str) -> bool:
    """Whether a `repository:tag` is of the form that this instance gives."""
    return bool(instance) and name.startswith(f"gs-{instance}-")


def network_from(listed: Json) -> Network:
    labels: Json = listed.get("Labels") or {}
    return Network(
        id=listed["Id"],
        name=listed["Name"],
        instance=labels.get(naming.LABEL_INSTANCE, ""),
        project=labels.get(naming.LABEL_PROJECT, ""),
    )


def identity_from(labels: Mapping[str, str] | None, instance: str) -> naming.Identity | None:
    """Who a container is, None where it is not this instance's."""
    identity = naming.identity_of(labels or {})
    return identity if identity is not None and identity.instance == instance else None


def name_of(listed: Json) -> str:
    """The container's own name; names with a second slash are links of other containers."""
    own = (name[1:] for name in listed.get("Names") or () if name.count("/") == 1)
    return next(own, "")


def bound_ports(host_config: Json) -> Iterator[int]:
    """TCP ports of this host that the container takes when it runs; an engine-chosen one is unknown until then."""
    for inside, bindings in (host_config.get("PortBindings") or {}).items():
        if inside.endswith("/udp"):
            continue
        for binding in bindings or ():
            first, _, last = str(binding.get("HostPort") or "").partition("-")
            if first.isdigit():
                yield from range(int(first), int(last if last.isdigit() else first) + 1)


def seconds(timestamp: str | None) -> float:
    """Unix seconds of an RFC 3339 time with nanoseconds; 0 for Go's "never" and for what cannot be read."""
    if not timestamp or timestamp.startswith(_NEVER):
        return 0.0
    try:
        return datetime.datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return 0.0


def policy_json(policy: str) -> dict[str, Any]:
    """`on-failure:3` as the engine writes it."""
    name, _, count = policy.partition(":")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def container_config(wanted: CreateContainer, secrets: Mapping[str, str]) -> dict[str, Any]:
    """The body that creates a container: hardened, bounded, published on 127.0.0.1 alone."""
    identity, run = wanted.identity, wanted.run
    inside = f"{run.port}/tcp"
    environment = {**run.env, **secrets, "PORT": str(run.port)}
    config: dict[str, Any] = {
        "Hostname": identity.project,
        "Image": wanted.image,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": identity.labels(),
        "ExposedPorts": {inside: {}},
        "HostConfig": {
            "NetworkMode": wanted.network,
            "PortBindings": {inside: [{"HostIp": "127.0.0.1", "HostPort": str(identity.port)}]},
            "RestartPolicy": policy_json(wanted.restart_policy),
            "Init": True,
            "Memory": run.memory_bytes,
            "MemorySwap": run.memory_bytes,
            "NanoCpus": round(run.cpus * 1e9),
            "PidsLimit": run.pids,
            "SecurityOpt": ["no-new-privileges:true"],
            "CapDrop": ["ALL"],
            "CapAdd": list(run.capabilities),
            "LogConfig": {"Type": "json-file", "Config": LOG_OPTIONS},
        },
        "NetworkingConfig": {"EndpointsConfig": {wanted.network: {"Aliases": [identity.project]}}},
    }
    if run.command:
        config["Cmd"] = list(run.command)
    return config


def free_subnets(pool: str, used: Iterable[str], *, seed: int) -> Iterator[str]:
    """The /27s of `pool` that overlap with none of `used`, beginning somewhere that depends on `seed`.

    Instances that share an engine begin in different places, so that they rarely want the same one.
    """
    network = ipaddress.IPv4Network(pool)
    taken = [each for each in map(_ipv4, used) if each is not None and each.overlaps(network)]
    count = 1 << max(0, _SUBNET_BITS - network.prefixlen)
    size = 1 << (32 - _SUBNET_BITS)
    for step in range(count):
        base = int(network.network_address) + ((seed + step) % count) * size
        subnet = ipaddress.IPv4Network((base, _SUBNET_BITS))
        if not any(subnet.overlaps(each) for each in taken):
            yield str(subnet)


def ipam_json(subnet: str) -> dict[str, Any]:
    """How a network with exactly this subnet is asked for."""
    return {"Driver": "default", "Config": [{"Subnet": subnet}]}


def subnets_of(network: Json) -> Iterator[str]:
    """The subnets that a network of the engine's list takes."""
    for config in (network.get("IPAM") or {}).get("Config") or ():
        if config.get("Subnet"):
            yield config["Subnet"]


def log_messages(chunks: Iterable[bytes]) -> Iterator[tuple[LogStream, float, bytes]]:
    """Decode the engine's log stream with timestamps: frames of kind, size and one message each.

    The part of a message beyond 1 MiB is dropped, and so is a frame that the end of the stream cuts.
    """
    buffer, skip = bytearray(), 0
    for chunk in chunks:
        buffer += chunk
        while True:
            skipped = min(skip, len(buffer))
            del buffer[:skipped]
            skip -= skipped
            if skip or len(buffer) < _FRAME_HEAD.size:
                break
            kind, size = _FRAME_HEAD.unpack_from(buffer)
            kept = min(size, _FRAME_LIMIT)
            if len(buffer) < _FRAME_HEAD.size + kept:
                break
            stamp, _, data = bytes(buffer[_FRAME_HEAD.size : _FRAME_HEAD.size + kept]).partition(b" ")
            del buffer[: _FRAME_HEAD.size + kept]
            skip = size - kept
            yield ("stderr" if kind == 2 else "stdout", seconds(stamp.decode("ascii", "replace")), data)


def _ipv4(text: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return None


def _networks_of(listed: Json) -> tuple[str, ...]:
    return tuple(sorted((listed.get("NetworkSettings") or {}).get("Networks") or ()))


def _published_now(listed: Json) -> set[int]:
    ports = listed.get("Ports") or ()
    return {int(port["PublicPort"]) for port in ports if port.get("PublicPort") and port.get("Type") != "udp"}


def _cpus_of(host: Json) -> float:
    if host.get("NanoCpus"):
        return float(host["NanoCpus"]) / 1e9
    if (host.get("CpuQuota") or 0) > 0:
        return float(host["CpuQuota"]) / float(host.get("CpuPeriod") or 100_000)
    return 0.0


def _policy_text(policy: Json) -> str:
    name, count = policy.get("Name") or "no", policy.get("MaximumRetryCount") or 0
    return f"{name}:{count}" if count else str(name)
