"""What the platform repository would ask for at another revision or in a working tree.

Called by `bootstrap` for `gitstead plan` and `gitstead validate`. Reads; keeps and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.adapters.git_platform import PlatformFiles
from reconciler.adapters.git_repository import Mirrors
from reconciler.desired.base_names import BaseName, own_base
from reconciler.desired.resolution import desired_project
from reconciler.desired.validation import SpecCache
from reconciler.loop.access import permissions_of
from reconciler.loop.sources import Files, check_platform, read_project
from reconciler.model.desired import Desired, DesiredProject
from reconciler.model.effects import Secrets
from reconciler.model.spec import ProjectSpec


def preview_desired(
    mirrors: Mirrors,
    platform: tuple[str, PlatformFiles],
    good: Files,
    *,
    instance: str,
    holders: Mapping[str, str],
    secrets: Secrets,
    base_name: BaseName = own_base,
) -> Desired:
    """Desired state with `platform` (revision and texts), and the app repositories as they are now."""
    revision, files = platform
    checked = check_platform(files, good, revision=revision, holders=holders, cache=SpecCache())
    mirrors.permit(permissions_of(checked.platform, checked.specs))
    branches: dict[str, frozenset[str]] = {}
    for spec in checked.specs:
        branches[spec.source.repo] = branches.get(spec.source.repo, frozenset()) | {spec.source.branch}
    states = {repo: mirrors.refresh(repo, names) for repo, names in branches.items()}

    def project(spec: ProjectSpec) -> DesiredProject:
        state = states[spec.source.repo]
        problem = state.problem_of(spec.source.branch)
        sha = state.branches.get(spec.source.branch, "")
        if not sha:
            return desired_project(spec, None, source_problem=problem)
        return read_project(
            mirrors, spec, sha, instance=instance, problem=problem, secrets=secrets, base_name=base_name
        )

    return Desired(
        revision=revision,
        platform=checked.platform,
        projects=tuple(project(spec) for spec in checked.specs),
        names=checked.validation.names,
        diagnostics=checked.validation.diagnostics,
        complete=checked.complete,
    )
