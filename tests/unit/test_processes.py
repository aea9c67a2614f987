"""Programs are run in one way: bounded, with a deadline, and ended as a whole group."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.adapters import process_marks, processes
from reconciler.adapters.bounds import Cancellation
from reconciler.errors import HostUnfit, ProgramFailed, ProgramTimedOut


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wait_until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come in time"
        threading.Event().wait(0.01)


def alive(pid: int) -> bool:
    """Neither gone nor a zombie that only waits to be collected."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return status != "Z"


@pytest.fixture
def job_id() -> Iterator[str]:
    name = f"test-{os.getpid()}-{time.monotonic_ns()}"
    yield name
    process_marks.end_marked(name)


def test_output_and_status_are_collected_apart() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    finished = processes.run(python(code), timeout_s=20, check=False)
    assert (finished.status, finished.stdout, finished.stderr) == (3, b"out\n", b"err\n")


def test_a_status_other_than_0_is_raised_with_the_programs_last_words() -> None:
    with pytest.raises(ProgramFailed, match=r"status 2: no such thing; expected status 0\. Try another\."):
        processes.run(
            python("import sys; sys.exit(print('no such thing', file=sys.stderr) or 2)"),
            timeout_s=20,
            remedy="Try another",
        )


def test_a_missing_program_is_named_with_where_it_was_looked_for() -> None:
    with pytest.raises(HostUnfit, match=r'"no-such-program" was not found; expected it in PATH=/nowhere'):
        processes.run(["no-such-program"], timeout_s=1, env={"PATH": "/nowhere"})


def test_a_missing_folder_is_an_error_of_ours() -> None:
    with pytest.raises(ProgramFailed, match="could not be started in /no/such/folder"):
        processes.run(["true"], timeout_s=1, cwd=Path("/no/such/folder"))


def test_only_the_end_of_too_much_output_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "OUTPUT_LIMIT", 1000)
    finished = processes.run(python("print('x' * 500_000 + 'end')"), timeout_s=20)
    assert len(finished.stdout) == 1000
    assert finished.stdout.endswith(b"end\n")


def test_standard_input_is_empty() -> None:
    assert processes.run(["cat"], timeout_s=10).stdout == b""


def test_a_program_sees_the_given_environment_and_nothing_else() -> None:
    finished = processes.run(["env"], timeout_s=10, env={"PATH": os.defpath, "A": "1"})
    assert set(finished.text.splitlines()) == {f"PATH={os.defpath}", "A=1"}


def test_our_own_secrets_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")
    monkeypatch.setenv("https_proxy", "http://proxy.invalid")
    passed_on = processes.inherited({"EXTRA": "1"})
    assert "SOME_TOKEN" not in passed_on
    assert passed_on["https_proxy"] == "http://proxy.invalid"
    assert passed_on["EXTRA"] == "1"


def test_the_deadline_ends_the_whole_group(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, pathlib, time\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\n"
        "time.sleep(1000)"
    )
    with pytest.raises(ProgramTimedOut, match=r"expected an end within 0\.7 s"):
        processes.run(python(code), timeout_s=0.7)
    wait_until(lambda: not alive(int(pid_file.read_text())))


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1); time.sleep(1000)"
    began = time.monotonic()
    with pytest.raises(ProgramTimedOut):
        processes.run(python(code), timeout_s=0.5)
    assert time.monotonic() - began < 0.5 + processes.GRACE_S + 2


def test_what_the_leader_leaves_running_in_its_group_is_ended(tmp_path: Path) -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '1000']).pid)"
    finished = processes.run(python(code), timeout_s=20)
    wait_until(lambda: not alive(int(finished.text)))
    assert finished.duration_s < 10


def test_a_descendant_that_left_the_group_does_not_hold_us_up(job_id: str) -> None:
    code = "import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True)"
    began = time.monotonic()
    processes.stream(python(code), lambda *_: None, timeout_s=60, job_id=job_id)
    assert time.monotonic() - began < 10
    assert process_marks.end_marked(job_id) == 1


