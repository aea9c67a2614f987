"""A revision of the platform repository: all problems at once, in words that help (research/security.md section 4)."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest

from reconciler.desired.documents import parse
from reconciler.desired.report import as_json, render_diagnostics
from reconciler.desired.schema_check import check
from reconciler.desired.validation import MAX_PROJECTS, FileKind, SpecCache, SpecFile, Validation, validate
from reconciler.model.spec import Diagnostic, Location, PlatformSpec

PLATFORM = "apiVersion: gitstead/v1\nkind: Platform\ndomain: apps.example.com\n"
HEAD = "apiVersion: gitstead/v1\nkind: Project\nsource: {repo: /srv/git/x.git}\nbuild: {type: static}\n"
EXAMPLES = Path(__file__).parents[2] / "examples" / "platform-repo"


def file(text: str | bytes, kind: FileKind = "file") -> SpecFile:
    data = text.encode() if isinstance(text, str) else text
    return SpecFile(hashlib.sha1(data, usedforsecurity=False).hexdigest(), data, kind)


def repository(**projects: str) -> dict[str, SpecFile]:
    files = {f"projects/{name}.yaml": file(HEAD + text) for name, text in projects.items()}
    return {"platform.yaml": file(PLATFORM), **files}


def messages(validation: Validation) -> list[str]:
    return [str(each) for each in validation.diagnostics]


def of(text: str) -> list[str]:
    """The problems of a project whose further lines are `text`, without the file's name."""
    return [each.removeprefix("projects/blog.yaml:") for each in messages(validate(repository(blog=text)))]


def test_the_example_platform_is_valid() -> None:
    paths = [path for path in EXAMPLES.rglob("*") if path.is_file()]
    validation = validate({str(path.relative_to(EXAMPLES)): file(path.read_bytes()) for path in paths})
    assert messages(validation) == []
    assert validation.complete
    assert [(spec.name, spec.build.type) for spec in validation.projects] == [
        ("clock", "dockerfile"), ("guest", "flask"), ("hello", "static"),
    ]  # fmt: skip
    assert validation.projects[2].domains == ("hello.localhost",)


def test_one_bad_project_keeps_no_other_back() -> None:
    """Invariant 3."""
    validation = validate(repository(blog="run: {port: eighty}\n", shop="", docs="a: [\n"))
    assert [spec.name for spec in validation.projects] == ["shop"]
    assert validation.names == {"blog", "docs", "shop"}
    assert [each.project for each in validation.diagnostics] == ["blog", "docs"]
    assert [str(each.location) for each in validation.diagnostics if each.project == "blog"] == [
        "projects/blog.yaml:5:13"
    ]


