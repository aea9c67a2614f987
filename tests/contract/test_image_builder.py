"""The builder against a real engine: images with our labels, every line, the reason of a failure, prompt ends."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.adapters import build_orphans, process_marks
from reconciler.adapters.bounds import Cancellation
from reconciler.adapters.image_builder import BuildRequest, ImageBuilder
from reconciler.errors import BuildFailed, BuildHindered, EngineUnavailable, ProgramTimedOut
from reconciler.model import naming
from reconciler.model.effects import BuildStep, Stream
from tests.caddy_support import short_folder, wait_until
from tests.engine_support import docker, new_instance, remove_everything, second_engine, tiny_image

pytestmark = pytest.mark.real


class Lines:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[Stream, str, float, str]] = []
        self.steps: dict[str, BuildStep] = {}

    def write(self, stream: Stream, text: str, *, at: float, step: str = "") -> None:
        self.lines.append((stream, text, at, step))

    def step(self, step: BuildStep) -> None:
        self.steps[step.name] = step

    def close(self) -> None:
        raise AssertionError("whoever opened the sink closes it")

    def texts(self, stream: Stream) -> list[str]:
        return [text for each, text, _, _ in self.lines if each == stream]


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with tiny_image() as name:
        yield name


@pytest.fixture
def instance() -> Iterator[str]:
    instance = new_instance()
    yield instance
    remove_everything(instance)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "context").mkdir()
    return tmp_path / "context"


def request(context: Path, instance: str, dockerfile: str, **more: Any) -> BuildRequest:
    (context / "Dockerfile").write_text(dockerfile)
    values = {"timeout_s": 60.0, "job_id": f"{instance}/blog/d1", **more}
    return BuildRequest(
        context=context,
        dockerfile=context / "Dockerfile",
        tag=f"gs-{instance}-blog:1",
        labels={
            naming.LABEL_INSTANCE: instance,
            naming.LABEL_PROJECT: "blog",
            naming.LABEL_CONTENT: "0123",
        },
        **values,
    )


def nonce() -> str:
    """Makes a step that no cache knows."""
    return f"{new_instance()}{new_instance()}"


def processes_with(text: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in command:
                found.append(int(folder.name))
    return found


def test_an_image_comes_with_our_labels_its_name_and_its_content(instance: str, context: Path) -> None:
    (context / "hello.txt").write_text("hello")
    sink, told = Lines(), []
    builder = ImageBuilder(None, on_built=lambda: told.append(True))
    image_id = builder.build(request(context, instance, "FROM scratch\nCOPY hello.txt /\n"), sink).image_id
    raw = json.loads(docker("image", "inspect", f"gs-{instance}-blog:1"))[0]
    assert raw["Id"] == image_id
    assert raw["Config"]["Labels"] == {
        naming.LABEL_INSTANCE: instance,
        naming.LABEL_PROJECT: "blog",
        naming.LABEL_CONTENT: "0123",
    }
    assert told == [True]
    assert any("COPY hello.txt" in text for text in sink.texts("system"))


def test_a_cache_mount_is_the_namespaces_own_whatever_a_dockerfile_or_argument_says(
    instance: str, context: Path, image: str
) -> None:
    mount = f"RUN --mount=type=cache,id=gitstead-pip-{instance},target=/kept"
    builder = ImageBuilder(None)

    def kept(namespace: str, *, args: dict[str, str] | None = None) -> list[str]:
        sink, script = Lines(), f"FROM {image}\n{mount} echo {nonce()}; cat /kept/* || true; echo mine > /kept/it\n"
        builder.build(request(context, instance, script, cache_namespace=namespace, build_args=args or {}), sink)
        return sink.texts("stdout")[1:]

    assert [kept(f"{instance}/blog"), kept(f"{instance}/blog")] == [[], ["mine"]]
    args = {"BUILDKIT_CACHE_MOUNT_NS": f"{instance}/blog"}
    assert kept(f"{instance}/hostile", args=args) == []


def test_the_same_input_gives_the_same_image_out_of_the_cache(instance: str, context: Path, image: str) -> None:
    first, second = Lines(), Lines()
    wanted = request(context, instance, f"FROM {image}\nWORKDIR /tmp\nRUN echo {nonce()}\n")
    builder = ImageBuilder(None)
    made, found = builder.build(wanted, first), builder.build(wanted, second)
    assert made.image_id == found.image_id
    assert (made.steps, found.steps, found.cached) == (2, 2, 2)
    assert made.cached < 2
    assert len(first.texts("stdout")) == 1
    assert second.texts("stdout") == []
    assert "CACHED" in second.texts("system")
    [ran] = [step for step in first.steps.values() if "RUN echo" in step.name]
    assert (ran.outcome, ran.clipped) == ("done", False)
    assert 0 < ran.started_at <= ran.ended_at
    assert [step.outcome for step in second.steps.values() if "RUN echo" in step.name] == ["cached"]


def test_build_secrets_reach_their_step_and_nothing_else(
    instance: str, context: Path, image: str, tmp_path: Path
) -> None:
    values = {"npm-token.1": f"a b\n{nonce()}\n", "DB": nonce(), "unused": nonce()}
    folder, seen, sink = tmp_path / 'with,comma and "quotes"', [], Lines()
    dockerfile = (
        f"FROM {image}\nRUN echo {nonce()}\n"
        "RUN --mount=type=secret,id=npm-token.1 --mount=type=secret,id=DB"
        " cat /run/secrets/npm-token.1 /run/secrets/DB && echo && ls /run/secrets; sleep 0.5\n"
    )
    watching = threading.Event()

    def watch() -> None:
        while not watching.wait(0.02):
            seen.extend(path.stat().st_mode & 0o777 for path in folder.glob("*/*"))
            assert not any(processes_with(value.strip()) for value in values.values())

    watcher = threading.Thread(target=watch)
    watcher.start()
    builder = ImageBuilder(None, secrets_folder=folder)
    builder.build(request(context, instance, dockerfile, secrets=values), sink)
    watching.set()
    watcher.join()
    out = "\n".join(sink.texts("stdout"))
    assert f"{values['npm-token.1']}{values['DB']}" in out
    assert "unused" not in out
    assert set(seen) == {0o600}
    assert list(folder.iterdir()) == []
    name = f"gs-{instance}-blog:1"
    told = docker("history", "--no-trunc", name) + docker("image", "inspect", name)
    assert not any(value.strip() in told for value in values.values())
    assert repr(values["DB"]) not in repr(request(context, instance, dockerfile, secrets=values))


def test_what_a_killed_build_left_of_its_secrets_is_swept(tmp_path: Path, instance: str) -> None:
    (tmp_path / "secrets" / "tmpabc").mkdir(parents=True)
    (tmp_path / "secrets" / "tmpabc" / "0").write_text("hunter22")
    builder = ImageBuilder(None, secrets_folder=tmp_path / "secrets")
    builder.sweep(instance)
    builder.sweep(instance)
    assert not (tmp_path / "secrets").exists()


def test_every_line_has_its_stream_step_and_time(instance: str, context: Path, image: str) -> None:
    began, sink = time.time(), Lines()
    script = (
        f"FROM {image}\nARG WHO\nRUN echo out $WHO {nonce()}; echo err >&2; echo a; sleep 0.3; printf 'no newline'\n"
    )
    ImageBuilder(None).build(request(context, instance, script, build_args={"WHO": "me"}), sink)
    said = [line for line in sink.lines if line[0] != "system"]
    assert {(stream, text.split(" ")[0]) for stream, text, _, _ in said} == {
        ("stdout", "out"),
        ("stderr", "err"),
        ("stdout", "a"),
        ("stdout", "no"),
    }
    assert all(step.startswith("[2/2] RUN echo out") for _, _, _, step in said)
    assert all(began - 1 < at < time.time() + 1 for _, _, at, _ in sink.lines)


@pytest.mark.parametrize(
    ("steps", "reason", "hint"),
    [
        ("RUN echo oops; exit 3", r'build step 2/2 ".*exit 3" failed: oops \(exit code 3\)', ""),
        ("RUN nosuchprogram", 'program "nosuchprogram" is not in the image', "earlier step"),
        ("RUN sh -c 'kill -9 $$'", "killed, most likely for lack of memory", "more memory"),
        (
            "COPY nope.txt /",
            'build step 2/2 "COPY nope.txt /" failed: file "nope.txt" is not in the source',
            ".dockerignore",
        ),
        ("COPPY a b", "Dockerfile line 2: unknown instruction: COPPY", "Correct that line"),
        (
            "RUN echo 'ERROR: No matching distribution found for flsk' >&2; exit 1",
            'no version of "flsk" found',
            "requirements",
        ),
    ],
)
def test_a_failure_names_the_step_the_reason_and_what_to_do(
    instance: str, context: Path, image: str, steps: str, reason: str, hint: str
) -> None:
    with pytest.raises(BuildFailed, match=reason) as caught:
        ImageBuilder(None).build(request(context, instance, f"FROM {image}\n{steps}\n"), Lines())
    assert hint in caught.value.remedy
    assert docker("images", "-q", f"gs-{instance}-blog") == ""


def test_a_base_image_that_nobody_has_is_named(instance: str, context: Path) -> None:
    """Row 28."""
    with pytest.raises((BuildFailed, BuildHindered), match=rf'base image "gs-{instance}-none:0" could not be read'):
        ImageBuilder(None).build(request(context, instance, f"FROM gs-{instance}-none:0\n"), Lines())


def test_a_build_ends_at_its_deadline_with_all_that_it_started(instance: str, context: Path, image: str) -> None:
    """Row 21: total deadline, container gone within 2 s, the log up to then is kept."""
    mark, sink = nonce(), Lines()
    wanted = request(context, instance, f"FROM {image}\nRUN echo {mark}; sleep 300; : {mark}\n", timeout_s=3.0)
    with pytest.raises(ProgramTimedOut, match=r"ended after 3 s in build step 2/2"):
        ImageBuilder(None).build(wanted, sink)
    wait_until(lambda: not processes_with(mark), timeout_s=2, what="the end of the build's container")
    assert mark in sink.texts("stdout")


def test_cancelling_ends_exactly_that_build(instance: str, context: Path, image: str, tmp_path: Path) -> None:
    """Row 26."""
    ours, other = nonce(), nonce()
    (tmp_path / "other").mkdir()
    neighbour = request(
        tmp_path / "other", instance, f"FROM {image}\nRUN sleep 4; : {other}\n", job_id=f"{instance}/other/d1"
    )
    neighbour_ids: list[str] = []
    beside = threading.Thread(
        target=lambda: neighbour_ids.append(ImageBuilder(None).build(neighbour, Lines()).image_id)
    )
    beside.start()
    cancellation, errors = Cancellation(), []

    def build() -> None:
        wanted = request(context, instance, f"FROM {image}\nRUN sleep 300; : {ours}\n")
        try:
            ImageBuilder(None).build(wanted, Lines(), cancellation=cancellation)
        except BuildFailed as error:
            errors.append(error)

    building = threading.Thread(target=build)
    building.start()
    wait_until(lambda: bool(processes_with(ours)) and bool(processes_with(other)), timeout_s=20)
    cancellation.cancel()
    building.join(2)
    assert not building.is_alive()
    assert "was cancelled" in str(errors[0])
    wait_until(lambda: not processes_with(ours), timeout_s=2, what="the end of the cancelled build's container")
    assert processes_with(other)
    beside.join(20)
    assert len(neighbour_ids) == 1


def test_children_of_a_build_are_found_by_their_job_after_a_kill(instance: str, context: Path, image: str) -> None:
    """Invariant 4: nothing stays building without a builder."""
    mark, errors = nonce(), []

    def build() -> None:
        try:
            ImageBuilder(None).build(request(context, instance, f"FROM {image}\nRUN sleep 300; : {mark}\n"), Lines())
        except BuildFailed as error:
            errors.append(error)

    building = threading.Thread(target=build)
    building.start()
    wait_until(lambda: bool(processes_with(mark)), timeout_s=20)
    assert f"{instance}/blog/d1" in process_marks.marked_pids().values()
    assert process_marks.end_marked(f"{instance}/blog/d1") >= 1
    wait_until(lambda: not processes_with(mark), timeout_s=2)
    building.join(5)
    assert len(errors) == 1


def test_an_engine_that_is_not_there_is_unavailable_and_not_the_sources_fault(instance: str, context: Path) -> None:
    with short_folder() as folder, pytest.raises(EngineUnavailable, match="Docker went away"):
        ImageBuilder(f"unix://{folder}/none.sock").build(request(context, instance, "FROM scratch\n"), Lines())


def test_an_engine_that_stops_in_mid_build_is_unavailable(instance: str, context: Path) -> None:
    """Row 27."""
    with second_engine() as second, tiny_image(host=second.url) as image:
        mark, errors = nonce(), []

        def build() -> None:
            wanted = request(context, instance, f"FROM {image}\nRUN sleep 300; : {mark}\n")
            try:
                ImageBuilder(second.url).build(wanted, Lines())
            except EngineUnavailable as error:
                errors.append(error)

        building = threading.Thread(target=build)
        building.start()
        wait_until(lambda: bool(processes_with(mark)), timeout_s=20)
        second.stop()
        building.join(20)
        assert len(errors) == 1
        second.start()
        ImageBuilder(second.url).build(request(context, instance, f"FROM {image}\nRUN : again\n"), Lines())
        ImageBuilder(second.url).sweep(instance)
        wait_until(lambda: not processes_with(mark), timeout_s=2, what="the end of what the engine left behind")


def test_a_step_that_an_engine_left_behind_is_ended_and_one_of_a_running_engine_is_not(
    instance: str, context: Path, image: str
) -> None:
    """By the mark of its job, and only if it is older than the engine that answers now."""
    mark, cancellation, errors = nonce(), Cancellation(), []

    def build() -> None:
        wanted = request(context, instance, f"FROM {image}\nRUN echo hosts $NO_PROXY; sleep 300; : {mark}\n")
        try:
            ImageBuilder(None).build(wanted, Lines(), cancellation=cancellation)
        except BuildFailed as error:
            errors.append(error)

    building = threading.Thread(target=build)
    building.start()
    wait_until(lambda: bool(processes_with(mark)), timeout_s=20)
    assert build_orphans.end_orphans(f"{instance}/", "unix:///var/run/docker.sock") == 0
    assert build_orphans.end_orphans("another/", "unix:///nowhere.sock") == 0
    assert build_orphans.end_orphans(f"{instance}/blog/d1", "tcp://127.0.0.1:1") == 0
    assert processes_with(mark)
    assert build_orphans.end_orphans(f"{instance}/blog/d1", "unix:///nowhere.sock") >= 1, "no engine is there"
    wait_until(lambda: not processes_with(mark), timeout_s=2)
    building.join(10)
    assert len(errors) == 1


def test_output_beyond_the_engines_limit_is_marked_as_clipped(instance: str, context: Path) -> None:
    with second_engine() as second, tiny_image(host=second.url) as image:
        sink = Lines()
        ImageBuilder(second.url).build(
            request(context, instance, f"FROM {image}\nRUN yes {nonce()} | head -n 100000\n"), sink
        )
        assert any("[output clipped, log limit" in text for text in [*sink.texts("stdout"), *sink.texts("stderr")])


def test_a_flood_of_output_fails_no_build(instance: str, context: Path) -> None:
    """An engine with high log limits stops reporting in a flood; the build is asked for once more."""
    limits = {"BUILDKIT_STEP_LOG_MAX_SIZE": "10000000", "BUILDKIT_STEP_LOG_MAX_SPEED": "10000000"}
    with second_engine(limits) as second, tiny_image(host=second.url) as image:
        (context / "lines").write_text("".join(f"{number:079d}\n" for number in range(100_000)))
        flood, another = (f"COPY lines /\nRUN : {nonce()}; cat /lines\n" for _ in range(2))
        sink = Lines()
        builder = ImageBuilder(second.url)
        assert builder.build(request(context, instance, f"FROM {image}\n{flood}RUN echo after\n"), sink)
        assert len(sink.texts("stdout")) > 5_000
        assert any("output is missing here" in text for text in sink.texts("system"))
        assert [step.clipped for name, step in sink.steps.items() if "cat" in name] == [True]
        assert {step.outcome for step in sink.steps.values()} <= {"done", "cached"}
        with pytest.raises(BuildFailed, match=r'build step 4/4 ".*exit 7" failed: reason \(exit code 7\)') as caught:
            builder.build(request(context, instance, f"FROM {image}\n{another}RUN echo reason; exit 7\n"), Lines())
        assert "Its log has gaps" in caught.value.remedy


def test_proxies_of_the_host_reach_the_steps_and_stay_out_of_argv_and_image(
    instance: str, context: Path, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 6: a proxy's address may hold a password."""
    monkeypatch.setenv("http_proxy", "http://user:s3cret@proxy.invalid:3128")
    sink, seen = Lines(), []
    cancellation = Cancellation()
    mark = nonce()
    wanted = request(context, instance, f"FROM {image}\nRUN echo got $http_proxy {mark}; sleep 1\n")
    building = threading.Thread(
        target=lambda: seen.append(ImageBuilder(None).build(wanted, sink, cancellation=cancellation).image_id)
    )
    building.start()
    wait_until(lambda: bool(processes_with(mark)), timeout_s=20)
    argvs = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes_with(f"gs-{instance}-blog:1")]
    building.join(20)
    assert argvs
    assert not any(b"s3cret" in argv for argv in argvs)
    assert any("got http://user:s3cret@proxy.invalid:3128" in text for text in sink.texts("stdout"))
    assert "s3cret" not in docker("image", "inspect", seen[0])
