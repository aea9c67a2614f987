"""Whatever names and texts a source tree holds, detection answers, twice the same, with texts fit to be shown."""

from __future__ import annotations

import json
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.desired.base_names import own_base
from reconciler.desired.detection import detect, unrecognised
from reconciler.desired.detection.manifests import MANIFESTS, MARKS, read_texts
from reconciler.desired.detection.report import render
from reconciler.desired.dockerfiles import dockerfile_for
from reconciler.model.detection import Detected, SourceFiles
from reconciler.model.spec import BuildSpec, BuildType, ProjectSpec, SourceSpec

TYPES = st.sampled_from(get_args(BuildType))
odd_text = st.text(max_size=12) | st.sampled_from(
    ["\n", "{env.X}", "$(id)", "\u202e", "-x", "..", "`", '"', "'", "\ud800"]
)
known = st.sampled_from(
    [*MANIFESTS, *MARKS, "app.py", "app/main.py", "src/x/app.py", "shop/wsgi.py", "shop/asgi.py", "cmd/a/main.go",
     "cmd/b/main.go", "main.go", "src/main.rs", "src/bin/a.rs", "a/Cargo.toml", "a/src/main.rs", "a/pom.xml",
     "app/build.gradle", "public/index.html", "public/index.php", "config.ru", "bin/rails", "uv.lock", "yarn.lock",
     "package-lock.json", "bun.lockb", "pnpm-lock.yaml", "Dockerfile", "hugo.toml", "index.js", "pkg/__main__.py"]
)  # fmt: skip
paths = known | st.lists(odd_text | st.sampled_from(["a", "src", "app.py"]), min_size=1, max_size=4).map("/".join)

dependencies = st.dictionaries(
    st.sampled_from(["next", "nuxt", "astro", "vite", "express", "@sveltejs/kit", "@angular/core", "react-scripts",
                     "@11ty/eleventy", "vitepress", "@nestjs/core", "@react-router/dev", "@angular/ssr"]) | odd_text,
    odd_text | st.none(),
    max_size=3,
)  # fmt: skip
commands = st.sampled_from(["node a.js", "next start", "vite", "vite build", "a && b", "", "npx x", "nuxt generate"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | odd_text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(odd_text, inner, max_size=2),
    max_leaves=6,
)
packages = st.fixed_dictionaries(
    {},
    optional={
        "dependencies": dependencies | json_values,
        "devDependencies": dependencies | json_values,
        "scripts": st.dictionaries(
            st.sampled_from(["start", "build", "start:prod", "prestart"]), commands | json_values
        )
        | json_values,
        "main": odd_text | json_values,
        "engines": st.dictionaries(st.sampled_from(["node"]), odd_text) | json_values,
        "packageManager": st.sampled_from(["pnpm@9", "yarn@4", "bun@1", "npm@x\n"]) | json_values,
        "workspaces": json_values,
    },
).map(json.dumps)
fragments = st.sampled_from(
    ["web: ", "app = Flask(__name__)\n", "api = FastAPI()\n", "def create_app(", "django\n", "flask>=3\n", "fastapi",
     "DJANGO_SETTINGS_MODULE', 'a.settings'", "[project]\n", "name = 'x'\n", "dependencies = ['flask']\n",
     "[package]\n", "[[bin]]\n", "path = 1\n", "[tool.poetry.dependencies]\n", "python = '^3'\n", "module x/y\n",
     "go 1.22\n", "package main\n", "gem 'rails'\n", "ruby '3.3'\n", "<module>a</module>", "<x>17</x>",
     "<java.version>${x}</java.version>", "<packaging>war</packaging>", "application", "output: 'export'",
     "output: 'server'", "outDir: '../x'", "ssr: false", "JavaLanguageVersion.of(21)", "python 3.12\n", "$PORT", "&&",
     "\n", '"', "'", "{", "}", "3.12", "v20"]
)  # fmt: skip
texts = packages | st.lists(fragments | odd_text, max_size=8).map("".join) | json_values.map(json.dumps)
trees = st.dictionaries(paths, texts | st.none(), max_size=10)


def check_texts(each: Detected) -> None:
    shown = [each.title, each.manager, each.version, each.version_from, each.output, each.target]
    for text in [*shown, *each.command, *each.evidence, *each.notes]:
        assert text.isprintable(), text
        assert len(text) < 2_100
    assert all(each.command)
    assert ".." not in each.output.split("/")
    assert not each.output.startswith("/")


@given(trees, TYPES, st.just("Dockerfile") | paths)
@settings(max_examples=700, deadline=None)
def test_any_tree_has_an_answer_and_always_the_same(
    tree: dict[str, str | None], wanted: BuildType, dockerfile: str
) -> None:
    listing = frozenset(tree)
    files = SourceFiles(listing, read_texts(listing, tree.get))
    found = detect(files, wanted=wanted, dockerfile=dockerfile)
    assert found == detect(files, wanted=wanted, dockerfile=dockerfile)
    assert render(found).encode()
    spec = ProjectSpec("blog", "b", SourceSpec("/srv/x.git"), BuildSpec(wanted, dockerfile=dockerfile))
    if found.chosen is None:
        assert not found.others
        assert unrecognised(spec, found, is_empty=not listing).message
        return
    assert wanted in ("auto", found.chosen.type)
    for each in (found.chosen, *found.others):
        assert each.type != "auto"
        check_texts(each)
        assert dockerfile_for(spec, files, each, repo_dockerfile=None, base_name=own_base, cache_id="abc123-blog")


@given(trees, st.randoms())
@settings(max_examples=150, deadline=None)
def test_the_order_in_which_files_are_listed_is_all_the_same(tree: dict[str, str | None], random: object) -> None:
    names = list(tree)
    random.shuffle(names)  # type: ignore[attr-defined]
    first, second = frozenset(tree), frozenset(names)
    assert detect(SourceFiles(first, read_texts(first, tree.get))) == detect(
        SourceFiles(second, read_texts(second, tree.get))
    )