def test_a_revision_with_unreadable_yaml_or_misnamed_files_is_not_complete() -> None:
    """Invariant 3: then nothing is deleted. A key that is wrong hides no project."""
    assert validate(repository(blog="")).complete
    assert validate(repository(blog="rnu: {}\n")).complete
    assert not validate(repository(blog="a: [\n")).complete
    assert not validate(repository(blog="") | {"projects/Shop.yaml": file(HEAD)}).complete
    assert not validate({"projects/blog.yaml": file(HEAD)}).complete


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run: {port: eighty}", '5:13 run.port is "eighty": a port is a whole number from 1 to 65535'),
        ('run: {port: "80"}', 'run.port is "80": a port is a whole number from 1 to 65535; leave out the quotes: 80'),
        ("run: {port: 80.0}", "run.port is 80.0: a port is a whole number"),
        ("run: {port: 70000}", "run.port is 70000: a port"),
        ("run: {port: true}", "run.port is true: a port"),
        ("rnu: {}", '5:1 "rnu" is not a key of a project. Did you mean "run"?'),
        ("run: {memmory: 1g}", '5:7 "memmory" is not a key of run. Did you mean "memory"?'),
        ("run: {privileged: true}", '"privileged" is not a key of run. Its keys are port, memory'),
        ("run: {network_mode: host}", '"network_mode" is not a key of run.'),
        ("volumes: [/var/run/docker.sock]", '"volumes" is not a key of a project.'),
        ("run:", "5:5 run is empty: run holds keys such as port, memory and env"),
        ("run: [1]", "run is a list: run holds keys"),
        ("run: {memory: 256}", "run.memory is 256: a size is a whole number with a unit"),
        ("run: {memory: 256}", "it needs its unit: 256m"),
        ("run: {memory: 256M}", 'run.memory is "256M": a size'),
        ("run: {memory: 15m}", "from 16m to 1024g"),
        ("run: {cpus: 0}", "run.cpus is 0: a share of processors is a number from 0.01"),
        ("run: {pids: 1}", "run.pids is 1: a limit of processes"),
        ("run: {env: {DEBUG: true}}", 'run.env.DEBUG is true: a variable\'s value is text on one line, or a number; '
         'for the text write "true" in quotes'),
        ("run: {env: {A: }}", 'run.env.A is empty: a variable\'s value is text on one line, or a number; '
         'for an empty text write ""'),
        ("run: {env: {PORT: 80}}", '5:13 "PORT" cannot be a name in run.env: set run.port instead'),
        ("run: {env: {'A=9 X': b}}", '"A=9 X" cannot be a name in run.env: a variable\'s name is letters'),
        ('run: {env: {A: "b\\nc"}}', "run.env.A is \"b\\nc\": a variable's value is text on one line"),
        ("run: {capabilities: [SYS_ADMIN]}", 'run.capabilities[0] is "SYS_ADMIN": the capabilities that an app may'),
        ("run: {capabilities: [CAP_CHOWN]}", 'run.capabilities[0] is "CAP_CHOWN"'),
        ("run: {capabilities: [CHOWN, CHOWN]}", "run.capabilities[1] repeats run.capabilities[0]: remove one"),
        ("run: {command: gunicorn -b 'a b' x}", 'since no shell reads it: write ["gunicorn", "-b", "a b", "x"]'),
        (f"health: {{path: /{'a' * 2000}}}", "at most 1024 characters are read here"),
        ("run: {command: it's}", "run.command is \"it's\": a command is a list, since no shell reads it"),
        ("run: {command: []}", "run.command is empty: a command is a list"),
        ("run: {command: [sleep, 5]}", "run.command[1] is 5: a command is a list of texts: put quotes around it"),
        ("health: {path: healthz}", 'health.path is "healthz": a path begins with /'),
        ('health: {path: "/{env.HOME}"}', 'health.path is "/{env.HOME}": a path begins with / and has no spaces'),
        ("health: {timeout: 60}", "health.timeout is 60: a duration"),
        ("health: {timeout: 60}", "it needs its unit: 60s"),
        ("health: {interval: 2d}", 'health.interval is "2d": a duration is a whole number with a unit (ms, s, m or h)'),
        ("health: {timeout: 0s}", "from 100ms to 1h"),
        ("deploy: {drain: 2h}", 'deploy.drain is "2h": a duration'),
        ("domains: blog.example.com", 'domains is "blog.example.com": domains is a list'),
        ("domains: []", "domains is empty: domains is a list of at least one"),
        ("domains: [Blog.example.com]", 'domains[0] is "Blog.example.com": write it in lower case: blog.example.com'),
        ("domains: [bücher.example]", "write it in punycode: xn--bcher-kva.example"),
        ("domains: [a.example.]", "leave out the trailing dot: a.example"),
        ('domains: ["a.example:80"]', "leave out the port: a.example"),
        ('domains: ["*.example"]', "wildcards are not supported"),
        ('domains: ["{env.HOME}.example"]', "braces are refused"),
        ('domains: ["a.example\\n"]', 'domains[0] is "a.example\\n": the parts of a host name'),
        ("domains: [https://a.example/x]", "leave out scheme and path: a.example"),
        ("domains: [127.0.0.1]", "an address is not a host name"),
        ("domains: [a_b.example]", "letters, digits and hyphens"),
        ("domains: [-a.example]", "letters, digits and hyphens"),
        (f"domains: [{'a' * 64}.example]", "up to 63 of them"),
        (f"domains: [{'.'.join(['a' * 60] * 5)}]", "at most 253 characters"),
        ("domains: [a.example, a.example]", "domains[1] repeats domains[0]: remove one"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_what_was_expected_and_what_to_do(text: str, said: str) -> None:
    (problem,) = of(text)
    assert said in problem


def project_with(source: str = "repo: /srv/git/x.git", build: str = "type: static") -> list[str]:
    text = f"apiVersion: gitstead/v1\nkind: Project\nsource: {{{source}}}\nbuild: {{{build}}}\n"
    return messages(validate({"platform.yaml": file(PLATFORM), "projects/blog.yaml": file(text)}))


@pytest.mark.parametrize(
    "repo",
    [
        "/srv/git/x.git", "file:///srv/git/x.git", "https://git.example.com/acme/x.git", "http://127.0.0.1:8080/x.git",
        "git://git.example.com/x", "ssh://git@git.example.com:2222/acme/x.git", "ssh://git.example.com/x.git",
        "git@git.example.com:acme/x.git", "https://[::1]:8443/x.git",
    ],
)  # fmt: skip
def test_a_repository_is_accepted(repo: str) -> None:
    assert project_with(f'repo: "{repo}"') == []


@pytest.mark.parametrize(
    ("repo", "said"),
    [
        ("ext::sh -c id", "ext:: would run a program"),
        ("fd::17", "fd:: would run a program"),
        ("--upload-pack=id", "cannot begin with -"),
        ("ssh://-oProxyCommand=id/x", "is followed by a host name"),
        ("git@-oProxyCommand:x", "a repository is https://"),
        ("git@host:-x", "a repository is https://"),
        ("https://ana:hunter2@git.example.com/x.git", "no user, password or token"),
        ("https://ghp_token@git.example.com/x.git", "no user, password or token"),
        ("ssh://git:hunter2@git.example.com/x.git", "no user, password or token"),
        ("ftp://git.example.com/x.git", "ftp:// is not supported: use one of https://"),
        ("https:///x.git", "is followed by a host name"),
        ("https://git.example.com:99999/x", "is followed by a host name"),
        ("https://git.example.com", "names a host, but no repository"),
        ("https://git.example.com/x?token=1", "no spaces, ? or #"),
        ("file://host/x", "file:///absolute/path"),
        ("/srv/../etc", "no .. in it"),
        ("x/y", "an absolute path of this host"),
        ("git.example.com:x.git", "git@host:path"),
        ("/srv/git/x\\n", "one line"),
    ],
)
def test_a_repository_is_refused_and_no_password_is_shown(repo: str, said: str) -> None:
    (problem,) = project_with(f'repo: "{repo}"')
    assert said in problem
    assert "hunter2" not in problem
    assert "ghp_token" not in problem


@pytest.mark.parametrize("branch", ["main", "release/2", "v1.2", "fix-#3", "$(id)", "übung"])
def test_a_branch_name_is_data(branch: str) -> None:
    assert project_with(f'repo: /x, branch: "{branch}"') == []


@pytest.mark.parametrize(
    "branch",
    ["-x", "a..b", "main; rm", "a//b", "a/", "/a", ".a", "a/.b", "a.lock", "a~1", "@", "a@{1}", "a\\tb", "", "a."],
)
def test_a_branch_that_git_refuses_is_refused(branch: str) -> None:
    (problem,) = project_with(f'repo: /x, branch: "{branch}"')
    assert "source.branch is" in problem


def test_a_full_reference_is_told_its_short_name() -> None:
    assert "write the short name, such as main" in project_with("repo: /x, branch: refs/heads/main")[0]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../up", "cannot leave"), ("/etc", "cannot leave"), ("a/../../b", "cannot leave"),
        ("a\\\\b", "separated by /"),
        ("a/", "write a"), ("./a", "write a"), ("a//b", "write a/b"), ("-x", "relative to the top"), ("", "relative"),
        ("a\\nb", "relative to the top"),
    ],
)  # fmt: skip
def test_a_source_path_stays_inside_the_repository(path: str, said: str) -> None:
    (problem,) = project_with(f'repo: /x, path: "{path}"')
    assert said in problem


