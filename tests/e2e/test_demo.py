"""`gitstead demo` as a new user runs it: a process of its own, real Docker, Caddy and git, without a terminal."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.demo.folder import demo_folder, open_folder
from reconciler.demo.repositories import commit_and_push, make_repositories
from tests.platform_support import docker, free_ports, remove_instance, wait_for

ROOT = Path(__file__).resolve().parents[2]
READY = "Try, in another terminal:"
START_S = 120.0


@dataclass
class RunningDemo:
    """One demo in a folder of its own; `start` runs it, `output` is all that it has said since."""

    parent: Path
    ports: list[int]
    process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        return self.parent / "demo"

    @property
    def instance(self) -> str:
        return (self.folder / "state" / "instance").read_text().strip()

    def environment(self) -> dict[str, str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("GITSTEAD_", "GIT_"))}
        return env | {
            "GITSTEAD_HTTP_PORT": str(self.ports[0]),
            "GITSTEAD_STATUS_PORT": str(self.ports[1]),
            "GITSTEAD_PORTS": f"{self.ports[12]}-{self.ports[-1]}",
            "PYTHONPATH": str(ROOT),
            # A user's own configuration that would spoil every commit.
            "HOME": str(self.parent / "home"),
        }

    def start(self, *words: str) -> None:
        with (self.parent / "out").open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reconciler", "demo", *words],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.parent,
            )

    def output(self) -> str:
        return (self.parent / "out").read_text()

    def wait_ready(self) -> None:
        with contextlib.suppress(AssertionError):
            wait_for(lambda: READY in self.output() or self.ended(), "the demo is ready", timeout_s=START_S)
        assert READY in self.output(), self.output()

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def finish(self, *words: str) -> int:
        """Run to the end; the exit status."""
        self.start(*words)
        assert self.process is not None
        return self.process.wait(timeout=START_S)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def script(self, name: str, *words: str) -> str:
        """Run a line of the welcome, as it is printed."""
        done = subprocess.run(
            [f"./demo/{name}", *words], env=self.environment(), cwd=self.parent, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def get(self, name: str) -> tuple[int, str]:
        port = int(re.findall(rf"http://{name}\.localhost:(\d+)", self.output())[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/", headers={"Host": f"{name}.localhost"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()

    def containers(self) -> set[str]:
        mine = f"label=gitstead.instance={self.instance}"
        return set(docker("ps", "--no-trunc", "--quiet", "--filter", mine).split())

    def remove(self) -> None:
        if self.process is not None and not self.ended():
            self.stop()
        with contextlib.suppress(FileNotFoundError):
            instance = self.instance
            self.finish("--reset")
            remove_instance(instance)
        shutil.rmtree(self.parent)


@pytest.fixture
def demo() -> Iterator[RunningDemo]:
    """Not started yet, in a folder with a short path, with a user's Git configuration that must not matter."""
    parent = Path(tempfile.mkdtemp(prefix="gs-"))
    (parent / "home").mkdir()
    (parent / "home" / ".gitconfig").write_text(
        "[commit]\n\tgpgSign = true\n[gpg]\n\tprogram = /bin/false\n"
        "[init]\n\tdefaultBranch = trunk\n[core]\n\thooksPath = /nonexistent\n\tautocrlf = true\n"
    )
    made = RunningDemo(parent, free_ports(52))  # the first ten for listeners and those that replace them
    try:
        yield made
    finally:
        made.remove()


def everything_of(instance: str) -> str:
    """What carries the instance's label on the engine."""
    mine = f"label=gitstead.instance={instance}"
    return "".join(
        docker(*words, "--quiet", "--filter", mine) for words in (["ps", "-a"], ["network", "ls"], ["images"])
    )


def test_once_ends_with_0_when_every_app_answered_and_leaves_nothing(demo: RunningDemo) -> None:
    demo.start("--once")
    instance = wait_for(lambda: demo.instance if (demo.folder / "state" / "instance").exists() else "", "an instance")
    assert demo.process is not None
    assert demo.process.wait(timeout=START_S) == 0, demo.output()
    text = demo.output()
    for name in ("hello", "guest", "clock"):
        assert re.search(rf"^  {name} +Healthy: r1 ", text, re.MULTILINE), text
    assert "All apps and the status page answered" in text
    assert "\x1b" not in text
    assert "\r" not in text
    assert everything_of(instance) == ""
    assert not demo.folder.exists()


def test_once_ends_with_1_and_the_reason_where_an_app_does_not_come_up(demo: RunningDemo) -> None:
    folder = demo_folder(demo.folder)
    open_folder(folder, throwaway=True)
    make_repositories(folder)
    (folder.clone("guest") / "app.py").write_text("import nothing_of_that_name\n")
    commit_and_push(folder, "guest", "app.py", "Break it")
    (folder.clone("clock") / "Dockerfile").write_text('FROM gitstead/base-python\nRUN ["python3", "-c", "1/0"]\n')
    commit_and_push(folder, "clock", "Dockerfile", "Break it, too")
    assert demo.finish("--once", "--deadline", "15") == 1
    text = demo.output()
    assert "clock did not come up: d1" in text
    assert "ZeroDivisionError" in text
    assert "guest did not come up: " in text
    assert re.search(r"^Failed: .*clock.* did not answer", text, re.MULTILINE)
    assert not demo.folder.exists()


