"""A build that prints 100,000 lines at once, on real engines as `doctor --fix` sets them up and as they come."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from reconciler.adapters import processes
from reconciler.adapters.image_builder import BuildRequest, ImageBuilder
from reconciler.errors import BuildFailed
from reconciler.history.logs import BuildLogs, LogLine, LogReader, StepRow
from reconciler.host.buildx_setup import version_in
from reconciler.host.engine_setup import log_limits
from tests.engine_support import SecondEngine, modern_engine, new_instance, second_engine, tiny_image

pytestmark = pytest.mark.real

LINES = 100_000
SHORT = "i=0; while [ $i -lt 50000 ]; do printf '%06d\\n' $i; printf '%06d\\n' $i >&2; i=$((i+1)); done"


class Build:
    """Builds on one engine into a log store, as the reconciler does."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder, self._count = url, folder, 0
        self._logs = BuildLogs(folder / "logs.db", create=True)
        self.reader = LogReader(folder / "logs.db")

    def close(self) -> None:
        self.reader.close()
        self._logs.close()

    def run(self, image: str, script: str) -> tuple[list[LogLine], StepRow]:
        """The lines of the step that ran `script`, and the step. Raises BuildFailed."""
        self._count += 1
        context = self._folder / str(self._count)
        context.mkdir()
        (context / "flood.sh").write_text(script)
        (context / "lines").write_text("".join(f"{number:079d}\n" for number in range(LINES)))
        (context / "Dockerfile").write_text(f"FROM {image}\nCOPY . /\nRUN : {new_instance()}; sh /flood.sh\n")
        request = BuildRequest(
            context=context,
            dockerfile=context / "Dockerfile",
            tag=f"flood:{self._count}",
            labels={},
            timeout_s=120.0,
            job_id=new_instance(),
        )
        sink = self._logs.open_log("flood", self._count, now=1.0)
        try:
            ImageBuilder(self._url).build(request, sink)
        finally:
            sink.close()
        return self.last()

    def last(self) -> tuple[list[LogLine], StepRow]:
        [step] = [row for row in self.reader.steps("flood", self._count) if "flood.sh" in row.step.name]
        lines = self.reader.read("flood", self._count, limit=3 * LINES)
        return [line for line in lines if line.step == step.step.name], step

    def is_clipped(self) -> bool:
        info = self.reader.info("flood", self._count)
        assert info is not None
        return info.clipped


def engine_of_this_machine() -> AbstractContextManager[SecondEngine]:
    """As `doctor --fix` sets up the engine that is installed here."""
    program = shutil.which("dockerd")
    version = version_in(processes.run([program, "--version"], timeout_s=10).text) if program else ()
    return second_engine(log_limits(version))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_100_000_short_lines_at_once_are_whole_on_this_machines_engine(folder: Path) -> None:
    """On a busy machine an engine before 23 may lose track of any flood: then its log says so."""
    with engine_of_this_machine() as engine, tiny_image(host=engine.url) as image:
        build = Build(engine.url, folder)
        for _ in range(4):
            lines, step = build.run(image, SHORT)
            if not build.is_clipped():
                break
        expected = [f"{number:06d}" for number in range(LINES // 2)]
        assert [line.text for line in lines if line.stream == "stdout"] == expected
        assert [line.text for line in lines if line.stream == "stderr"] == expected
        assert [line.stream for line in lines if line.stream == "system"] == ["system", "system"]
        assert (step.lines, step.step.outcome) == (LINES + 2, "done")
        assert not build.is_clipped()
        build.close()


def test_100_000_lines_of_80_bytes_at_once_are_whole_on_an_engine_from_23_on(folder: Path) -> None:
    with modern_engine(log_limits((23,))) as engine, tiny_image(host=engine.url) as image:
        build = Build(engine.url, folder)
        lines, step = build.run(image, "cat /lines\n")
        assert [line.text for line in lines if line.stream == "stdout"] == [f"{number:079d}" for number in range(LINES)]
        assert (step.lines, step.step.outcome) == (LINES + 2, "done")
        assert not build.is_clipped()
        build.close()


@pytest.mark.parametrize("start", [second_engine, lambda: modern_engine({})], ids=["this machine's", "from 23 on"])
def test_what_a_stock_engine_leaves_out_is_told_in_its_place_with_the_remedy(
    folder: Path, start: Callable[[], AbstractContextManager[SecondEngine]]
) -> None:
    with start() as engine, tiny_image(host=engine.url) as image:
        build = Build(engine.url, folder)
        lines, step = build.run(image, "cat /lines\n")
        assert step.step.clipped
        assert build.is_clipped()
        [said] = [index for index, line in enumerate(lines) if "doctor --fix" in line.text]
        assert "[output clipped, log limit" in lines[said - 1].text
        assert lines[said].stream == "system"
        with pytest.raises(BuildFailed, match=r'flood.sh" failed: .*exit code 3') as caught:
            build.run(image, "cat /lines; exit 3\n")
        assert "Its log has gaps: gitstead doctor --fix sets" in caught.value.remedy
        build.close()