def test_a_missing_key_is_told_with_an_example() -> None:
    assert project_with(source="branch: main") == [
        "projects/blog.yaml:3:1 source.repo is missing (The app's Git repository: a URL, or an absolute path that the "
        'host file allows): write for example repo: "https://git.example.com/acme/blog.git"'
    ]
    assert "the types are auto, dockerfile, static, node," in project_with(build="type: cobol")[0]


def test_a_spec_of_a_later_version_is_told_that_alone() -> None:
    text = HEAD.replace("gitstead/v1", "gitstead/v2") + "replicas: 3\n"
    (problem,) = messages(validate({"platform.yaml": file(PLATFORM), "projects/blog.yaml": file(text)}))
    assert problem == (
        'projects/blog.yaml:1:13 apiVersion is "gitstead/v2": this Gitstead understands gitstead/v1 and nothing else'
    )


def test_a_text_that_yaml_readers_disagree_on_is_told_once() -> None:
    assert of("run: {env: {DEBUG: no}}") == [
        '5:20 no without quotes is the boolean false to some YAML readers: write "no" for the text, or false'
    ]


@pytest.mark.parametrize(("text", "said"), [("", "the file is empty"), ("---\n", "the file is empty"), ("x", 'is "x"')])
def test_a_file_without_keys_is_told_what_to_write(text: str, said: str) -> None:
    (problem,) = messages(validate({"platform.yaml": file(PLATFORM), "projects/blog.yaml": file(text)}))
    assert said in problem


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("projects/blog.yml", "file", "rename it to blog.yaml"),
        ("projects/Blog.yaml", "file", "rename it to blog.yaml"),
        ("projects/b.yaml", "file", "2 to 40 lower-case letters"),
        ("projects/-x.yaml", "file", "cannot be a project's name"),
        ("projects/a\nb.yaml", "file", "'a\\nb' cannot be a project's name"),
        ("projects/bl\u202eog.yaml", "file", "cannot be a project's name"),
        (f"projects/{'a' * 300}.yaml", "file", "cannot be a project's name"),
        ("projects/xn--bcher-kva.yaml", "file", "cannot be a project's name"),
        ("projects/platform.yaml", "file", "reserved name"),
        ("projects/blog.json", "file", "is not a spec"),
        ("projects/shop/blog.yaml", "file", "move the file up"),
        ("projects/shop", "folder", "is a folder"),
        ("projects/blog.yaml", "folder", "is a folder"),
        ("projects/blog.yaml", "symlink", "is a symbolic link, which is refused"),
        ("projects/blog.yaml", "submodule", "is a submodule, which is refused"),
    ],
)
def test_an_entry_that_is_no_spec_is_told_and_not_read(path: str, kind: FileKind, said: str) -> None:
    validation = validate({"platform.yaml": file(PLATFORM), path: file(HEAD, kind)})
    (problem,) = messages(validation)
    assert said in problem
    assert validation.projects == ()
    assert not validation.complete


