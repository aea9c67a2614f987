"""Recognises Java projects that Maven or Gradle builds.

Called by `detection`. Pure. Build files are searched as text, never run or parsed as XML.
"""

from __future__ import annotations

import re

from reconciler.desired.detection import versions
from reconciler.desired.detection.manifests import xml_values
from reconciler.desired.detection.tree import Tree
from reconciler.model.detection import Detected, Sureness
from reconciler.model.spec import BuildType

TYPES: tuple[BuildType, ...] = ("java",)
_FRAMEWORKS = {
    "org.springframework.boot": "Spring Boot",
    "io.quarkus": "Quarkus",
    "io.micronaut": "Micronaut",
    "io.ktor": "Ktor",
    "io.javalin": "Javalin",
}
_MODULE = re.compile(r"([^/]+)/build\.gradle(?:\.kts)?")
_IS_PROGRAM = re.compile(r"spring-boot-maven-plugin|org\.springframework\.boot|\bapplication\b|mainClass|bootJar")
_GRADLE_FILES = ("build.gradle.kts", "build.gradle", "settings.gradle.kts", "settings.gradle")
_WAR = "Its packaging is war, which needs a servlet container: add a Dockerfile if it does not start."


def find(tree: Tree, wanted: BuildType) -> list[Detected]:
    """The Java candidate; where both are there, Maven builds it."""
    gradle = tree.first(*_GRADLE_FILES)
    if "pom.xml" in tree.top:
        modules = [name for name in xml_values(tree.text("pom.xml"), "module") if f"{name}/pom.xml" in tree.near]
        notes = [_WAR] if "war" in xml_values(tree.text("pom.xml"), "packaging") else []
        notes += [f"{gradle} is not used beside pom.xml: remove one."] if gradle else []
        return [_java(tree, "maven", "pom.xml", modules=modules, notes=notes)]
    if not gradle:
        return []
    inner = (match[1] for path in tree.near if (match := _MODULE.fullmatch(path)) and match[1] != "buildSrc")
    runs_itself = gradle.startswith("build.") and _IS_PROGRAM.search(tree.text(gradle))
    return [_java(tree, "gradle", gradle, modules=[] if runs_itself else list(dict.fromkeys(inner)), notes=[])]


def _java(tree: Tree, manager: str, manifest: str, *, modules: list[str], notes: list[str]) -> Detected:
    programs = [name for name in modules if _IS_PROGRAM.search(_of_module(tree, name))]
    target = next(iter(programs or modules), "")
    texts = "\n".join([tree.text(manifest), *(_of_module(tree, name) for name in modules)])
    framework = next((title for group, title in _FRAMEWORKS.items() if group in texts), "")
    files = [f"{target}/build.gradle.kts", f"{target}/build.gradle"] if target else []
    version = versions.java_version(tree, [*_GRADLE_FILES, *files])
    wrapper = tree.first("mvnw" if manager == "maven" else "gradlew")
    told = [f"{manifest} is there", *([f"{wrapper} is there"] if wrapper else [])]
    told += [f"{target} is the module that runs"] if target else []
    others = [name for name in programs or modules if name != target]
    if others:
        notes.append(f"It holds other modules as well ({', '.join(others[:5])}): to run one of them, add a Dockerfile.")
    sure: Sureness = "certain" if framework and not others else "likely"
    return Detected(
        "java",
        sure,
        tuple(told),
        framework=framework,
        manager=manager,
        version=version.text,
        version_from=version.origin,
        target=target,
        notes=(*notes, *version.notes),
    )


def _of_module(tree: Tree, name: str) -> str:
    return tree.text(f"{name}/pom.xml", f"{name}/build.gradle.kts", f"{name}/build.gradle")
