"""The build job: one changed file over plain `docker buildx build`, and second builds over first ones.

Called by `__main__`. Ours is the job's own time, from its start to its row's end: checkout, build, every line of
output in the store. Plain buildx builds the same folder with the same Dockerfile on the same engine, and
throws its output away.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.deploying import buildx_program
from bench.image import app_files
from bench.measure import Report, in_turn, timed
from bench.place import Place, remove_images
from reconciler.model.job import Job
from tests.platform_support import Platform, Repo, wait_for

_FLASK = {
    "requirements.txt": "flask==3.1.0\ngunicorn==23.0.0\n",
    "app.py": 'import flask\napp = flask.Flask(__name__)\n@app.get("/")\ndef home():\n    return "v{version}"\n',
}
_PACKAGE = {"name": "shop", "version": "1.0.0", "dependencies": {"is-number": "7.0.0"}}
_IS_NUMBER = {
    "version": "7.0.0",
    "integrity": "sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYxxng==",
}
_NODE = {
    "package.json": json.dumps(_PACKAGE | {"scripts": {"start": "node app.js"}}),
    "package-lock.json": json.dumps(
        {
            "name": "shop",
            "version": "1.0.0",
            "lockfileVersion": 3,
            "packages": {"": _PACKAGE, "node_modules/is-number": _IS_NUMBER},
        }
    ),
    "app.js": (
        'require("is-number");\nrequire("http").createServer((_, r) => r.end("v{version}")).listen(process.env.PORT);\n'
    ),
}
_DEADLINE_S = 600.0


def measure(place: Place, report: Report, *, rounds: int) -> None:
    """Print the ratio of a one-file change, then that of second builds with unchanged dependencies."""
    with place.platform("builds") as platform:
        platform.start()
        _one_file(place, platform, report, rounds=rounds)
        _second(platform, report, "flask", _FLASK)
        _second(platform, report, "node", _NODE)


def _one_file(place: Place, platform: Platform, report: Report, *, rounds: int) -> None:
    ours = Project(platform, "changed", {"type": "dockerfile"})
    plain = Plain(place.folder / "plain", f"gitstead-bench/plain:{place.token}")

    def files(version: int) -> dict[str, str | bytes | None]:
        return dict(app_files(place.base, f"v{version}"))

    ours.begin(files(0))
    try:
        found = in_turn({"ours": lambda: ours.build(files), "docker buildx build": lambda: plain.build(files)}, rounds)
    finally:
        remove_images(plain.tag)
    report.title(f"The build of a one-file change ({len(found.gauge)} rounds)")
    report.rounds(found)
    report.ratio(found, ("ours", "docker buildx build"), aim=1.10, must=1.5)


def _second(platform: Platform, report: Report, build_type: str, texts: Mapping[str, str]) -> None:
    def files(version: int) -> dict[str, str | bytes | None]:
        return {name: text.replace("{version}", str(version)) for name, text in texts.items()}

    project = Project(platform, f"second-{build_type}", {"type": build_type})
    first = project.begin(files(0))
    project.build(files)
    second = project.last
    ratio = _seconds(second) / _seconds(first)
    report.title(f"The second build of a {build_type} app with unchanged dependencies")
    report.say(f"first {_seconds(first):.2f} s, {first.cached}/{first.steps} steps cached")
    report.say(f"second {_seconds(second):.2f} s, {second.cached}/{second.steps} steps cached")
    report.bound(f"second ÷ first = {ratio:.2f}", ratio, aim=0.5)


@dataclass
class Project:
    """One project of a running platform; `last` is its newest build job."""

    platform: Platform
    name: str
    build_spec: Mapping[str, str]
    version: int = 0
    repo: Repo = field(init=False)
    last: Job = field(init=False)

    def begin(self, files: dict[str, str | bytes | None]) -> Job:
        """The first build, to its end."""
        self.repo = self.platform.app(self.name, files=files)
        self.platform.push_spec(self.name, build=dict(self.build_spec))
        return self._built(1)

    def build(self, files: Callable[[int], dict[str, str | bytes | None]]) -> float:
        """Push the next version; milliseconds of its build job."""
        self.version += 1
        self.repo.push(files(self.version))
        return _seconds(self._built(self.version + 1)) * 1000

    def _built(self, deployment: int) -> Job:
        def question() -> Job | None:
            if not (self.platform.state / "state" / "state.db").exists():
                return None
            with self.platform.queries() as queries:
                jobs = [each for each in queries.job_rows(self.name, deployment) if each.key.kind == "build"]
            return jobs[-1] if jobs and jobs[-1].state != "running" else None

        self.last = wait_for(question, f"d{deployment} of {self.name} is built", timeout_s=_DEADLINE_S)
        assert self.last.state == "succeeded", self.last.message
        self.platform.healthy(self.name)
        return self.last


@dataclass
class Plain:
    """What a person would type, in a folder with the same files."""

    folder: Path
    tag: str
    version: int = 0

    def build(self, files: Callable[[int], dict[str, str | bytes | None]]) -> float:
        self.version += 1
        self.folder.mkdir(exist_ok=True)
        for name, content in files(self.version).items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
        argv = [buildx_program(), "build", "--builder=default", f"--tag={self.tag}", str(self.folder)]
        return timed(lambda: subprocess.run(argv, check=True, capture_output=True))


def _seconds(job: Job) -> float:
    return job.ended_at - job.started_at
