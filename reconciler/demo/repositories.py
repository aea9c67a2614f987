"""The demo's repositories: bare ones that Gitstead watches, and clones in which people commit.

Called by `session` (make) and `tricks` (commit, push). Never uses the user's own Git configuration: no
signing, hooks, templates or default branch of theirs, and an author of the demo's own.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path, PurePosixPath

from reconciler.adapters import processes
from reconciler.demo.folder import PROJECTS, DemoFolder
from reconciler.resources import resource

GIT_TIMEOUT_S = 60.0
BRANCH = "main"
_AUTHOR = ("Gitstead demo", "demo@gitstead.invalid")
_GIT_CONFIG = """\
# Git's configuration for the demo's own commits, in place of yours.
[user]
	name = {name}
	email = {email}
[commit]
	gpgSign = false
[core]
	hooksPath = /dev/null
	autocrlf = false
[init]
	defaultBranch = {branch}
	templateDir =
[safe]
	directory = *
"""
_SUBJECTS = {
    "hello": "A page and its style",
    "guest": "A guest book",
    "clock": "The time of the server",
    "platform": "A platform with three projects",
}


def git(folder: DemoFolder, where: Path, *words: str) -> str:
    """What `git` prints, run in `where` with the demo's configuration. Raises ProgramFailed with git's words."""
    env = processes.inherited(
        {
            "GIT_CONFIG_GLOBAL": str(folder.git_config),
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
        }
    )
    return processes.run(["git", *words], timeout_s=GIT_TIMEOUT_S, env=env, cwd=where).text


def make_repositories(folder: DemoFolder) -> list[str]:
    """Make those that are missing, each complete or not at all; their names."""
    name, email = _AUTHOR
    folder.git_config.write_text(_GIT_CONFIG.format(name=name, email=email, branch=BRANCH))
    folder.repos.mkdir(exist_ok=True)
    made = [each for each in (*PROJECTS, "platform") if _make(folder, each)]
    for each in (*PROJECTS, "platform"):
        _clone(folder, each)
    return made


def commit_and_push(folder: DemoFolder, name: str, file: str, message: str) -> str:
    """Commit that one file of the clone and push it; the commit's short id."""
    clone = folder.clone(name)
    git(folder, clone, "commit", "--quiet", "--message", message, "--", file)
    git(folder, clone, "push", "--quiet", "origin", f"HEAD:{BRANCH}")
    return git(folder, clone, "rev-parse", "--short=7", "HEAD")


def _make(folder: DemoFolder, name: str) -> bool:
    bare = folder.bare(name)
    if bare.is_dir():
        return False
    draft, work = folder.repos / f".{name}.git.new", folder.repos / f".{name}.new"
    for leftover in (draft, work):
        shutil.rmtree(leftover, ignore_errors=True)
    git(folder, folder.repos, "init", "--quiet", "--bare", "--initial-branch", BRANCH, str(draft))
    _copy_example(folder, name, work)
    git(folder, work, "init", "--quiet", "--initial-branch", BRANCH)
    git(folder, work, "add", "--all")
    git(folder, work, "commit", "--quiet", "--message", _SUBJECTS[name])
    git(folder, work, "push", "--quiet", str(draft), BRANCH)
    shutil.rmtree(work)
    draft.rename(bare)
    return True


def _clone(folder: DemoFolder, name: str) -> None:
    clone = folder.clone(name)
    if clone.is_dir():
        return
    draft = folder.repos / f".{name}.clone"
    shutil.rmtree(draft, ignore_errors=True)
    git(folder, folder.repos, "clone", "--quiet", str(folder.bare(name)), str(draft))
    # A person who commits here by hand needs no identity of their own.
    for key, value in zip(("user.name", "user.email"), _AUTHOR, strict=True):
        git(folder, draft, "config", key, value)
    draft.rename(clone)


def _copy_example(folder: DemoFolder, name: str, target: Path) -> None:
    """The shipped files; of the platform, with the addresses of this demo in place of the example's."""
    source = resource("examples", "platform-repo") if name == "platform" else resource("examples", "apps", name)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    if name != "platform":
        return
    for path in (target / "platform.yaml", *(target / "projects" / f"{each}.yaml" for each in PROJECTS)):
        lines = path.read_text().splitlines()
        path.write_text("".join(f"{_adapted(line, folder.bare(path.stem))}\n" for line in lines))


def _adapted(line: str, repo: Path) -> str:
    """A line of the example platform, with this machine's places in it."""
    if line.startswith("  repo: "):
        return f"  repo: {json.dumps(str(repo), ensure_ascii=False)}"
    before, found, schema = line.partition("$schema=")
    return f"{before}{found}{resource('schemas', PurePosixPath(schema).name)}" if found else line
