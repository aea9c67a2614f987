"""Turns what Git holds into `Desired`: the platform repository's texts and the apps' commits.

Called by `loop.worker` and the CLI. Keeps the last good spec of each project (invariant 3) and reads
a text or a commit only once. Trouble with Git is part of the value, never an exception.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from reconciler.adapters.git_platform import PlatformFiles
from reconciler.adapters.git_repository import Mirrors
from reconciler.adapters.git_source import RepositoryState, SourceState
from reconciler.desired.base_names import BaseName, own_base
from reconciler.desired.detection import detect, unrecognised
from reconciler.desired.detection.manifests import read_texts
from reconciler.desired.dockerfiles import dockerfile_for
from reconciler.desired.resolution import desired_project
from reconciler.desired.validation import SpecCache, SpecFile, Validation, validate
from reconciler.errors import GitsteadError
from reconciler.loop.access import permissions_of
from reconciler.loop.sealed import marks_of
from reconciler.model.condition import Reason
from reconciler.model.desired import Desired, DesiredProject, SourceProblem
from reconciler.model.detection import SourceFiles
from reconciler.model.effects import Secrets
from reconciler.model.naming import PROJECT_NAME
from reconciler.model.release import Commit
from reconciler.model.spec import Diagnostic, Location, PlatformSpec, ProjectSpec

log = structlog.get_logger(__name__)

Files = Mapping[str, tuple[str, bytes]]
PLATFORM_FILE = "platform.yaml"


class GoodSpecs(Protocol):
    """Where the last good texts are kept: path of the file to (blob id, text)."""

    def good_texts(self) -> Files: ...

    def save_good_texts(self, files: Files, revision: str) -> None: ...

    def forget_good_texts(self, names: frozenset[str]) -> None: ...


@dataclass(frozen=True)
class Checked:
    """The platform at one commit: what is valid, and what of the last good holds in its place.

    `holders` is who had which domain when this was decided; it counts only where there were doubts.
    """

    revision: str
    holders: Mapping[str, str]
    validation: Validation
    platform: PlatformSpec
    specs: tuple[ProjectSpec, ...]
    stale: frozenset[str]
    complete: bool

    @property
    def has_own_platform(self) -> bool:
        """Whether platform.yaml of this very revision is what holds."""
        return all(each.location.file != PLATFORM_FILE for each in self.validation.diagnostics)

    @property
    def has_doubts(self) -> bool:
        return bool(self.validation.diagnostics or self.validation.notes)


class Sources:
    """`platform` is (address, branch) of the platform repository.

    `ask` is called for a repository of which something is needed that was never asked for; what it does
    not bring at once comes as news. `secrets` says whether sealed values can be opened.
    """

    def __init__(
        self,
        mirrors: Mirrors,
        good: GoodSpecs,
        *,
        platform: tuple[str, str],
        instance: str,
        ask: Callable[[str], None],
        secrets: Secrets,
        base_name: BaseName = own_base,
    ) -> None:
        self._mirrors, self._good, self._platform = mirrors, good, platform
        self._instance, self._ask, self._secrets, self._base_name = instance, ask, secrets, base_name
        self._lock = threading.Lock()
        self._states: dict[str, RepositoryState] = {}
        self._wanted: dict[str, frozenset[str]] = {platform[0]: frozenset({platform[1]})}
        self._cache = SpecCache()
        self._checked: Checked | None = None
        self._projects: dict[str, tuple[ProjectSpec, str, SourceProblem | None, DesiredProject]] = {}
        self._answer: Desired | None = None
        self._keys: tuple[int, ...] = ()
        self._permitted: Checked | None = None
        self._news = 0
        self._is_read = False

    # ---- asking ----------------------------------------------------------------------------

    def addresses(self) -> frozenset[str]:
        with self._lock:
            return frozenset(self._wanted)

    def local_addresses(self) -> frozenset[str]:
        return frozenset(repo for repo in self.addresses() if is_local(repo))

    def app_repo_of(self, project_name: str) -> str:
        """The address of a project's app repository, "" where the project is not known."""
        kept = self._projects.get(project_name)
        return kept[0].source.repo if kept else ""

    def was_asked(self, repo: str) -> bool:
        with self._lock:
            return repo in self._states

    def has_trouble(self, repo: str) -> bool:
        with self._lock:
            return repo in self._states and self._states[repo].problem is not None

    def refresh(self, repo: str) -> bool:
        """One listing of the repository for all its wanted branches; whether anything is new."""
        with self._lock:
            branches = self._wanted.get(repo, frozenset())
        if not branches:
            return False
        state = self._mirrors.refresh(repo, branches)
        with self._lock:
            news = self._states.get(repo) != state
            self._states[repo] = state
            if news:
                self._news += 1
                self._answer = None
            return news

    def tidy(self, now: float) -> bool:
        """Remove mirrors without a use, make large ones smaller (see `Mirrors.tidy`); False before specs were read."""
        with self._lock:
            wanted = frozenset(self._wanted) if self._is_read else None
        if wanted is None:
            return False
        for each in self._mirrors.tidy(wanted, now):
            log.info("mirrors.tidied", what=each)
        return True

    # ---- answering -------------------------------------------------------------------------

    def desired(self, holders: Mapping[str, str]) -> Desired:
        """Everything that should run now. `holders` maps a host name to the project that has it."""
        with self._lock:
            answer, news = self._answer, self._news
        keys = self._secrets.generation()
        if answer is not None and keys == self._keys and not self._is_decided_anew(holders):
            return answer
        answer, self._keys = self._compute(holders), keys
        with self._lock:
            # News that came while this was computed are not in it: such an answer is given once, never kept.
            if news == self._news and all(repo in self._states for repo in self._wanted):
                self._answer = answer
        return answer

    def _is_decided_anew(self, holders: Mapping[str, str]) -> bool:
        """Whether there were doubts whose domain is whose, and it is somebody else's now."""
        return self._checked is not None and self._checked.has_doubts and self._checked.holders != holders

    def _compute(self, holders: Mapping[str, str]) -> Desired:
        repo, branch = self._platform
        state = self._state(repo, branch)
        problem = state.problem_of(branch)
        sha = state.branches.get(branch, "")
        try:
            checked = self._check(sha, holders) if sha else None
        except GitsteadError as error:
            problem, checked = SourceProblem(Reason.SOURCE_UNUSABLE, str(error)), None
        text = f"platform repository: {problem.message}" if problem else ""
        if checked is None:
            return Desired("", PlatformSpec(), problem=text or "the platform repository was not read yet")
        self._permit(checked)
        projects = tuple(self._project(spec, stale=spec.name in checked.stale) for spec in checked.specs)
        self._want(checked.specs)
        return Desired(
            revision=checked.revision,
            platform=checked.platform,
            projects=projects,
            names=checked.validation.names,
            diagnostics=checked.validation.diagnostics,
            complete=checked.complete and problem is None,
            problem=text,
        )

    def _permit(self, checked: Checked) -> None:
        """Ask with the credentials of this revision; at once where they are new, whatever was met with the old."""
        if self._permitted is checked:
            return
        self._permitted = checked
        for repo in self._mirrors.permit(permissions_of(checked.platform, checked.specs)):
            if self.was_asked(repo) and not is_local(repo):
                self._ask(repo)

    def _state(self, repo: str, branch: str) -> RepositoryState:
        """What is known of the repository, asked first where this branch was never asked for."""
        with self._lock:
            self._wanted[repo] = self._wanted.get(repo, frozenset()) | {branch}
            state = self._states.get(repo)
        if state is None or not (branch in state.branches or state.problem_of(branch) is not None):
            self._ask(repo)
            with self._lock:
                state = self._states.get(repo)
        return state or self._mirrors.known(repo, frozenset({branch}))

    def _want(self, specs: tuple[ProjectSpec, ...]) -> None:
        """Repositories and branches that no project names any more are not asked any more."""
        wanted: dict[str, frozenset[str]] = {self._platform[0]: frozenset({self._platform[1]})}
        for spec in specs:
            wanted[spec.source.repo] = wanted.get(spec.source.repo, frozenset()) | {spec.source.branch}
        with self._lock:
            self._wanted, self._is_read = wanted, True
            self._states = {repo: state for repo, state in self._states.items() if repo in wanted}

    def _check(self, sha: str, holders: Mapping[str, str]) -> Checked:
        revision = f"{self._platform[1]}@{sha}"
        kept = self._checked
        if kept is not None and kept.revision == revision and (kept.holders == holders or not kept.has_doubts):
            return kept
        files = self._mirrors.read_platform(self._platform[0], sha)
        before = self._good.good_texts()
        checked = check_platform(files, before, revision=revision, holders=holders, cache=self._cache)
        usable = {spec.name for spec in checked.validation.projects}
        good = {path: text for path, text in files.files.items() if _name(path) in usable}
        if checked.has_own_platform and PLATFORM_FILE in files.files:
            good[PLATFORM_FILE] = files.files[PLATFORM_FILE]
        self._good.save_good_texts(good, revision)
        if checked.complete:
            known = frozenset(_name(path) for path in before if path != PLATFORM_FILE)
            self._good.forget_good_texts(known - checked.validation.names)
        self._checked = checked
        return checked

    def _project(self, spec: ProjectSpec, *, stale: bool) -> DesiredProject:
        source = spec.source
        state = self._state(source.repo, source.branch)
        problem = state.problem_of(source.branch)
        sha = state.branches.get(source.branch, "")
        kept = self._projects.get(spec.name)
        if kept is not None and kept[0] is spec and kept[1:3] == (sha, problem) and not _is_unreadable(kept[3]):
            project = kept[3]
        elif sha:
            project = read_project(
                self._mirrors,
                spec,
                sha,
                instance=self._instance,
                problem=problem,
                secrets=self._secrets,
                base_name=self._base_name,
            )
        else:
            project = desired_project(spec, None, source_problem=problem)
        self._projects[spec.name] = (spec, sha, problem, project)
        return replace(project, stale=stale)


