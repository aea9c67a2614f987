"""Small source trees, one for each template and package manager, and the Dockerfile that is made of each.

Used by the golden tests of `reconciler.desired.dockerfiles`. After a change of a template that is meant, run
`python -m tests.golden_sources` and read the difference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.desired.base_names import BaseName, own_base, public_base
from reconciler.desired.detection import detect
from reconciler.desired.dockerfiles import dockerfile_for
from reconciler.model.desired import Dockerfile, SourceProblem
from reconciler.model.detection import Detected, SourceFiles
from reconciler.model.spec import BuildSpec, BuildType, HealthSpec, ProjectSpec, RunSpec, SourceSpec

GOLDEN = Path(__file__).with_name("golden")


@dataclass(frozen=True)
class Case:
    """One tree: path to text. `build` and `run` are of its spec."""

    files: Mapping[str, str]
    type: BuildType = "auto"
    base_name: BaseName = own_base
    build: Mapping[str, Any] = field(default_factory=dict)
    run: RunSpec = field(default_factory=RunSpec)


def package(**keys: Any) -> str:
    return json.dumps({"name": "shop", **keys})


def project(case: Case) -> ProjectSpec:
    build = BuildSpec(case.type, **case.build)
    return ProjectSpec("shop", "b10b", SourceSpec("/srv/git/shop.git"), build, run=case.run, health=HealthSpec())


def detected(case: Case) -> Detected:
    found = detect(SourceFiles(frozenset(case.files), case.files), wanted=case.type).chosen
    assert found is not None
    return found


def made(case: Case) -> Dockerfile | SourceProblem:
    files = SourceFiles(frozenset(case.files), case.files)
    return dockerfile_for(
        project(case),
        files,
        detected(case),
        repo_dockerfile=case.files.get("Dockerfile"),
        base_name=case.base_name,
        cache_id="k3v9qa-shop",
    )


FLASK = "from flask import Flask\napp = Flask(__name__)\n"
FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"
PYPROJECT = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["flask"]\n'
POETRY = '[tool.poetry]\nname = "shop"\nversion = "1"\n[tool.poetry.dependencies]\npython = "^3.11"\nflask = "^3"\n'
BACKEND = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
DJANGO = {
    "manage.py": "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n",
    "shop/settings.py": "",
    "shop/wsgi.py": "application = None\n",
}
NEXT = package(
    scripts={"build": "next build", "start": "next start"},
    dependencies={"next": "15", "react": "19"},
    devDependencies={"typescript": "5"},
)
VITE = package(scripts={"build": "vite build", "dev": "vite"}, devDependencies={"vite": "6"})
EXPRESS = package(scripts={"start": "node server.js"}, dependencies={"express": "4"})
TSC = package(
    scripts={"build": "tsc", "start": "node dist/index.js"},
    dependencies={"fastify": "5"},
    devDependencies={"typescript": "5"},
)
GO = {"go.mod": "module example.com/acme/shop\n\ngo 1.22\n", "main.go": "package main\n\nfunc main() {}\n"}
CARGO = '[package]\nname = "shop"\nversion = "0.1.0"\nedition = "2021"\n'
SPRING = (
    "<project><parent><groupId>org.springframework.boot</groupId></parent><java.version>21</java.version></project>"
)
LARAVEL = json.dumps({"require": {"php": "^8.2", "laravel/framework": "^11"}})
RAILS = 'source "https://rubygems.org"\nruby "3.3.0"\ngem "rails"\ngem "puma"\n'

CASES: dict[str, Case] = {
    "static-plain": Case({"index.html": "hi"}),
    "static-folder": Case({"public/index.html": "hi"}),
    "static-vite-npm": Case({"package.json": VITE, "package-lock.json": "{}", "index.html": "", ".nvmrc": "22\n"}),
    "static-vite-pnpm": Case({"package.json": VITE, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n", "index.html": ""}),
    "static-astro-yarn": Case(
        {"package.json": package(scripts={"build": "astro build"}, dependencies={"astro": "5"}), "yarn.lock": ""}
    ),
    "static-eleventy-no-lock": Case(
        {"package.json": package(scripts={"build": "eleventy"}, devDependencies={"@11ty/eleventy": "3"})}
    ),
    "node-express-npm": Case({"package.json": EXPRESS, "package-lock.json": "{}", "server.js": ""}),
    "node-no-packages": Case({"package.json": package(main="index.js"), "index.js": ""}, "node"),
    "node-fastify-pnpm": Case({"package.json": TSC, "pnpm-lock.yaml": "lockfileVersion: '6.0'\n", ".npmrc": ""}),
    "node-workspaces-yarn-berry": Case(
        {
            "package.json": package(
                workspaces=["apps/*"], scripts={"build": "turbo build", "start": "node apps/web/x.js"}
            ),
            "yarn.lock": "__metadata:\n",
            ".yarnrc.yml": "",
            ".yarn/releases/yarn-4.cjs": "",
            "apps/web/package.json": "{}",
        },
        "node",
    ),
    "node-next": Case({"package.json": NEXT, "package-lock.json": "{}"}),
    "node-next-standalone": Case(
        {"package.json": NEXT, "package-lock.json": "{}", "next.config.js": 'output: "standalone"', "public/a.png": ""}
    ),
    "node-nuxt": Case(
        {
            "package.json": package(scripts={"build": "nuxt build"}, dependencies={"nuxt": "3"}),
            "package-lock.json": "{}",
        }
    ),
    "node-postinstall-prisma": Case(
        {
            "package.json": package(
                scripts={"build": "tsc", "start": "node dist/a.js", "postinstall": "node ./scripts/prepare.js"},
                dependencies={"express": "4", "@prisma/client": "6"},
            ),
            "package-lock.json": "{}",
            "prisma/schema.prisma": "",
        },
        "node",
    ),
    "flask-requirements": Case(
        {"app.py": FLASK, "requirements.txt": "flask\n", "requirements/base.txt": "", ".python-version": "3.12\n"}
    ),
    "flask-no-manifest": Case({"app.py": FLASK}, "flask"),
    "flask-uv": Case({"app.py": FLASK, "pyproject.toml": PYPROJECT, "uv.lock": ""}),
    "flask-poetry": Case({"app.py": FLASK, "pyproject.toml": POETRY, "poetry.lock": ""}),
    "flask-pdm": Case({"app.py": FLASK, "pyproject.toml": PYPROJECT, "pdm.lock": ""}),
    "flask-pipenv": Case({"app.py": FLASK, "Pipfile": '[packages]\nflask = "*"\n', "Pipfile.lock": "{}"}),
    "flask-pyproject": Case({"app.py": FLASK, "pyproject.toml": PYPROJECT}),
    "fastapi-pip": Case({"main.py": FASTAPI, "requirements.txt": "fastapi\n"}, run=RunSpec(port=3000)),
    "django-pip": Case({**DJANGO, "requirements.txt": "django\n"}),
    "django-whitenoise": Case({**DJANGO, "requirements.txt": "django\nwhitenoise\n"}),
    "python-main": Case({"main.py": "", "requirements.txt": ""}),
    "python-package-src": Case(
        {"pyproject.toml": PYPROJECT + BACKEND + '[project.scripts]\nshop = "shop:main"\n', "src/shop/__init__.py": ""},
        "python",
    ),
    "python-uv-package": Case(
        {
            "pyproject.toml": PYPROJECT + BACKEND + '[project.scripts]\nshop = "shop:main"\n',
            "uv.lock": "",
            "src/shop/__init__.py": "",
        },
        "python",
    ),
    "python-poetry-script": Case(
        {
            "pyproject.toml": POETRY + BACKEND + '[tool.poetry.scripts]\nshop = "shop:main"\n',
            "shop/__init__.py": "",
        },
        "python",
    ),
    "python-setup-py": Case({"setup.py": "", "main.py": ""}, "python"),
    "python-dynamic": Case(
        {"pyproject.toml": '[project]\nname = "shop"\ndynamic = ["dependencies"]\n' + BACKEND, "main.py": ""}, "python"
    ),
    "python-aptfile": Case(
        {"main.py": "", "requirements.txt": "x\n", "Aptfile": "libpq5\n# no\nhttp://x/y.deb\nffmpeg\n"}
    ),
    "python-args-secrets": Case(
        {"main.py": "", "requirements.txt": "x\n"},
        build={"args": {"INDEX": "a"}, "secrets": {"pip.conf": "age:x", "TOKEN": "age:y"}},
    ),
    "python-procfile": Case(
        {"main.py": "", "requirements.txt": "x\n", "Procfile": "web: python serve.py --port $PORT\n"}
    ),
    "go-top": Case(GO),
    "go-no-module": Case({"main.go": "package main\n"}, "go"),
    "go-cmd-modules": Case(
        {
            "go.mod": "module example.com/acme/shop\n\ngo 1.24\n",
            "go.sum": "x",
            "cmd/web/main.go": "package main\n",
            "templates/a.html": "",
        }
    ),
    "rust-locked": Case({"Cargo.toml": CARGO, "Cargo.lock": "", "src/main.rs": "", "static/a.css": ""}),
    "rust-workspace": Case(
        {
            "Cargo.toml": '[workspace]\nmembers = ["crates/web"]\n',
            "crates/web/Cargo.toml": CARGO.replace("shop", "web"),
            "crates/web/src/main.rs": "",
        }
    ),
    "java-maven-spring": Case({"pom.xml": SPRING}),
    "java-gradle-spring": Case(
        {"build.gradle": "plugins { id 'org.springframework.boot' }", "gradlew": "", "gradle/wrapper/a.properties": ""}
    ),
    "php-plain": Case({"index.php": "<?php"}),
    "php-laravel": Case(
        {
            "composer.json": LARAVEL,
            "composer.lock": "{}",
            "artisan": "",
            "public/index.php": "<?php",
            "public/.htaccess": "",
        }
    ),
    "ruby-rails": Case(
        {
            "Gemfile": RAILS,
            "Gemfile.lock": "GEM",
            "config.ru": "",
            "config/application.rb": "",
            "bin/rails": "",
            "app/assets/a.css": "",
        }
    ),
    "ruby-rack": Case({"Gemfile": 'gem "puma"\n', "config.ru": ""}),
    "ruby-script": Case({"app.rb": ""}, "ruby"),
    "registry-python": Case(
        {"app.py": FLASK, "requirements.txt": "flask\n", ".python-version": "3.12.4\n"}, base_name=public_base
    ),
    "registry-node": Case(
        {"package.json": EXPRESS, "package-lock.json": "{}", ".nvmrc": "v22.3.0\n"}, base_name=public_base
    ),
    "registry-vite": Case({"package.json": VITE, "package-lock.json": "{}", "index.html": ""}, base_name=public_base),
    "registry-go": Case(GO, base_name=public_base),
    "registry-rust": Case({"Cargo.toml": CARGO, "src/main.rs": ""}, base_name=public_base),
    "registry-java": Case({"pom.xml": SPRING}, base_name=public_base),
    "registry-php": Case({"composer.json": LARAVEL, "public/index.php": ""}, "php", base_name=public_base),
    "registry-ruby": Case({"Gemfile": RAILS, "Gemfile.lock": "", "config.ru": ""}, base_name=public_base),
}


def text_of(name: str) -> str:
    dockerfile = made(CASES[name])
    assert isinstance(dockerfile, Dockerfile), dockerfile
    assert dockerfile.text is not None
    return dockerfile.text


def write_golden() -> None:
    for name in CASES:
        (GOLDEN / f"{name}.Dockerfile").write_text(text_of(name))


if __name__ == "__main__":
    write_golden()
