"""The template of Java: Maven, or Gradle by the wrapper in the source; run by a Java runtime without compiler.

Called by `dockerfiles`. Pure. One runnable jar is expected, as Spring Boot's plugins make it.
"""

from __future__ import annotations

from reconciler.desired.dockerfiles.parts import COPY_ALL, Source, Text, Unbuildable, copy, copy_from, lines

_GRADLE = ("build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts", "gradle.properties")
# Java's own limit is a quarter of the memory that the container has.
_JAVA = ("java", "-XX:MaxRAMPercentage=75", "-jar", "/app/app.jar")


def java(source: Source) -> Text:
    """Build stage with the JDK, final stage with the runtime. Raises `Unbuildable` without a build that can run."""
    module = source.detected.target
    folder = f"/src/{module}" if module else "/src"
    if source.detected.manager == "maven":
        kind, steps, jars = "maven", _maven(source, module), f"{folder}/target/*.jar"
    elif source.has("gradlew"):
        kind, steps, jars = "java", _gradle(source, module), f"{folder}/build/libs/*.jar"
    else:
        raise Unbuildable("has no gradlew", "commit the wrapper that gradle wrapper makes")
    text = lines(
        source.head(source.base("jre"), builder=source.base(kind)),
        "WORKDIR /src",
        steps,
        "",
        "FROM ${BASE}",
        source.packages(),
        source.environment(SERVER_PORT=str(source.spec.run.port)),
        "WORKDIR /app",
        "# One runnable jar; a build that leaves several needs a Dockerfile of its own.",
        copy_from("build", jars, "/app/app.jar"),
        source.foot(_JAVA),
    )
    return Text(text, language="java", base="java")


def _maven(source: Source, module: str) -> list[str]:
    cache = source.cache("maven", "/root/.m2")
    is_single = not any(each.endswith("/pom.xml") for each in source.files.listing)
    maven = ["mvn", "-B", "-ntp"]
    first = [copy(["pom.xml"]), source.run([*maven, "dependency:go-offline"], cache)] if is_single else []
    only = [f"--projects={module}", "--also-make"] if module else []
    return [*first, COPY_ALL, source.run([*maven, "-DskipTests", *only, "package"], cache)]


def _gradle(source: Source, module: str) -> list[str]:
    cache = source.cache("gradle", "/root/.gradle")
    gradle = ["sh", "gradlew", "--no-daemon", "--console=plain"]
    task = "bootJar" if source.detected.framework == "Spring Boot" else "assemble"
    return [
        copy([*(each for each in _GRADLE if source.has(each)), "gradlew"]),
        copy(["gradle/"], "./gradle/"),
        "# Gradle itself, so that only a newer wrapper fetches it again.",
        source.run([*gradle, "--version"], cache),
        COPY_ALL,
        source.run([*gradle, f":{module}:{task}" if module else task], cache),
    ]
