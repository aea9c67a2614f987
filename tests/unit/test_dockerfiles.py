"""Dockerfiles written from small source trees: compared with golden files, and held to rules that go for all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from reconciler.desired.base_images import bases_of, copied_by
from reconciler.desired.base_names import PUBLIC, own_base, public_base
from reconciler.desired.dockerfiles import GENERATED_PATH, dockerfile_for
from reconciler.desired.dockerfiles.ignore import ignore_for
from reconciler.desired.dockerfiles.parts import is_harmless
from reconciler.model.condition import Reason
from reconciler.model.desired import AskedVersion, Dockerfile, SourceProblem
from reconciler.model.detection import Detected, SourceFiles
from reconciler.model.spec import BuildSpec, BuildType, HealthSpec, ProjectSpec, RunSpec, SourceSpec
from tests.golden_sources import CASES, FLASK, GOLDEN, Case, detected, made, package, project, text_of

KEYWORDS = {"ARG", "FROM", "ENV", "RUN", "COPY", "WORKDIR", "USER", "HEALTHCHECK", "CMD"}


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(name, rest) of each; continued lines joined, comments left out."""
    joined = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    for line in joined.splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest


def argv(rest: str) -> list[str]:
    """The JSON words at the end of RUN, CMD or HEALTHCHECK; fails where there are none."""
    words = json.loads(rest[rest.index("[") :])
    assert all(isinstance(each, str) for each in words)
    return list(words)


def done(case: Case) -> Dockerfile:
    dockerfile = made(case)
    assert isinstance(dockerfile, Dockerfile), dockerfile
    return dockerfile


def refused(case: Case) -> str:
    problem = made(case)
    assert isinstance(problem, SourceProblem), problem
    assert problem.reason is Reason.SOURCE_UNUSABLE
    return problem.message


# ---- golden files --------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_a_source_tree_gives_this_very_dockerfile(name: str) -> None:
    assert text_of(name) == (GOLDEN / f"{name}.Dockerfile").read_text(), "meant? python -m tests.golden_sources"


def test_there_is_no_golden_file_without_its_tree() -> None:
    assert {path.stem for path in GOLDEN.glob("*.Dockerfile")} == set(CASES)
    assert len(CASES) >= 25


@pytest.mark.parametrize("name", CASES)
def test_every_template_keeps_the_rules(name: str) -> None:
    text = text_of(name)
    steps = list(instructions(text))
    assert steps[0][0] == "ARG"
    assert steps[0][1].startswith("BASE=")
    assert {each for each, _ in steps} <= KEYWORDS, "no ADD, no ONBUILD, nothing that fetches an address"
    for keyword, rest in steps:
        if keyword in ("RUN", "CMD", "HEALTHCHECK"):
            assert argv(rest), f"exec form: {rest}"
    for mount in re.findall(r"type=cache\S*", text):
        assert re.search(r",id=gitstead-[a-z-]+-k3v9qa-shop,target=/\S+,sharing=locked\Z", mount), mount
    assert [rest for keyword, rest in steps if keyword == "USER"] == ["10001:10001"]
    assert all("PORT=" in rest for keyword, rest in steps if keyword == "ENV" and "PORT" in rest)
    assert "\n\nFROM ${" in text


@pytest.mark.parametrize("name", CASES)
def test_every_image_can_be_checked_from_within_or_says_why_not(name: str) -> None:
    text = text_of(name)
    if name.startswith("static") or name == "registry-vite":
        assert "# Caddy is the only program in this image" in text
    else:
        assert "HEALTHCHECK --interval=2m --timeout=5s --start-period=1m" in text