def test_a_misnamed_file_still_counts_as_its_project_so_that_a_rename_prunes_nothing() -> None:
    """Invariant 8."""
    files = {f"projects/{name}": file(HEAD) for name in ("blog.yml", "Shop.yaml")}
    assert validate({"platform.yaml": file(PLATFORM), **files}).names == {"blog", "shop"}


def test_readmes_and_hidden_files_are_no_specs() -> None:
    files = {path: file("") for path in ("projects/README.md", "projects/.gitkeep", "README.md", "docs/x.yaml")}
    assert messages(validate({"platform.yaml": file(PLATFORM), **files})) == []


@pytest.mark.parametrize(
    ("platform", "said"),
    [
        (None, "platform.yaml:1:1 platform.yaml is missing: write one with apiVersion: gitstead/v1, kind: Platform"),
        (PLATFORM + "owner: x\n", '"owner" is not a key of the platform'),
        (PLATFORM.replace("apps.example.com", '"{apps}.example.com"'), "braces are refused"),
        ("a: [", "not YAML"),
        (PLATFORM + "defaults: {run: {port: 80}}\n", '"port" is not a key of defaults.run'),
    ],
)
def test_a_bad_platform_file_makes_no_project_valid(platform: str | None, said: str) -> None:
    files = {"projects/blog.yaml": file(HEAD)} | ({"platform.yaml": file(platform)} if platform else {})
    validation = validate(files)
    assert any(said in each for each in messages(validation))
    assert (validation.platform, validation.projects, validation.complete) == (None, (), False)


