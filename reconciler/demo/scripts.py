"""The three small programs in the demo's folder: change something, break something, ask something.

Called by `session` at each start, since the Python that runs them may have moved. They hold two paths and
no logic: what they do is in `tricks` and in the program itself.
"""

from __future__ import annotations

import shlex
import sys

from reconciler.demo.folder import DemoFolder

_SCRIPT = """\
#!/bin/sh
# {what}
exec {python} -P -m {words} "$@"
"""


def write_scripts(folder: DemoFolder) -> None:
    """Write all three, executable for everybody who may see the folder."""
    trick, place = "reconciler.demo.tricks", str(folder.path)
    _write(folder, "change-hello", "Changes the page of hello, commits and pushes.", [trick, place, "change-hello"])
    _write(
        folder,
        "break-guest",
        "Breaks the spec of guest, commits and pushes; run again, or with --undo, it mends it.",
        [trick, place, "break-guest"],
    )
    _write(
        folder,
        "gitstead",
        "The program, on this demo: ./gitstead status",
        ["reconciler", "--host-file", str(folder.host_file)],
    )


def _write(folder: DemoFolder, name: str, what: str, words: list[str]) -> None:
    path = folder.path / name
    temporary = folder.path / f".{name}.new"
    temporary.write_text(_SCRIPT.format(what=what, python=shlex.quote(sys.executable), words=shlex.join(words)))
    temporary.chmod(0o755)
    temporary.replace(path)