def test_lines_come_while_the_program_still_runs(tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    code = (
        "import sys, time, pathlib\n"
        "print('first', flush=True)\n"
        f"while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.01)\n"
        "print('second', file=sys.stderr); sys.stdout.write('no newline')"
    )
    seen: list[tuple[str, bytes]] = []

    def on_line(stream: processes.Stream, line: bytes) -> None:
        seen.append((stream, line))
        go_on.touch()

    finished = processes.stream(python(code), on_line, timeout_s=20)
    assert finished.status == 0
    assert not finished.cancelled
    assert seen[0] == ("stdout", b"first")
    assert sorted(seen[1:]) == [("stderr", b"second"), ("stdout", b"no newline")]


def test_every_line_of_a_burst_arrives_in_order() -> None:
    seen: list[bytes] = []
    processes.stream(python("for n in range(100_000): print(n)"), lambda _, line: seen.append(line), timeout_s=60)
    assert seen == [str(n).encode() for n in range(100_000)]


def test_a_line_without_end_comes_in_pieces() -> None:
    sizes: list[int] = []
    processes.stream(
        python("import sys; sys.stdout.write('x' * 3_000_000)"),
        lambda _, line: sizes.append(len(line)),
        timeout_s=60,
    )
    assert sum(sizes) == 3_000_000
    assert max(sizes) <= processes.LINE_LIMIT + 65536


def test_cancel_from_another_thread_ends_the_group_within_two_seconds() -> None:
    cancellation = Cancellation()
    code = (
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen(['sleep', '1000']).pid, flush=True); time.sleep(1000)"
    )
    cancelled_at: list[float] = []
    pids: list[int] = []

    def cancel() -> None:
        cancelled_at.append(time.monotonic())
        cancellation.cancel()

    def on_line(_: processes.Stream, line: bytes) -> None:
        pids.append(int(line))
        threading.Thread(target=cancel).start()

    finished = processes.stream(python(code), on_line, timeout_s=60, cancellation=cancellation)
    assert finished.cancelled
    assert time.monotonic() - cancelled_at[0] < 2
    wait_until(lambda: not alive(pids[0]))


def test_cancelling_ends_no_other_program() -> None:
    cancellation = Cancellation()
    other = processes.start_daemon(["sleep", "1000"], env=processes.inherited(), log_path=Path(os.devnull))
    try:
        processes.stream(
            python("print(1, flush=True); import time; time.sleep(1000)"),
            lambda *_: cancellation.cancel(),
            timeout_s=60,
            cancellation=cancellation,
        )
        assert alive(other)
    finally:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)


def test_a_program_that_was_cancelled_beforehand_is_not_started(tmp_path: Path) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    touched = tmp_path / "touched"
    finished = processes.stream(["touch", str(touched)], lambda *_: None, timeout_s=10, cancellation=cancellation)
    assert finished.cancelled
    assert not touched.exists()


def test_cancelling_after_the_end_does_nothing() -> None:
    cancellation = Cancellation()
    processes.stream(["true"], lambda *_: None, timeout_s=10, cancellation=cancellation)
    cancellation.cancel()


def test_an_error_in_the_callback_ends_the_program(job_id: str) -> None:
    def refuse(_: processes.Stream, line: bytes) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="now"):
        processes.stream(
            python("print('now', flush=True); import time; time.sleep(1000)"),
            refuse,
            timeout_s=60,
            job_id=job_id,
        )
    wait_until(lambda: job_id not in process_marks.marked_pids().values())


def test_no_file_descriptor_is_left_open() -> None:
    processes.run(["true"], timeout_s=10)
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    for _ in range(5):
        processes.run(["true"], timeout_s=10)
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before


def test_a_child_dies_with_a_parent_that_is_killed(job_id: str, tmp_path: Path) -> None:
    code = (
        "from reconciler.adapters import processes\n"
        f"processes.stream(['sleep', '1000'], print, timeout_s=100, job_id={job_id!r})"
    )
    env = processes.inherited({"PYTHONPATH": str(Path(__file__).parents[2])})
    parent = processes.start_daemon(python(code), env=env, log_path=tmp_path / "log")
    wait_until(lambda: "sleep" in [process_marks.program_of(pid) for pid in marked(job_id)])
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    wait_until(lambda: not [pid for pid in marked(job_id) if alive(pid)])


def marked(job_id: str) -> list[int]:
    return [pid for pid, value in process_marks.marked_pids().items() if value == job_id]


def test_marked_programs_are_found_and_ended_wherever_their_group_is(job_id: str) -> None:
    env = processes.inherited({processes.MARK: job_id})
    pids = [processes.start_daemon(["sleep", "1000"], env=env, log_path=Path(os.devnull)) for _ in range(2)]
    other = processes.start_daemon(
        ["sleep", "1000"], env=env | {processes.MARK: job_id + "1"}, log_path=Path(os.devnull)
    )
    try:
        assert sorted(marked(job_id)) == sorted(pids)
        assert process_marks.end_marked(job_id) == 2
        assert [os.waitpid(pid, 0)[0] for pid in pids] == pids
        assert alive(other)
    finally:
        assert process_marks.end_marked(job_id + "1") == 1
        os.waitpid(other, 0)
    assert process_marks.end_marked(job_id) == 0


def test_a_daemon_has_a_session_and_a_log_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import os, sys; print(os.getsid(0) == os.getpid()); print('bad', file=sys.stderr)"
    pid = processes.start_daemon(python(code), env=processes.inherited(), log_path=log)
    assert os.waitpid(pid, 0) == (pid, 0)
    assert sorted(log.read_text().splitlines()) == ["True", "bad"]