@pytest.mark.parametrize("name", CASES)
def test_a_script_that_a_shell_reads_is_fixed_text(name: str) -> None:
    """Words of the source are its arguments, so that no shell parses them."""
    steps = [argv(rest) for keyword, rest in instructions(text_of(name)) if keyword == "RUN"]
    for script in {words[2] for words in steps if words[:2] == ["sh", "-c"]}:
        assert "shop" not in script
        assert "libpq5" not in script


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("registry")])
def test_without_a_registry_only_images_of_our_own_are_begun_from(name: str) -> None:
    bases = done(CASES[name]).bases
    assert bases
    assert all(each.startswith("gitstead/base-") for each in bases)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("flask-requirements", '"-r", "requirements.txt"'),
        ("flask-uv", '"sync"'),
        ("flask-poetry", '"--only=main"'),
        ("node-express-npm", '"ci"'),
        ("node-fastify-pnpm", '"--frozen-lockfile"'),
        ("ruby-rails", '"bundle", "install"'),
    ],
)
def test_manifests_are_installed_before_the_source_is_copied(name: str, step: str) -> None:
    build = text_of(name).split("\n\n")[1]
    installed = build.index(step)
    assert build.index("COPY [") < installed
    assert '"."' not in build[:installed]


# ---- names, versions, arguments ------------------------------------------------------------


def test_public_bases_have_the_version_that_is_asked_for() -> None:
    assert public_base("python", "3.12.4") == "python:3.12-slim"
    assert public_base("python", ">=3.10,<3.13") == "python:3.12-slim"
    assert public_base("python", "^3.11") == "python:3.13-slim"
    assert public_base("python", "3.8") == "python:3.8-slim"
    assert public_base("python", "") == "python:3.13-slim"
    assert public_base("node", "lts/iron") == "node:20-slim"
    assert public_base("node", ">=18 <21 || 22.x") == "node:22-slim"
    assert public_base("maven", "17") == "maven:3-eclipse-temurin-21"
    assert public_base("php", "^8.1") == "php:8.4-apache"
    assert public_base("ruby", "~> 3.2.1") == "ruby:3.2-slim"
    assert public_base("go", "1.22") == "golang:1"


def test_only_node_comes_in_several_versions_of_our_own() -> None:
    assert own_base("node", "") == own_base("node", ">=18") == "gitstead/base-node"
    assert own_base("node", "20.11.1") == "gitstead/base-node:20"
    assert own_base("node", "99") == "gitstead/base-node"
    assert own_base("python", "3.12") == own_base("python-build", "") == "gitstead/base-python"


def test_no_name_of_an_image_holds_a_registry_host() -> None:
    names = [base(kind, "1") for kind in PUBLIC for base in (own_base, public_base)]
    assert all(each.startswith("gitstead/base-") or "/" not in each for each in names)


def test_the_version_that_is_asked_for_goes_with_the_dockerfile() -> None:
    case = Case({"app.py": FLASK, "requirements.txt": "flask", ".python-version": "3.12\n"})
    assert done(case).asked == AskedVersion("python", "3.12", ".python-version", "gitstead/base-python")
    assert "# The source asks for version 3.12 (.python-version)." in text_of("flask-requirements")
    assert done(Case({"app.py": FLASK})).asked is None


def test_build_arguments_are_declared_and_go_before_defaults() -> None:
    case = Case({"app.py": FLASK}, build={"args": {"BASE": "gitstead/base-own", "INDEX": "x"}})
    dockerfile = done(case)
    assert dockerfile.text is not None
    assert "FROM ${BASE} AS build\nARG BASE\nARG INDEX\n" in dockerfile.text
    assert dockerfile.bases == ("gitstead/base-own",)
    own = Case({"Dockerfile": "ARG V=1\nFROM alpine:$V\n"}, build={"args": {"V": "3"}})
    assert done(own).bases == ("alpine:3",)


def test_build_secrets_are_mounted_where_packages_are_installed_and_never_copied() -> None:
    text = text_of("python-args-secrets")
    assert "--mount=type=secret,id=TOKEN \\\n" in text
    assert "--mount=type=secret,id=pip.conf,target=/etc/pip.conf" in text
    assert "age:" not in text


def test_the_port_of_the_spec_stands_in_the_command() -> None:
    assert '"--port=3000"' in text_of("fastapi-pip")
    assert 'CMD ["python", "serve.py", "--port", "8000"]' in text_of("python-procfile")