def _is_unreadable(project: DesiredProject) -> bool:
    """Whether the platform's keys, which may come back at any time, are what is missing."""
    return project.source_problem is not None and project.source_problem.reason is Reason.SECRET_UNREADABLE


def is_local(repo: str) -> bool:
    return repo.startswith(("/", "file://"))


def _name(path: str) -> str:
    return path.removeprefix("projects/").removesuffix(".yaml")


def check_platform(
    files: PlatformFiles, good: Files, *, revision: str, holders: Mapping[str, str], cache: SpecCache
) -> Checked:
    """Validate one revision; in place of what is invalid, the last good text of the same file.

    Under a bad platform.yaml the projects go on, each with its own changes, as the last good one has it.
    """
    texts = {path: SpecFile(*each) for path, each in files.files.items()}
    last = validate({PLATFORM_FILE: SpecFile(*good[PLATFORM_FILE])}).platform if PLATFORM_FILE in good else None
    first = validate(texts, holders=holders, last_platform=last, cache=cache)
    validation = _with_unusable(first, files.unusable)
    usable = {spec.name for spec in validation.projects}
    fallback = {path: SpecFile(*each) for path, each in good.items() if _name(path) in validation.names - usable}
    merged = {**texts, **fallback}
    second = validate(merged, holders=holders, last_platform=last, cache=cache) if fallback else validation
    return Checked(
        revision=revision,
        holders=dict(holders),
        validation=validation,
        platform=second.platform or PlatformSpec(),
        specs=second.projects,
        stale=frozenset(spec.name for spec in second.projects) - usable,
        complete=validation.complete,
    )


