"""Recognises what a source tree is, with the evidence for it, and how sure that is.

Called by the loop for each new tree and by `gitstead detect`; pure. Reads names of files and the few texts that
`manifests` chooses; runs nothing of them, and never raises for what they hold. What else the tree could be is told
beside the choice, so that nothing is guessed in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reconciler.desired.detection import folders, go_rust, java, node, php_ruby, procfile, python
from reconciler.desired.detection.manifests import dig_table, shown
from reconciler.desired.detection.tree import Tree
from reconciler.model.condition import Reason
from reconciler.model.desired import SourceProblem
from reconciler.model.detection import Detected, Detection, SourceFiles, Sureness
from reconciler.model.spec import BuildType, ProjectSpec

_FINDERS = (python.find, node.find, php_ruby.find, java.find, go_rust.find)
_SURENESS: tuple[Sureness, ...] = ("certain", "likely", "guess")
# Of equally sure candidates a server comes before a site, since such a tree often holds a page for it as well.
_ORDER: tuple[BuildType, ...] = (
    *("django", "flask", "fastapi", "php", "ruby", "java", "node", "go", "rust", "static", "python"),
)
_NO_COMMAND: tuple[BuildType, ...] = ("dockerfile", "static")
_PAGES = ("public", "site", "www", "html", "web", "htdocs", "docs", "dist", "build", "_site", "src")
_JAR = "Procfile names a jar, which is started by itself: options of Java belong into JAVA_TOOL_OPTIONS of run.env."
_LOOKED_FOR = "a Dockerfile, index.html, package.json, requirements.txt, pyproject.toml, go.mod, Cargo.toml, pom.xml, "


def detect(
    files: SourceFiles, *, wanted: BuildType = "auto", dockerfile: str = "Dockerfile", within: str = "."
) -> Detection:
    """What the tree is; with a `wanted` type what is known of it as that type, `chosen` None where nothing is.

    `dockerfile` is the path at which a Dockerfile of the repository's own is looked for; it wins under auto.
    `within` is the folder of the repository in which the files lie, for hints alone.
    """
    tree = Tree(files)
    hints = (*tree.complaints, *folders.other_dockerfiles(tree, dockerfile))
    if wanted == "dockerfile":
        return Detection(_own(tree, dockerfile), hints=hints)
    found = [each for find in _FINDERS for each in find(tree, wanted)]
    if wanted != "auto":
        found = [each for each in found if each.type == wanted]
    found = _with_procfile(tree, [*found, *_pages(tree, found, wanted)])
    found = sorted((_beside_a_server(tree, each, found) for each in found), key=_rank)
    if wanted == "auto" and dockerfile in tree.listing:
        found.insert(0, _own(tree, dockerfile))
    if not found:
        elsewhere = folders.project_folders(tree, beside=False, within=within)
        return Detection(hints=(*hints, *folders.unknown_kinds(tree), *_sentence(elsewhere)))
    chosen, *others = found
    if wanted != "auto":
        return Detection(chosen, hints=hints)
    elsewhere = "" if chosen.type == "dockerfile" else folders.project_folders(tree, beside=True, within=within)
    return Detection(_doubted(chosen, others), tuple(others), (*hints, *_sentence(elsewhere)))


def unrecognised(spec: ProjectSpec, detection: Detection, *, is_empty: bool) -> SourceProblem:
    """Why nothing can be built of a source in which `detect` chose nothing."""
    where = f"{spec.source.repo}, branch {spec.source.branch}"
    where += f", folder {spec.source.path}" if spec.source.path != "." else ""
    if is_empty:
        text = f"The source ({where}) has no files: push some, or correct source.path."
    elif spec.build.type == "auto":
        text = (
            f"The source ({where}) was not recognised: looked for {_LOOKED_FOR}composer.json, Gemfile and the like. "
            "Say what it is in build.type, add a Dockerfile, or correct source.path."
        )
    else:
        text = (
            f"The source ({where}) has nothing that build.type {spec.build.type} could be made of. "
            "Correct build.type or source.path; gitstead detect shows what the files look like."
        )
    return SourceProblem(Reason.SOURCE_UNUSABLE, " ".join([text, *detection.hints[:3]]))


def _sentence(text: str) -> tuple[str, ...]:
    return (text,) if text else ()


def _rank(candidate: Detected) -> tuple[int, int]:
    return (_SURENESS.index(candidate.sure), _ORDER.index(candidate.type))


def _own(tree: Tree, dockerfile: str) -> Detected:
    """The repository's own Dockerfile, also where a wanted one is missing: the templates tell that."""
    if dockerfile in tree.listing:
        return Detected("dockerfile", "certain", (f"{shown(dockerfile)} is there",))
    return Detected("dockerfile", "guess", (), notes=(f"There is no {shown(dockerfile)}.",))