@pytest.mark.parametrize(
    ("name", "line", "command"),
    [
        ("flask-uv", "uv run --no-dev gunicorn app:app", ["gunicorn", "app:app"]),
        ("flask-poetry", "poetry run flask run --port $PORT", ["flask", "run", "--port", "8000"]),
        ("node-fastify-pnpm", "pnpm start", ["npm", "run", "start"]),
        ("node-fastify-pnpm", "yarn run serve --port ${PORT}", ["npm", "run", "serve", "--", "--port", "8000"]),
        (
            "java-maven-spring",
            "java -Xmx100m -jar target/shop-1.jar",
            ["java", "-XX:MaxRAMPercentage=75", "-jar", "/app/app.jar"],
        ),
        ("java-maven-spring", "./mvnw spring-boot:run", ["java", "-XX:MaxRAMPercentage=75", "-jar", "/app/app.jar"]),
        ("go-top", "bin/server --fast", ["server", "--fast"]),
    ],
)
def test_a_procfile_s_line_is_started_with_what_the_running_image_has(name: str, line: str, command: list[str]) -> None:
    case = CASES[name]
    text = done(replace(case, files={**case.files, "Procfile": f"web: {line}\n"})).text
    assert text is not None
    assert argv(dict(instructions(text))["CMD"]) == command


# ---- what cannot be built ------------------------------------------------------------------


def test_a_repository_s_own_dockerfile_is_used_as_it_is() -> None:
    dockerfile = done(Case({"Dockerfile": "FROM alpine:3\n", "index.html": ""}))
    assert (dockerfile.path, dockerfile.text, dockerfile.bases) == ("Dockerfile", None, ("alpine:3",))


def test_a_missing_dockerfile_is_told_with_the_candidates() -> None:
    message = refused(Case({"web.Dockerfile": "", "docker/Dockerfile": "", "app.py": ""}, "dockerfile"))
    assert "/srv/git/shop.git, branch main) has no Dockerfile" in message
    assert "set build.dockerfile to docker/Dockerfile or web.Dockerfile" in message
    assert "add one, or choose another build.type" in refused(Case({"app.py": ""}, "dockerfile"))


def test_a_dockerfile_that_is_no_text_is_told() -> None:
    case = Case({"Dockerfile": ""}, "dockerfile")
    problem = dockerfile_for(
        project(case), SourceFiles(frozenset({"Dockerfile"})), detected(case), repo_dockerfile=None,
        base_name=own_base, cache_id="x",
    )  # fmt: skip
    assert isinstance(problem, SourceProblem)
    assert "has Dockerfile, but it is a link or no text" in problem.message


def test_an_empty_source_is_told() -> None:
    spec = ProjectSpec("blog", "b10b", SourceSpec("/srv/git/x.git", path="web"), BuildSpec("static"))
    problem = dockerfile_for(
        spec, SourceFiles(frozenset()), Detected("static", "guess", ()), repo_dockerfile=None,
        base_name=own_base, cache_id="x",
    )  # fmt: skip
    assert isinstance(problem, SourceProblem)
    assert "folder web) has no files (build.type static): push some" in problem.message


@pytest.mark.parametrize(
    ("kind", "files", "told"),
    [
        ("static", {"docs/a/index.html": ""}, "set source.path to the folder that has one (docs/a)"),
        ("static", {"a.txt": ""}, "add one, or set health.path"),
        ("static", {"package.json": package(devDependencies={"vite": "6"}), "index.html": ""}, 'no script "build"'),
        (
            "node",
            {"package.json": package(dependencies={"express": "4"})},
            "has no start script, server.js or index.js",
        ),
        ("python", {"requirements.txt": ""}, "add one, or set run.command"),
        ("go", {"go.mod": "module x\n"}, "has no program of package main"),
        ("rust", {"Cargo.toml": "[workspace]\n"}, "has no program in Cargo.toml"),
        ("java", {"build.gradle": ""}, "has no gradlew (build.type java): commit the wrapper"),
        ("php", {"composer.json": "{}"}, "has no index.php"),
        ("ruby", {"Gemfile": ""}, "has no config.ru, app.rb or Procfile"),
    ],
)
def test_what_is_missing_is_told_with_what_to_do(kind: BuildType, files: dict[str, str], told: str) -> None:
    assert told in refused(Case(files, kind))