def test_a_push_a_bad_spec_and_a_kill_end_as_the_welcome_says(demo: RunningDemo) -> None:
    demo.start()
    demo.wait_ready()
    kill = re.findall(r"docker kill (\S+)", demo.output())[0]
    assert "http://hello.localhost" in demo.script("change-hello")
    wait_for(lambda: "<h1>Bonjour</h1>" in demo.get("hello")[1], "the change is live")
    demo.script("break-guest")
    wait_for(lambda: "guest   Degraded: projects/guest.yaml:" in demo.output(), "the bad spec is told")
    assert demo.get("guest")[0] == 200
    assert "guest" in demo.script("gitstead", "status")
    assert "good again" in demo.script("break-guest", "--undo")
    wait_for(lambda: demo.output().rstrip().rpartition("\n")[2].startswith("  guest   Healthy"), "it is mended")
    assert "nothing to undo" in demo.script("break-guest", "--undo")
    docker("kill", kill)
    wait_for(lambda: "clock   drift: " in demo.output(), "the kill is told")
    wait_for(lambda: demo.get("clock")[0] == 200, "clock is back")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stop_and_start_again_keeps_the_apps(demo: RunningDemo, number: signal.Signals) -> None:
    demo.start()
    demo.wait_ready()
    demo.script("change-hello")
    wait_for(lambda: "<h1>Bonjour</h1>" in demo.get("hello")[1], "the change is live")
    wait_for(lambda: "hello   Healthy: r2" in demo.output(), "it is told")
    before, instance, address = demo.containers(), demo.instance, re.findall(r"http://hello\S+", demo.output())
    status = demo.stop(number)
    if number is not signal.SIGKILL:
        assert status == 0
        assert "everything is kept" in demo.output()
    assert demo.containers() == before
    demo.start()
    demo.wait_ready()
    assert demo.instance == instance
    assert demo.containers() == before
    assert re.findall(r"http://hello\S+", demo.output()) == address
    assert "<h1>Bonjour</h1>" in demo.get("hello")[1]


def test_a_taken_port_is_replaced_by_the_next_free_one_and_said(demo: RunningDemo) -> None:
    with contextlib.ExitStack() as held:
        for port in demo.ports[:2]:
            listener = held.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen()
        demo.start()
        demo.wait_ready()
    text = demo.output()
    for port, what in zip(demo.ports[:2], ("the apps answer", "the status page is"), strict=True):
        said = re.search(rf"Port {port} is taken by \S+: {what} on (\d+) instead", text)
        assert said, text
        assert int(said[1]) > port
        assert f"localhost:{said[1]}" in text.partition("Gitstead is running")[2]
    assert demo.get("hello")[0] == 200


def test_a_second_start_while_it_runs_is_refused_and_disturbs_nothing(demo: RunningDemo) -> None:
    demo.start()
    demo.wait_ready()
    host_file = (demo.folder / "host.yaml").read_bytes()
    for words in ([], ["--once"], ["--reset"]):
        second = subprocess.run(
            [sys.executable, "-m", "reconciler", "demo", *words],
            env=demo.environment(),
            cwd=demo.parent,
            capture_output=True,
            text=True,
        )
        assert second.returncode == 1
        assert "runs already" in second.stderr
    assert (demo.folder / "host.yaml").read_bytes() == host_file
    assert demo.get("hello")[0] == 200


def test_reset_removes_exactly_what_the_demo_made(demo: RunningDemo) -> None:
    """Invariant 5: a container that looks alike, one that was run from an image of the demo, and a file stay."""
    demo.start()
    demo.wait_ready()
    instance, image = demo.instance, docker("images", "--quiet", "--filter", f"label=gitstead.instance={demo.instance}")
    other = f"x{instance[1:]}" if instance[0] != "x" else f"y{instance[1:]}"
    alike = ["--label", f"gitstead.instance={other}", "--label", "gitstead.project=clock"]
    docker("create", "--name", f"gs-{other}-clock-d1-web-1", *alike, "gitstead/base-static")
    docker("create", "--name", f"mine-{instance}", image.split()[0])
    try:
        demo.stop()
        (demo.folder / "notes.txt").write_text("mine")
        assert demo.finish("--reset") == 0
        text = demo.output()
        assert f"Removed container gs-{instance}-clock-d1-web-1" in text
        assert f"Removed network gs-{instance}-hello" in text
        assert f"Removed image gs-{instance}-" in text
        left = docker("ps", "--all", "--format", "{{.Names}}").split()
        assert {f"gs-{other}-clock-d1-web-1", f"mine-{instance}"} <= set(left)
        assert not [name for name in left if name.startswith(f"gs-{instance}-")]
        assert not docker("network", "ls", "--quiet", "--filter", f"label=gitstead.instance={instance}")
        assert sorted(each.name for each in demo.folder.iterdir()) == [".gitstead-demo", "notes.txt"]
    finally:
        docker("rm", "--force", f"gs-{other}-clock-d1-web-1", f"mine-{instance}")
        remove_instance(instance)


def test_reset_refuses_a_folder_that_is_no_demo(demo: RunningDemo) -> None:
    demo.folder.mkdir()
    (demo.folder / "thesis.txt").write_text("three years")
    assert demo.finish("--reset") == 1
    assert "is no demo of Gitstead" in demo.output()
    assert demo.finish("--once") == 1
    assert "holds thesis.txt" in demo.output()
    assert (demo.folder / "thesis.txt").read_text() == "three years"
