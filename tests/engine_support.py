"""A real Docker engine for tests: a tiny image made of this host's own programs, an instance that cleans up
after itself, and a second engine that may be stopped.

Used by the contract and e2e tests. Touches only what carries the labels of the instances that it made, and
only processes that it started.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import signal
import string
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reconciler.adapters.docker_engine import DockerEngine
from reconciler.host.buildx_setup import version_in
from reconciler.host.engine_setup import keeps_track
from reconciler.model import naming
from reconciler.model.naming import Identity
from reconciler.model.operation import Cause, CreateContainer
from reconciler.model.spec import RunSpec
from tests.caddy_support import free_port, short_folder, wait_until
from tests.setup_host import MODERN_ENGINE

# In a new network namespace 127.0.0.1 is down, and published ports are bound there as soon as the engine starts.
_WITH_LOOPBACK = """\
import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x41))  # SIOCSIFFLAGS: up and running
os.execvp(sys.argv[1], sys.argv[1:])
"""
PROGRAMS = ("sh", "sleep", "cat", "yes", "head")
GIT_MOVED = Cause("change", "a test asked for it")


def new_instance() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6))


def docker(*args: str, host: str | None = None, stdin: bytes | None = None, check: bool = True) -> str:
    """What a person would type: the docker client, its output stripped."""
    prefix = ["docker", *(["--host", host] if host else [])]
    done = subprocess.run([*prefix, *args], input=stdin, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0 or not check, f"docker {' '.join(args)}: {done.stderr.decode()}"
    return done.stdout.decode().strip()


def import_tiny_image(name: str, instance: str, *, host: str | None = None) -> str:
    """Give an engine an image of a few MB with `PROGRAMS` of this host, labelled ours; its id."""
    label = f"LABEL {naming.LABEL_INSTANCE}={instance}"
    return docker("import", "--change", label, "--change", "ENV PATH=/bin", "-", name, host=host, stdin=_tiny_tar())


def remove_everything(instance: str, *, host: str | None = None) -> None:
    """Remove every container, network and image that carries this instance's label."""
    ours = f"label={naming.LABEL_INSTANCE}={instance}"
    if containers := docker("ps", "-aq", "--filter", ours, host=host).split():
        docker("rm", "--force", "--volumes", *containers, host=host, check=False)
    if networks := docker("network", "ls", "-q", "--filter", ours, host=host).split():
        docker("network", "rm", *networks, host=host, check=False)
    if images := docker("images", "-q", "--filter", ours, host=host).split():
        docker("rmi", "--force", *sorted(set(images)), host=host, check=False)


@contextmanager
def tiny_image(*, host: str | None = None) -> Iterator[str]:
    """The name of an image with a shell, for as long as the block lasts."""
    instance = new_instance()
    name = f"gs-{instance}-tiny:test"
    import_tiny_image(name, instance, host=host)
    try:
        yield name
    finally:
        remove_everything(instance, host=host)


@contextmanager
def engine_instance(*, host: str | None = None, timeout_s: float = 15.0) -> Iterator[DockerEngine]:
    """An engine adapter of an instance of its own; what it made is removed at the end."""
    engine = DockerEngine(host, instance=new_instance(), timeout_s=timeout_s)
    try:
        yield engine
    finally:
        engine.close()
        remove_everything(engine.instance, host=host)


def wanted_container(
    engine: DockerEngine,
    image: str,
    script: str = "exec sleep 1000",
    *,
    project: str = "blog",
    deployment: int = 1,
    port: int | None = None,
    run: Mapping[str, Any] | None = None,
) -> CreateContainer:
    """A container that runs a shell script, as a plan would ask for it; its network is made first."""
    network = naming.network_name(engine.instance, project)
    engine.create_network(network, project)
    identity = Identity(
        instance=engine.instance,
        project=project,
        process="web",
        index=1,
        deployment=deployment,
        release=1,
        image_id=image,
        content_key="content",
        source_key="source",
        config_digest="config",
        platform_revision="main@0",
        spec_blob="blob",
        source_commit="commit",
        port=port or free_port(),
    )
    command = ("sh", "-c", script)
    return CreateContainer(
        project=project,
        cause=GIT_MOVED,
        identity=identity,
        image=image,
        network=network,
        run=RunSpec(**{"command": command, **(run or {})}),
    )


