"""What source trees are taken for: a table of small trees (tests/cases_detection), and what holds for all of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from reconciler.desired.base_names import own_base
from reconciler.desired.detection import detect, unrecognised
from reconciler.desired.detection.manifests import (
    LONGEST_TEXT,
    MANIFESTS,
    MOST_TEXTS,
    parse_json,
    parse_toml,
    read_texts,
    wanted_texts,
    xml_values,
)
from reconciler.desired.detection.report import facts, render
from reconciler.desired.dockerfiles import dockerfile_for
from reconciler.model.condition import Reason
from reconciler.model.desired import Dockerfile, SourceProblem
from reconciler.model.detection import Detection, SourceFiles
from reconciler.model.spec import BuildSpec, BuildType, ProjectSpec, SourceSpec

CASES = sorted((Path(__file__).parents[1] / "cases_detection").glob("*.yaml"))
TYPES: tuple[BuildType, ...] = get_args(BuildType)


def spec(build_type: BuildType = "auto", *, path: str = ".", dockerfile: str = "Dockerfile") -> ProjectSpec:
    build = BuildSpec(build_type, dockerfile=dockerfile)
    return ProjectSpec("blog", "b10b", SourceSpec("/srv/git/x.git", path=path), build)


def tree(texts: Mapping[str, str], *names: str) -> SourceFiles:
    """A source tree of files with texts and of files whose texts nobody reads."""
    listing = frozenset([*texts, *names])
    return SourceFiles(listing, read_texts(listing, texts.get))


def case_files(case: Mapping[str, Any]) -> SourceFiles:
    names = [*(case.get("files") or "").split(), *(case.get("unread") or "").split()]
    return tree(case.get("texts") or {}, *names)


def detect_case(case: Mapping[str, Any]) -> Detection:
    options = {key: case[key] for key in ("wanted", "dockerfile") if key in case}
    return detect(case_files(case), **options)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_tree_is_taken_for_what_its_case_says(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    assert set(case) <= {"about", "wanted", "dockerfile", "files", "unread", "texts", "says"}
    assert render(detect_case(case)) == case["says"]


def test_the_table_holds_the_named_frameworks_and_enough_of_what_is_hostile() -> None:
    names = [path.stem for path in CASES]
    assert len(names) >= 140
    assert sum(name.startswith("hostile-") for name in names) >= 8
    said = "".join(path.read_text().partition("says:")[2] for path in CASES)
    for title in (
        *("Vite", "Astro", "Create React App", "Eleventy", "Next.js", "Nuxt", "Express", "Fastify", "NestJS"),
        *("SvelteKit", "Django", "Flask", "FastAPI", "Starlette", "Quart", "Litestar", "Spring Boot", "Laravel"),
        *("Rails", "Sinatra"),
    ):
        assert f"({title})" in said
    for manager in ("npm", "pnpm", "yarn", "pip", "uv", "poetry", "pdm", "pipenv", "maven", "gradle", "cargo"):
        assert f" manager  {manager}\n" in said


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_candidate_has_a_dockerfile_or_a_sentence_that_says_what_is_missing(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    files, detection = case_files(case), detect_case(case)
    wanted = spec(case.get("wanted", "auto"), dockerfile=case.get("dockerfile", "Dockerfile"))
    for each in [detection.chosen, *detection.others]:
        if each is None:
            continue
        own = "FROM scratch\n" if wanted.build.dockerfile in files.listing else None
        made = dockerfile_for(wanted, files, each, repo_dockerfile=own, base_name=own_base, cache_id="k3v9qa-blog")
        assert isinstance(made, Dockerfile) or made.reason is Reason.SOURCE_UNUSABLE
        if each.sure == "certain":
            assert isinstance(made, Dockerfile), made


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_writing_the_detected_type_into_the_spec_finds_the_very_same(path: Path) -> None:
    """No rebuild and no other Dockerfile, only because a person wrote down what was detected."""
    case = yaml.safe_load(path.read_text())
    files, dockerfile = case_files(case), case.get("dockerfile", "Dockerfile")
    chosen = detect(files, dockerfile=dockerfile).chosen
    if chosen is None:
        return
    asked = detect(files, wanted=chosen.type, dockerfile=dockerfile).chosen
    assert asked is not None
    told = [each for each in chosen.notes if "set build.type" not in each]
    assert replace(asked, sure=chosen.sure) == replace(chosen, notes=tuple(told))


def test_a_listing_alone_is_enough_to_recognise_what_names_tell() -> None:
    names = {
        "dockerfile": ["Dockerfile", "app.py"],
        "static": ["index.html"],
        "django": ["manage.py", "shop/wsgi.py"],
        "go": ["go.mod", "main.go"],
        "java": ["pom.xml"],
        "php": ["composer.json", "index.php"],
        "ruby": ["Gemfile", "config.ru"],
        "python": ["requirements.txt", "main.py"],
        "node": ["package.json", "index.js"],
    }
    for kind, listing in names.items():
        chosen = detect(SourceFiles(frozenset(listing))).chosen
        assert chosen is not None
        assert chosen.type == kind


def test_the_facts_of_a_detection_are_those_of_its_text() -> None:
    files = tree({"go.mod": "module x\ngo 1.22\n", "main.go": "package main\n"}, "index.html")
    told = facts(detect(files))
    assert json.loads(json.dumps(told)) == told
    chosen, (other,) = told["chosen"], told["others"]  # type: ignore[misc]
    assert isinstance(chosen, dict)
    assert (chosen["type"], chosen["version"], chosen["target"], chosen["sure"]) == ("go", "1.22", ".", "certain")
    assert other["type"] == "static"
    assert facts(Detection()) == {"chosen": None, "others": [], "hints": []}


def test_a_word_with_a_space_is_shown_as_one() -> None:
    files = tree({"Procfile": "web: python -c 'import this'\n", "main.py": ""})
    assert 'starts   python -c "import this"' in render(detect(files))


# ---- nothing recognised --------------------------------------------------------------------


def problem(files: SourceFiles, wanted: BuildType = "auto", path: str = ".") -> SourceProblem:
    found = unrecognised(spec(wanted, path=path), detect(files, wanted=wanted, within=path), is_empty=not files.listing)
    assert found.reason is Reason.SOURCE_UNUSABLE
    return found


def test_nothing_recognised_says_what_was_looked_for_and_what_to_do() -> None:
    text = problem(tree({}, "README.md")).message
    assert text.startswith("The source (/srv/git/x.git, branch main) was not recognised: looked for a Dockerfile, ")
    assert "build.type" in text


def test_nothing_recognised_names_the_folders_of_a_monorepo() -> None:
    text = problem(tree({}, "services/blog/go.mod", "services/shop/package.json"), path="all").message
    assert "folder all" in text
    assert "all/services/blog (go.mod), all/services/shop (package.json); to build one, set source.path: all/s" in text


def test_no_ground_for_the_type_of_the_spec_says_so() -> None:
    assert "nothing that build.type rust could be made of" in problem(tree({}, "index.html"), "rust").message


def test_an_empty_source_is_told_as_such() -> None:
    assert "has no files: push some" in problem(SourceFiles(frozenset())).message


# ---- what is read --------------------------------------------------------------------------


def test_few_texts_are_wanted_and_only_of_files_that_are_there() -> None:
    listing = frozenset(
        [
            *("package.json", "pyproject.toml", "crates/a/Cargo.toml", "app/main.py", "README.md", "tests/main.py"),
            *(f"pkg{number}/__init__.py" for number in range(100)),
            *(f"m{number}/Cargo.toml" for number in range(100)),
            *(f"tool{number}.py" for number in range(100)),
            *("node_modules/x/package.json", ".hidden/app.py", "a/b/c/d/main.py", "$(id)/app.py"),
        ]
    )
    wanted = wanted_texts(listing)
    assert wanted[:2] == ("package.json", "pyproject.toml")
    assert set(wanted) <= listing
    assert len(wanted) == len(set(wanted)) <= MOST_TEXTS
    assert "app/main.py" in wanted
    for unwanted in ("README.md", "tests/main.py", "node_modules/x/package.json", ".hidden/app.py", "$(id)/app.py"):
        assert unwanted not in wanted


def test_a_text_that_is_too_long_or_none_is_left_out_and_a_lock_is_cut() -> None:
    texts = {"package.json": "x" * (LONGEST_TEXT + 1), "yarn.lock": "__metadata:\n" + "x" * 10_000_000, "main.py": "y"}
    read = read_texts(frozenset([*texts, "requirements.txt"]), texts.get)
    assert set(read) == {"yarn.lock", "main.py"}
    assert read["yarn.lock"].startswith("__metadata:")
    assert len(read["yarn.lock"]) < 10_000


@pytest.mark.parametrize(
    "text", ["{", "[1]", '"x"', "[" * 200_000, '{"a":' * 100_000, "1" * 5_000, '{"a": 1e99999999999}x', "\ud800"]
)
def test_json_that_is_no_object_is_told_and_harms_nobody(text: str) -> None:
    assert isinstance(parse_json(text), str)


@pytest.mark.parametrize(
    "text",
    [
        *("a = ", "[a]\n[a]\n", f"a = {'[' * 60_000}", f"{'a.' * 60_000}b = 1", f"a = {'{b=' * 40_000}", "\x00"),
        f"a = {'9' * 100_000}",
        "x" * 200_000,
    ],
)
def test_toml_that_is_no_table_is_told_and_harms_nobody(text: str) -> None:
    begun = time.process_time()
    assert isinstance(parse_toml(text), str)
    assert time.process_time() - begun < 5


def test_the_heaviest_toml_that_is_read_takes_little_time() -> None:
    """Processor time is measured here and below, since others work on the machine. tomllib's grows with the square
    of the parts of a key: as many as we let through, on every line.
    """
    key = ".".join("abcdefghij"[number % 10] for number in range(500))
    text = "".join(f"k{number}.{key} = 1\n" for number in range(120))
    begun = time.process_time()
    assert isinstance(parse_toml(text), dict)
    assert time.process_time() - begun < 10


def test_xml_is_searched_without_entities_and_comments() -> None:
    pom = "<!ENTITY x 'y'><a> 1 </a><!-- <a>2</a> --><a>&x;</a><a>3</a><!-- <a>4</a>"
    assert xml_values(pom, "a") == ("1", "3")
    assert xml_values("<!--" * 60_000 + "<a>1</a>", "a") == ()
    assert xml_values("<a>" * 60_000, "a") == ()


def test_a_byte_order_mark_is_no_error() -> None:
    assert parse_json('\ufeff{"a": 1}') == {"a": 1}
    assert parse_toml("\ufeffa = 1") == {"a": 1}


# ---- size ----------------------------------------------------------------------------------


def test_a_hundred_thousand_files_are_looked_at_in_a_moment() -> None:
    names = [f"src/pages/section{number % 300}/item-{number}.py" for number in range(60_000)]
    names += [f"cmd/tool{number}/main.go" for number in range(20_000)]
    names += [f"{number}/\n{{env.SECRET}}/Cargo.toml" for number in range(20_000)]
    listing = frozenset([*names, "go.mod", "requirements.txt"])
    begun = time.process_time()
    found = detect(SourceFiles(listing, read_texts(listing, lambda name: "x\n" * 1000)))
    assert time.process_time() - begun < 5
    assert found.chosen is not None
    assert len(render(found)) < 5_000


def test_manifests_at_their_longest_are_looked_at_in_a_moment() -> None:
    """Every text that is read at its longest, filled with what each pattern likes best."""
    fillers = (
        *("a", '"', "'", "\n", " ", "\t", "\n'", "' ", "app = ", "<a>", "<!--", "<module>", "from x import a, ", "1."),
        *("def ", "web: ", "$", "(", "ruby (", "gem '", "output :", "root ", "channel=", "[", "# ", "a:", "\r"),
    )
    listing = frozenset([*MANIFESTS, "app.py", "main.py", "wsgi.py", "server.go", "Procfile", "a/Cargo.toml"])
    for filler in fillers:
        text = (filler * LONGEST_TEXT)[:LONGEST_TEXT]
        begun = time.process_time()
        for wanted in ("auto", "python", "java"):
            detect(SourceFiles(listing, dict.fromkeys(listing, text)), wanted=wanted)
        assert time.process_time() - begun < 5, filler