def test_a_bad_platform_file_leaves_the_last_good_one_in_force() -> None:
    """Invariant 3."""
    validation = validate({"projects/blog.yaml": file(HEAD)}, last_platform=PlatformSpec("apps.example.com"))
    assert validation.projects[0].domains == ("blog.apps.example.com",)
    assert not validation.complete
    assert len(validation.diagnostics) == 1


def test_a_symlinked_platform_file_is_refused() -> None:
    (problem,) = messages(validate({"platform.yaml": file("", "symlink")}))
    assert "symbolic link" in problem


def test_two_projects_with_one_domain_are_both_told_and_the_first_by_name_keeps_it() -> None:
    validation = validate(repository(store="domains: [shop.example.com]\n", zoo="domains: [shop.example.com]\n"))
    assert messages(validation) == [
        "projects/zoo.yaml:5:11 domain shop.example.com is already taken by projects/store.yaml:5:11"
    ]
    assert [str(each) for each in validation.notes] == [
        "projects/store.yaml:5:11 domain shop.example.com is also asked for by projects/zoo.yaml:5:11, "
        "which does not get it"
    ]
    assert [spec.name for spec in validation.projects] == ["store"]


def test_who_holds_a_domain_now_keeps_it() -> None:
    files = repository(store="domains: [shop.example.com]\n", zoo="domains: [shop.example.com]\n")
    validation = validate(files, holders={"shop.example.com": "zoo"})
    assert [spec.name for spec in validation.projects] == ["zoo"]
    assert validation.diagnostics[0].project == "store"


def test_a_domain_clashes_with_the_default_domain_of_another_project() -> None:
    validation = validate(repository(aa="domains: [bb.apps.example.com]\n", bb=""))
    assert messages(validation) == [
        "projects/bb.yaml:1:1 domain bb.apps.example.com (the default, since domains is not set) is already taken by "
        "projects/aa.yaml:5:11"
    ]


def test_an_invalid_project_that_runs_on_keeps_its_domains() -> None:
    """Invariant 3: its last good spec still holds them."""
    holders = {"shop.example.com": "store"}
    validation = validate(repository(store="rnu: 1\n", zoo="domains: [shop.example.com]\n"), holders=holders)
    assert "is still held by store, whose own file has problems" in messages(validation)[1]
    assert validation.projects == ()


def test_a_project_that_loses_one_domain_keeps_the_others_that_it_holds() -> None:
    files = repository(
        aa="domains: [one.example]\n", bb="domains: [one.example, two.example]\n", cc="domains: [three.example]\n"
    )
    validation = validate(files, holders={"one.example": "aa", "three.example": "bb"})
    assert [spec.name for spec in validation.projects] == ["aa"]
    assert {each.project for each in validation.diagnostics} == {"bb", "cc"}