class SecondEngine:
    """Another dockerd with a data root, socket, network and mount namespace of its own.

    `programs` is a folder whose `usr/sbin` and `usr/bin` are looked into first, `options` are of its command line.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        *,
        programs: Path | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._folder, self._options = folder, tuple(options)
        self._environment = dict(environment or {})
        if programs is not None:
            self._environment["PATH"] = f"{programs}/usr/sbin:{programs}/usr/bin:{os.environ['PATH']}"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{folder}/docker.sock"

    @property
    def pid(self) -> int:
        """Of the engine itself, whose network namespace is that of its published ports."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        argv = ["unshare", "--net", "--mount", sys.executable, "-c", _WITH_LOOPBACK]
        argv += ["dockerd", "--host", self.url]
        argv += ["--data-root", f"{self._folder}/data", "--exec-root", f"{self._folder}/exec"]
        argv += ["--pidfile", f"{self._folder}/pid", "--containerd-namespace", _namespace(self._folder), *self._options]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **self._environment}
            )
        wait_until(self._answers, timeout_s=30, what="the second engine")

    def stop(self) -> None:
        """As the system does it: SIGTERM, then wait."""
        self.signal(signal.SIGTERM)
        assert self._process is not None
        self._process.wait(30)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGCONT)
            self.stop()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
        return bool(docker("version", "--format", "{{.Server.Version}}", host=self.url, check=False))


def _namespace(folder: Path) -> str:
    """A name for containerd, which takes no underscore at the end."""
    return re.sub(r"[^A-Za-z0-9-]", "x", folder.name)


@contextmanager
def second_engine(
    environment: Mapping[str, str] | None = None,
    *,
    programs: Path | None = None,
    options: Sequence[str] = (),
    data_mb: int = 0,
) -> Iterator[SecondEngine]:
    """`data_mb` puts its data root on a filesystem of that size of its own."""
    if os.geteuid() != 0 or not (shutil.which("dockerd") and shutil.which("unshare")):
        pytest.skip("a second engine needs root, dockerd and unshare")
    with short_folder() as folder, _small_filesystem(folder / "data", data_mb):
        engine = SecondEngine(folder, environment, programs=programs, options=options)
        try:
            engine.start()
            yield engine
        finally:
            engine.close()


@contextmanager
def _small_filesystem(folder: Path, size_mb: int) -> Iterator[None]:
    """A filesystem in memory at `folder`, for as long as the block lasts; nothing where the size is 0."""
    if size_mb:
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "gitstead-test", folder], check=True)
    try:
        yield
    finally:
        if size_mb:
            subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def modern_engine(environment: Mapping[str, str]) -> Iterator[SecondEngine]:
    """A second engine from 23 on: what `tests/setup_host.py` unpacked, else this machine's own."""
    unpacked = MODERN_ENGINE if MODERN_ENGINE.exists() else None
    with second_engine(environment, programs=unpacked) as engine:
        version = docker("version", "--format", "{{.Server.Version}}", host=engine.url)
        assert keeps_track(version_in(version)), f"engine {version}: run tests/setup_host.py, which fetches a newer one"
        yield engine


def _tiny_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        added: set[str] = set()
        for name in PROGRAMS:
            program = shutil.which(name)
            assert program, f"this host has no {name}"
            _add(tar, added, f"/bin/{name}", Path(program))
            listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
            for library in re.findall(r"(/\S+) \(0x", listing):
                _add(tar, added, library, Path(library))
        for folder in ("tmp", "dev", "proc", "sys", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, added: set[str], target: str, source: Path) -> None:
    if target in added:
        return
    added.add(target)
    content = source.resolve().read_bytes()
    entry = tarfile.TarInfo(target.lstrip("/"))
    entry.size, entry.mode = len(content), 0o755
    tar.addfile(entry, io.BytesIO(content))