def test_a_command_of_the_spec_starts_what_nothing_else_tells() -> None:
    case = Case({"requirements.txt": "", "x.py": ""}, "python", run=RunSpec(command=("python", "x.py")))
    text = done(case).text
    assert text is not None
    assert not re.search(r"^CMD", text, re.MULTILINE)


def test_a_site_without_a_page_at_its_top_may_answer_elsewhere() -> None:
    files = SourceFiles(frozenset({"a.txt"}))
    spec = replace(project(Case({}, "static")), health=HealthSpec(path="/a.txt"))
    site = dockerfile_for(
        spec, files, Detected("static", "guess", ()), repo_dockerfile=None, base_name=own_base, cache_id="x"
    )
    assert isinstance(site, Dockerfile)
    assert site.path == GENERATED_PATH


# ---- hostile names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["a\nRUN x", "a b", "$X", "a*", "a?", '"a', "../x", "a/../b", "-x", "[a", "a\\b", ".", ""]
)
def test_a_path_that_could_mean_something_else_is_not_harmless(path: str) -> None:
    assert not is_harmless(path)


@pytest.mark.parametrize("path", ["package.json", ".npmrc", "a/b-c.d/", "@x/y", ".yarn/releases/", "requirements+.txt"])
def test_a_usual_path_is_harmless(path: str) -> None:
    assert is_harmless(path)


def test_a_file_name_never_reaches_an_instruction() -> None:
    odd = dict.fromkeys(("requirements\nRUN evil.txt", "requirements; evil.txt", "requirements/\nRUN evil.txt"), "")
    text = done(Case({"main.py": "", "requirements.txt": "", **odd})).text
    assert text is not None
    assert "evil" not in text


def test_words_of_the_source_cannot_end_a_comment_or_a_step() -> None:
    hostile = Detected(
        "python", "certain", (), framework="x\nRUN evil", version="3\nRUN evil", version_from="y\nRUN evil",
        command=("python", "a\nRUN evil"), target="x",
    )  # fmt: skip
    case = Case({"main.py": "", "Aptfile": "good\nevil; rm\n--evil\n$(evil)\n"}, "python")
    files = SourceFiles(frozenset(case.files), case.files)
    dockerfile = dockerfile_for(project(case), files, hostile, repo_dockerfile=None, base_name=own_base, cache_id="x")
    assert isinstance(dockerfile, Dockerfile)
    assert dockerfile.text is not None
    steps = list(instructions(dockerfile.text))
    assert {keyword for keyword, _ in steps} <= KEYWORDS
    assert not any(keyword == "RUN" and "evil" in rest for keyword, rest in steps)


def test_a_site_s_folder_that_could_mean_something_else_is_refused() -> None:
    case = Case({"package.json": "{}", "index.html": ""}, "static")
    found = Detected("static", "certain", (), manager="npm", output="../etc", target="build")
    problem = dockerfile_for(
        project(case), SourceFiles(frozenset(case.files)), found, repo_dockerfile=None, base_name=own_base, cache_id="x"
    )
    assert isinstance(problem, SourceProblem)
    assert "give it a plain name, such as dist" in problem.message


def test_a_cache_id_that_could_end_the_mount_is_refused() -> None:
    with pytest.raises(ValueError, match="cache id"):
        dockerfile_for(
            project(Case({})), SourceFiles(frozenset({"a"})), Detected("static", "guess", ()),
            repo_dockerfile=None, base_name=own_base, cache_id="a,target=/",
        )  # fmt: skip


# ---- .dockerignore -------------------------------------------------------------------------


def test_what_people_leak_stays_out_where_the_source_has_no_dockerignore() -> None:
    case = Case({"app.py": FLASK, ".env": "", ".env.example": "", "certs/server.pem": "", "node_modules/x/a.js": ""})
    dockerfile = done(case)
    assert "**/.env\n**/.env.*\n" in dockerfile.ignore
    assert "!**/.env.example\n" in dockerfile.ignore
    told = dockerfile.notes[-1]
    assert told == (
        "The source has no .dockerignore: left out of the image, as keys or made anew: "
        ".env, certs/server.pem, node_modules/x/a.js."
    )


