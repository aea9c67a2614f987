"""Looks into a folder as the loop looks into a push: what it is recognised as, and its Dockerfile.

Called by `gitstead detect`. Reads; needs no engine, no store and no platform repository.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reconciler.adapters.source_folder import MOST_FILES, list_folder, read_text
from reconciler.desired.base_names import BASE_NAMES
from reconciler.desired.detection import detect
from reconciler.desired.detection.manifests import read_texts
from reconciler.desired.dockerfiles import dockerfile_for
from reconciler.errors import HostUnfit
from reconciler.model.desired import Dockerfile, SourceProblem
from reconciler.model.detection import Detection, SourceFiles
from reconciler.model.spec import BuildSpec, BuildType, ProjectSpec, SourceSpec
from reconciler.settings import Settings


@dataclass(frozen=True)
class LookedAt:
    """`dockerfile` is None where nothing was recognised, or where `problem` says what is missing for it."""

    detection: Detection
    dockerfile: Dockerfile | None = None
    problem: str = ""
    is_cut: bool = False


def look_at(settings: Settings, folder: Path, build_type: BuildType) -> LookedAt:
    """What `build_type` would mean for the files of this folder. Raises HostUnfit where it is none."""
    if not folder.is_dir():
        raise HostUnfit(
            f"{folder} is no folder", expected="a folder that holds an app's source", remedy="Name one, or stand in it"
        )
    listing, is_cut = list_folder(folder)
    files = SourceFiles(listing, read_texts(listing, lambda name: read_text(folder, name)))
    detection = detect(files, wanted=build_type)
    chosen = detection.chosen
    if chosen is None:
        return LookedAt(detection, is_cut=is_cut)
    spec = ProjectSpec("project", "", SourceSpec(str(folder)), BuildSpec(build_type))
    made = dockerfile_for(
        spec,
        files,
        chosen,
        repo_dockerfile=read_text(folder, spec.build.dockerfile) if spec.build.dockerfile in listing else None,
        base_name=BASE_NAMES[settings.bases],
        cache_id="project",
    )
    if isinstance(made, SourceProblem):
        where = f" ({spec.source.repo}, branch {spec.source.branch})"
        return LookedAt(detection, problem=made.message.replace(where, "", 1), is_cut=is_cut)
    return LookedAt(detection, made, is_cut=is_cut)


def cut_note() -> str:
    return f"only the nearest {MOST_FILES} files were looked at"