def test_a_loser_is_told_once_for_a_domain_that_it_holds_elsewhere() -> None:
    """A project that keeps what it has asks for it too: one problem, not two."""
    files = repository(
        aa="domains: [one.example]\n", bb="domains: [one.example, two.example]\n", cc="domains: [two.example]\n"
    )
    validation = validate(files, holders={"one.example": "aa", "two.example": "bb"})
    assert [each.project for each in validation.diagnostics] == ["bb", "cc"]


def test_two_missing_keys_are_two_problems() -> None:
    text = "kind: Project\n"
    told = messages(validate({"platform.yaml": file(PLATFORM), "projects/blog.yaml": file(text)}))
    assert [each.split(" is missing")[0] for each in told] == [
        "projects/blog.yaml:1:1 apiVersion", "projects/blog.yaml:1:1 source",
    ]  # fmt: skip


def test_a_merge_key_cannot_stand_in_for_a_missing_or_bring_in_an_unknown_key() -> None:
    told = of("run: {<<: {privileged: true}}")
    assert told == ["5:7 << is a YAML merge key: merge keys are refused; write the keys out"]


def test_projects_may_swap_their_domains_in_one_commit() -> None:
    files = repository(aa="domains: [two.example]\n", bb="domains: [one.example]\n")
    validation = validate(files, holders={"one.example": "aa", "two.example": "bb"})
    assert len(validation.projects) == 2


def test_a_domain_is_free_once_its_holder_left() -> None:
    validation = validate(repository(aa="domains: [one.example]\n"), holders={"one.example": "gone"})
    assert len(validation.projects) == 1


def test_a_secret_in_plain_text_is_noted_and_not_printed() -> None:
    validation = validate(repository(blog="run: {env: {DB_PASSWORD: hunter2, MONKEY: x}}\n"))
    (note,) = validation.notes
    assert "run.env.DB_PASSWORD sounds like a secret" in str(note)
    assert "gitstead seal blog DB_PASSWORD" in str(note)
    assert "hunter2" not in repr(note)
    assert len(validation.projects) == 1


def test_more_projects_than_can_be_read_change_nothing() -> None:
    files = {f"projects/p{number}.yaml": file(HEAD) for number in range(10_000)} | {"platform.yaml": file(PLATFORM)}
    began = time.process_time()
    validation = validate(files)
    assert time.process_time() - began < 1
    assert f"at most {MAX_PROJECTS} are read" in messages(validation)[0]
    assert (validation.projects, validation.complete, len(validation.names)) == ((), False, 10_000)


def test_what_did_not_change_is_not_read_again() -> None:
    files = repository(**{f"p{number}": f"domains: [p{number}.example]\n" for number in range(300)})
    cache = SpecCache()
    first = validate(files, cache=cache)
    files["projects/p7.yaml"] = file(HEAD + "run: {port: 1}\n")
    began = time.process_time()
    second = validate(files, cache=cache)
    assert time.process_time() - began < 0.1
    assert len(first.projects) == len(second.projects) == 300
    assert sum(a is b for a, b in zip(first.projects, second.projects, strict=True)) == 299
    assert len(cache) == 301


def test_a_change_of_the_platform_reaches_every_project_in_spite_of_the_cache() -> None:
    cache = SpecCache()
    validate(repository(blog=""), cache=cache)
    files = repository(blog="") | {"platform.yaml": file(PLATFORM.replace("apps.", "new."))}
    assert validate(files, cache=cache).projects[0].domains == ("blog.new.example.com",)


def test_the_cache_forgets_what_is_oldest() -> None:
    cache = SpecCache(limit=2)
    for name in ("aa", "bb", "cc"):
        validate(repository(**{name: ""}), cache=cache)
    assert len(cache) == 2