def _with_unusable(validation: Validation, unusable: Mapping[str, str]) -> Validation:
    """Entries that are no readable files are problems too, and their projects have not left."""
    if not unusable:
        return validation
    names = {_name(path) for path in unusable if PROJECT_NAME.match(_name(path))}
    problems = tuple(
        Diagnostic(Location(path), text, project=_name(path) if _name(path) in names else "")
        for path, text in unusable.items()
    )
    return replace(
        validation,
        names=validation.names | names,
        diagnostics=(*validation.diagnostics, *problems),
        complete=False,
    )


def _as_watched(mirrors: Mirrors, spec: ProjectSpec, commit: Commit) -> Commit:
    """With `source.watch`, what it looks at stands in the place of the tree: nothing else causes a deployment."""
    if not spec.source.watch:
        return commit
    return replace(commit, tree=mirrors.watched(spec.source.repo, commit.sha, spec.source.watch))


def read_project(
    mirrors: Mirrors,
    spec: ProjectSpec,
    sha: str,
    *,
    instance: str,
    problem: SourceProblem | None,
    secrets: Secrets,
    base_name: BaseName = own_base,
) -> DesiredProject:
    """The project at one commit of its app repository; what cannot be used becomes its problem.

    `base_name` gives the images that generated Dockerfiles begin from.
    """
    marks = marks_of(spec, secrets)
    if isinstance(marks, SourceProblem):
        return desired_project(spec, None, source_problem=marks)
    try:
        state = mirrors.source_state(spec.source.repo, sha, spec.source.path)
        commit = _as_watched(mirrors, spec, state.commit)
        files = _files_of(state)
        detection = detect(files, wanted=spec.build.type, dockerfile=spec.build.dockerfile, within=spec.source.path)
        chosen = detection.chosen
        own = state.read_text(spec.build.dockerfile) if chosen and chosen.type == "dockerfile" else None
    except GitsteadError as error:
        unusable = problem or SourceProblem(Reason.SOURCE_UNUSABLE, str(error))
        return desired_project(spec, None, source_problem=unusable)
    if chosen is None:
        unknown = unrecognised(spec, detection, is_empty=not files.listing)
        return desired_project(spec, commit, unknown, source_problem=problem, marks=marks, detection=detection)
    dockerfile = dockerfile_for(
        spec, files, chosen, repo_dockerfile=own, base_name=base_name, cache_id=f"{instance}-{spec.name}"
    )
    return desired_project(spec, commit, dockerfile, source_problem=problem, marks=marks, detection=detection)


def _files_of(state: SourceState) -> SourceFiles:
    listing = state.listing
    return SourceFiles(listing, read_texts(listing, state.read_text))
