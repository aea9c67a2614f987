"""A build log of a million lines: taking it, its size, the memory it needs, a page in its middle.

Called by `__main__` and, for its lines, by the test of the same. The baseline appends the same lines, with time,
stream and step, to a plain file: one write each, since a log is read while it is written.
"""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Report, in_turn, timed
from reconciler.history.logs import BuildLogs, LogReader
from reconciler.masking import Masker
from reconciler.model.effects import BuildStep

LINES = 1_000_000
_STEP = "[4/7] RUN make -j4"
_PAGE = 1000
_LOOKS = 31
_MEMORY_EACH = 20_000
_KINDS = (
    "Collecting package-{n}==1.{a}.{b}",
    "  Downloading package_{n}-1.{a}.{b}-py3-none-any.whl ({a} kB)",
    "gcc -O2 -Wall -c src/module_{n}.c -o build/module_{n}.o",
    "[{n}/1000000] Building CXX object src/CMakeFiles/app.dir/{a}.cpp.o",
    "npm http fetch GET 200 https://registry.example/package-{n} {a}ms",
    "   Compiling crate-{n} v0.{a}.{b}",
)


def lines(count: int) -> Iterator[str]:
    """As builds print them: alike, but no two the same."""
    for number in range(count):
        yield _KINDS[number % len(_KINDS)].format(n=number, a=number * 7919 % 997, b=number * 31 % 17)


@dataclass
class Ingest:
    """Feeds one log; `memory_mb` is by how much the process grew meanwhile, `raw_bytes` what was fed."""

    folder: Path
    masker: Masker = field(default_factory=Masker)
    memory_mb: float = 0.0
    raw_bytes: int = 0

    @property
    def path(self) -> Path:
        return self.folder / "logs.db"

    def run(self, texts: list[str]) -> None:
        """Into a store of its own, made anew. A sample of the memory each 20,000 lines."""
        self.path.unlink(missing_ok=True)
        logs = BuildLogs(self.path, masker_of=lambda _: self.masker, create=True)
        before = _memory_mb()
        sink = logs.open_log("bench", 1, now=1.0)
        sink.step(BuildStep(_STEP, 1.0))
        for begin in range(0, len(texts), _MEMORY_EACH):
            for number, text in enumerate(texts[begin : begin + _MEMORY_EACH], begin):
                sink.write("stdout", text, at=number * 0.0001, step=_STEP)
            self.memory_mb = max(self.memory_mb, _memory_mb() - before)
        sink.close()
        logs.close()
        self.raw_bytes = sum(len(text) + 1 for text in texts)

    @property
    def stored_bytes(self) -> int:
        return self.path.stat().st_size


def page_ms(path: Path, after: int) -> float:
    """The median of some looks at a page of a thousand lines, with a connection that is open."""
    reader = LogReader(path)
    found = [timed(lambda: reader.read("bench", 1, after=after, limit=_PAGE)) for _ in range(_LOOKS)]
    reader.close()
    return statistics.median(found)


def measure(report: Report, *, rounds: int) -> None:
    """Print everything of the log store, each against its bound."""
    report.title(f"A build log of {LINES:,} lines")
    texts = list(lines(LINES))
    with tempfile.TemporaryDirectory(prefix="gitstead-bench-") as name:
        (masked_folder := Path(name, "masked")).mkdir()
        ours, masked = Ingest(Path(name)), Ingest(masked_folder, Masker(["correct-horse-battery"]))
        variants = {
            "log store": lambda: timed(lambda: ours.run(texts)),
            "log store, a secret known": lambda: timed(lambda: masked.run(texts)),
            "plain file": lambda: timed(lambda: _append(Path(name, "plain"), texts)),
        }
        gc.freeze()  # the million texts are ours, not the store's: no collection is to walk them
        found = in_turn(variants, rounds, warm_up=0)
        report.rounds(found)
        report.ratio(found, ("log store", "plain file"), aim=4.0)
        report.say(f"raw {ours.raw_bytes / 1e6:.1f} MB, stored {ours.stored_bytes / 1e6:.1f} MB")
        share = ours.stored_bytes / ours.raw_bytes
        report.bound(f"stored ÷ raw = {share:.3f}", share, aim=0.2)
        report.bound(f"memory while it is taken: {ours.memory_mb:.1f} MB", ours.memory_mb, aim=16.0, unit=" MB")
        first = page_ms(ours.path, 0)
        for where, after in (("in the middle", LINES // 2), ("over two chunks", LINES // 2 + 500)):
            ratio = page_ms(ours.path, after) / first
            report.bound(f"page {where} ÷ first page ({first:.2f} ms) = {ratio:.2f}", ratio, aim=2.0)


def _append(path: Path, texts: list[str]) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, text in enumerate(texts):
        os.write(descriptor, f"{number * 0.0001:.4f} stdout {_STEP} {text}\n".encode())
    os.close(descriptor)


def _memory_mb() -> float:
    resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return resident_pages * os.sysconf("SC_PAGE_SIZE") / 2**20