def test_a_dockerignore_of_the_source_s_own_is_left_alone() -> None:
    assert done(Case({"app.py": FLASK, ".dockerignore": ""})).ignore == ""
    own = {"Dockerfile": "FROM alpine\n", "Dockerfile.dockerignore": ""}
    assert done(Case(own)).ignore == ""


def test_what_a_dockerfile_copies_by_name_is_never_left_out() -> None:
    dockerfile = done(
        Case({"Dockerfile": "FROM a\nCOPY .env certs /x/\nADD ./id_rsa /y\nCOPY . .\n", "certs/a.pem": "", "b.key": ""})
    )
    for kept in ("**/.env\n", "**/*.pem\n", "**/id_rsa\n"):
        assert kept not in dockerfile.ignore
    assert "**/*.key\n" in dockerfile.ignore
    assert "b.key" in dockerfile.notes[-1]


def test_a_build_that_reads_env_files_gets_them_but_for_local_ones() -> None:
    ignore = done(CASES["static-vite-npm"]).ignore
    assert "**/.env\n" not in ignore
    assert "**/.env.*.local\n" in ignore


def test_a_plain_site_keeps_its_committed_modules() -> None:
    text, _ = ignore_for(frozenset({"node_modules/a.js"}), (), reads_env=False, keeps_modules=True)
    assert "node_modules" not in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('COPY ["a", "b", "/c/"]\nADD x y /z/\n', ("a", "b", "x", "y")),
        ("COPY --chown=1:1 --link a b\nCOPY --from=build /x /y\n", ("a",)),
        ('COPY ["a", \n', ()),
    ],
)
def test_what_is_copied_of_the_source_is_read(text: str, words: tuple[str, ...]) -> None:
    assert copied_by(text) == words


# ---- bases ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "bases"),
    [
        ("FROM alpine", ("alpine",)),
        ("from --platform=$BUILDPLATFORM golang:1 as build\nFROM scratch\nCOPY --from=build /a /a\n", ("golang:1",)),
        ("FROM a AS one\nFROM one\nFROM b AS two\nFROM a\n", ("a", "b")),
        ("ARG V=3\nARG BASE=alpine:${V}\nFROM ${BASE}\n", ("alpine:3",)),
        ("ARG V='3'\nFROM alpine:$V\n", ("alpine:3",)),
        ('ARG V="3" W=x\nFROM alpine:$V-$W\n', ("alpine:3-x",)),
        ("FROM alpine:${V:-3}\n", ("alpine:3",)),
        ("ARG V\nFROM alpine:$V\n", None),
        ("FROM alpine:${V:+3}\n", None),
        ("FROM alpine\nARG V=3\nFROM b:$V\n", None),
        ("# FROM x\n# syntax=docker/dockerfile:1\n\nFROM \\\n  # a comment\n  alpine \\\n  AS x\n", ("alpine",)),
        ("# escape=`\nFROM `\nalpine\nRUN dir c:\\\nRUN x\n", ("alpine",)),
        ("FROM a\nCOPY --link --from=nginx:1 /x /x\nCOPY --from=0 /y /y\n", ("a", "nginx:1")),
        ("FROM a\nRUN --mount=type=bind,from=tools:2,target=/t id\n", ("a", "tools:2")),
        ("FROM a\nCOPY --from=$X /x /x\n", None),
        ("FROM a\nRUN <<EOF\nFROM b\nEOF\nFROM c\n", ("a", "c")),
        ("FROM scratch\n", ()),
        ("RUN id\n", None),
        ("FROM\n", None),
        ("ARG V=\nFROM ${V:-}\n", None),
        ('FROM ""$\n', None),
        ("", None),
        ("\ufeffFROM alpine\r\n", ("alpine",)),
    ],
)
def test_bases_are_read_where_the_text_says_them(text: str, bases: tuple[str, ...] | None) -> None:
    assert bases_of(text) == bases