def _doubted(chosen: Detected, others: Sequence[Detected]) -> Detected:
    """The choice, less sure where another candidate has as good a claim."""
    rivals = [each for each in others if each.sure == chosen.sure]
    if chosen.type == "dockerfile" or not rivals:
        return chosen
    note = f"It could as well be {rivals[0].title}: set build.type to say which is meant."
    return replace(chosen, sure="guess", notes=(note, *chosen.notes))


# ---- what goes for several types -------------------------------------------------------------


def _with_procfile(tree: Tree, found: list[Detected]) -> list[Detected]:
    """The candidates with the command of the Procfile's web line; one that it speaks for is certain."""
    if "Procfile" not in tree.top:
        return found
    asked = procfile.read_procfile(tree.text("Procfile"))
    if any(word.endswith(".jar") for word in asked.command):
        asked = procfile.Procfile(types=asked.types, notes=(_JAR, *asked.notes))

    def apply(each: Detected) -> Detected:
        if each.type in _NO_COMMAND:
            return each
        if not asked.command or (asked.types and each.type not in asked.types):
            return replace(each, notes=(*each.notes, *asked.notes))
        sure: Sureness = "likely" if each.sure == "guess" else each.sure
        return replace(
            each,
            sure=sure,
            command=asked.command,
            evidence=(*each.evidence, asked.evidence),
            notes=(*(note for note in each.notes if "set run.command" not in note), *asked.notes),
        )

    fitting = [apply(each) for each in found]
    if not asked.types or not any(each.type in asked.types for each in fitting):
        return fitting
    # A line that starts one language's server says that the other manifests are for something else.
    return [each if each.type in asked.types else replace(each, sure="guess") for each in fitting]


def _beside_a_server(tree: Tree, candidate: Detected, found: Sequence[Detected]) -> Detected:
    """Beside a server in another language, package.json most likely builds what that server sends."""
    if "build" not in dig_table(tree.parsed("package.json"), "scripts"):
        return candidate
    if candidate.type == "static":
        is_sent = any(each.type not in ("node", "python", *_NO_COMMAND) and each.sure == "certain" for each in found)
        return replace(candidate, sure="guess") if is_sent else candidate
    if candidate.type == "node":
        return candidate
    note = "package.json has a script build, which is not run: commit its result, or add a Dockerfile that runs it."
    return replace(candidate, notes=(*candidate.notes, note))


def _pages(tree: Tree, found: Sequence[Detected], wanted: BuildType) -> list[Detected]:
    """Plain files: index.html at the top, or in a folder where nothing else was found."""
    is_wanted = wanted == "static"
    if not (wanted == "auto" or is_wanted) or any(each.type == "static" for each in found):
        return []
    if "index.html" in tree.top:
        return [Detected("static", "guess" if found else "certain", ("index.html is there",))]
    in_folders = [folder for folder in _PAGES if f"{folder}/index.html" in tree.listing]
    if in_folders and not found and (is_wanted or not folders.project_folders(tree, beside=True)):
        folder, *others = in_folders
        notes = tuple(f"{other}/index.html is there as well." for other in others)
        return [Detected("static", "likely", (f"{folder}/index.html is there",), output=folder, notes=notes)]
    if is_wanted and tree.listing and "package.json" not in tree.top:
        return [Detected("static", "guess", (), notes=("There is no index.html: nothing answers at /.",))]
    return []