def test_problems_are_printed_with_their_line_and_a_mark() -> None:
    shop = "rnu: {}\n"
    validation = validate(repository(blog="run:\n  port: eighty\n", shop=shop, docs="", wiki=""))
    assert render_diagnostics(validation.diagnostics, 4) == (
        'projects/blog.yaml:6:9  run.port is "eighty": a port is a whole number from 1 to 65535\n'
        "                          6 |   port: eighty\n"
        "                            |         ^^^^^^\n"
        'projects/shop.yaml:5:1  "rnu" is not a key of a project. Did you mean "run"?\n'
        "                          5 | rnu: {}\n"
        "                            | ^^^\n"
        "2 problems in 2 of 4 projects. The other 2 are fine.\n"
    )


@pytest.mark.parametrize(
    ("projects", "total", "said"),
    [
        ([], 1, "1 project is fine.\n"),
        ([], 14, "14 projects are fine.\n"),
        (["a"], 1, "1 problem in 1 of 1 project.\n"),
        (["a", "a"], 2, "2 problems in 1 of 2 projects. The other one is fine.\n"),
        ([""], 3, "1 problem of the platform.\n"),
        (["", "a"], 3, "1 problem of the platform, 1 problem in 1 of 3 projects. The other 2 are fine.\n"),
    ],
)
def test_the_last_line_counts(projects: list[str], total: int, said: str) -> None:
    found = [Diagnostic(Location("f.yaml"), "bad", project=name) for name in projects]
    assert render_diagnostics(found, total).splitlines(keepends=True)[-1] == said


def test_a_long_line_is_shown_around_its_mark_and_nothing_invisible_reaches_a_terminal() -> None:
    line = "a" * 300 + "\x1b[2J\u202e\tBAD" + "z" * 300
    found = Diagnostic(Location("f.yaml", 3, 307), "bad \x1b[2J", project="x", excerpt=line, width=3)
    text = render_diagnostics([found], 1)
    first, excerpt, mark, _ = text.splitlines()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert first.endswith("bad �[2J")
    assert excerpt[mark.index("^") :].startswith("BAD")
    assert len(excerpt) < 140


def test_the_same_facts_come_as_json() -> None:
    validation = validate(repository(blog="run: {port: eighty}\n", shop=""))
    facts = json.loads(json.dumps(as_json(validation.diagnostics, 2, notes=validation.notes)))
    assert facts["valid"] is False
    assert facts["invalid_projects"] == ["blog"]
    assert facts["problems"][0] == {
        "file": "projects/blog.yaml", "line": 5, "column": 13, "width": 6, "project": "blog",
        "message": 'run.port is "eighty": a port is a whole number from 1 to 65535', "excerpt": "run: {port: eighty}",
    }  # fmt: skip


def test_the_host_file_is_checked_by_the_same_means() -> None:
    good = parse("host.yaml", b"state: /var/lib/gitstead\nports: [20000, 20999]\npoll: 15s\nlog: {level: debug}\n")
    assert good.document is not None
    assert check(good.document, "host") == []
    bad = parse("host.yaml", b"ports: [1, 2, 3]\npool: 5\nlisten: {http_port: 0}\n")
    assert bad.document is not None
    told = [str(each) for each in check(bad.document, "host")]
    assert any('"pool" is not a key of the host file. Did you mean "poll"?' in each for each in told)
    assert any("listen.http_port is 0" in each for each in told)
    assert any("ports" in each for each in told)


def test_a_variable_is_in_plain_text_or_sealed_but_not_both() -> None:
    assert of("run:\n  env: {A: x, B: x}\n  secrets: {B: age:QUJD, C: age:QUJD}\n") == [
        "7:13 B is in run.env too: keep one of the two"
    ]
    assert of("run: {env: [], secrets: {A: age:QUJD}}\n") != []
