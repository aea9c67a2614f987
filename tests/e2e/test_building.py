"""Sources of every kind that can be built here, pushed with git, built for real, and served through Caddy.

Packages come from the registries of Python and Node; Go and Rust are built of their standard libraries alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.platform_support import APP, DOCKERFILE, Platform, docker, wait_for

BUILT_S = 240.0
Files = Mapping[str, str]

FLASK: Files = {
    "app.py": "from flask import Flask\napp = Flask(__name__)\n\n@app.get('/')\ndef home():\n    return 'flask'\n",
    "requirements.txt": "flask\n",
    ".python-version": "2.7\n",
    ".env": "SECRET=1\n",
}
DJANGO: Files = {
    "manage.py": (
        "import os, sys\nfrom django.core.management import execute_from_command_line\n"
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site_.settings')\nexecute_from_command_line(sys.argv)\n"
    ),
    "site_/__init__.py": "",
    "site_/settings.py": (
        "import os\nSECRET_KEY = os.environ['SECRET_KEY']\nALLOWED_HOSTS = ['*']\nROOT_URLCONF = 'site_.urls'\n"
        "INSTALLED_APPS = ['django.contrib.staticfiles']\nSTATIC_URL = '/static/'\nSTATIC_ROOT = '/app/collected'\n"
        "STATICFILES_DIRS = ['/app/assets']\nMIDDLEWARE = ['whitenoise.middleware.WhiteNoiseMiddleware']\n"
    ),
    "site_/urls.py": (
        "from django.http import HttpResponse\nfrom django.urls import path\n"
        "urlpatterns = [path('', lambda request: HttpResponse('django'))]\n"
    ),
    "site_/wsgi.py": (
        "import os\nfrom django.core.wsgi import get_wsgi_application\n"
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site_.settings')\napplication = get_wsgi_application()\n"
    ),
    "assets/a.txt": "collected",
    "requirements.txt": "django\nwhitenoise\n",
}
FASTAPI: Files = {
    "main.py": (
        "from fastapi import FastAPI\nfrom fastapi.responses import PlainTextResponse\napp = FastAPI()\n\n"
        "@app.get('/', response_class=PlainTextResponse)\ndef home():\n    return 'fastapi'\n"
    ),
    "pyproject.toml": '[project]\nname = "api"\nversion = "1"\ndependencies = ["fastapi"]\n',
}
EXPRESS: Files = {
    "package.json": json.dumps({"scripts": {"start": "node server.js"}, "dependencies": {"express": "4"}}),
    "server.js": (
        "const app = require('express')();\napp.get('/', (_, answer) => answer.send('express'));\n"
        "app.listen(process.env.PORT);\n"
    ),
}
VITE: Files = {
    "package.json": json.dumps({"scripts": {"build": "vite build"}, "devDependencies": {"vite": "6"}}),
    "index.html": "<script type=module src=/main.js></script>\n",
    "main.js": "document.title = import.meta.env.VITE_GREETING;\n",
}
GO: Files = {
    "go.mod": "module example.com/acme/hello\n\ngo 1.19\n",
    "main.go": (
        'package main\n\nimport (\n\t"bufio"\n\t"net"\n\t"os"\n)\n\nfunc main() {\n'
        '\tlistener, _ := net.Listen("tcp", ":"+os.Getenv("PORT"))\n\tfor {\n\t\tvisitor, _ := listener.Accept()\n'
        "\t\tbufio.NewReader(visitor).ReadString(10)\n"
        '\t\tvisitor.Write([]byte("HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\ngo"))\n'
        "\t\tvisitor.Close()\n\t}\n}\n"
    ),
}
RUST: Files = {
    "Cargo.toml": '[package]\nname = "hello"\nversion = "0.1.0"\nedition = "2021"\n',
    "Cargo.lock": 'version = 3\n\n[[package]]\nname = "hello"\nversion = "0.1.0"\n',
    "src/main.rs": (
        "use std::io::{Read, Write};\n\nfn main() {\n"
        '    let port = std::env::var("PORT").unwrap();\n'
        '    for visitor in std::net::TcpListener::bind(format!("0.0.0.0:{port}")).unwrap().incoming() {\n'
        "        let mut visitor = visitor.unwrap();\n        let _ = visitor.read(&mut [0; 1024]);\n"
        '        let head = "HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\nConnection: close\\r\\n\\r\\n";\n'
        '        let _ = visitor.write_all(format!("{head}rust").as_bytes());\n'
        "    }\n}\n"
    ),
}


def serve(platform: Platform, apps: Mapping[str, Files], **more: Mapping[str, Any]) -> None:
    """Push a repository and a spec for each (`<type>` or `<type>-<word>`), start, and wait until all are Healthy."""
    specs = {}
    for name, files in apps.items():
        platform.app(name, files=files)
        keys = {"build": {"type": name.partition("-")[0]}, "run": {"memory": "256m"}, **more.get(name, {})}
        specs[f"projects/{name}.yaml"] = platform.spec(name, **keys)
    platform.platform_repo.push(specs, "Specs")
    platform.start()
    for name in apps:
        platform.healthy(name, timeout_s=BUILT_S)


def image_of(platform: Platform, name: str) -> dict[str, Any]:
    """What the engine knows of the image of the live container."""
    container = json.loads(docker("inspect", platform.live(name)))[0]
    return dict(json.loads(docker("image", "inspect", container["Image"]))[0]["Config"])


def built_anew(platform: Platform, name: str) -> int:
    """How many steps of the newest build did not come out of the cache."""
    match = re.search(r"Built \S+: (\d+) of (\d+) steps out of the cache", build_log(platform, name))
    assert match, build_log(platform, name)
    return int(match[2]) - int(match[1])


def build_log(platform: Platform, name: str) -> str:
    return platform.cli("logs", name, "--build", "--raw").stdout


def test_python_apps_are_built_with_their_packages_and_served(platform: Platform) -> None:
    serve(
        platform,
        {"flask": FLASK, "django": DJANGO, "fastapi": FASTAPI},
        django={"run": {"memory": "256m", "env": {"SECRET_KEY": "x"}}},
    )
    for name in ("flask", "django", "fastapi"):
        platform.answers(name, name)
    assert platform.get("django.localhost", "/static/a.txt") == (200, "collected")
    config = image_of(platform, "flask")
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["Labels"]["org.opencontainers.image.revision"] == platform.healthy("flask").commit
    assert "org.opencontainers.image.source" not in config["Labels"], "a path of this host is no public source"
    told = build_log(platform, "flask")
    assert "left out of the image, as keys or made anew: .env." in told
    assert "The source asks for Python 2.7 (.python-version); gitstead/base-python has " in told
    word = f"of-{platform.instance}"  # never built before on this engine
    platform.repos["flask"].push({"app.py": FLASK["app.py"].replace("return 'flask'", f"return '{word}'")})
    platform.answers("flask", word)
    assert built_anew(platform, "flask") == 1, "with the same requirements.txt only the source is copied"
    assert docker("exec", platform.live("flask"), "find", "/app", "-name", ".env") == ""


def test_node_apps_and_sites_are_built_with_their_packages_and_served(platform: Platform) -> None:
    serve(
        platform,
        {"node": EXPRESS, "static-vite": VITE, "static": {"index.html": "plain\n", ".hidden": "x"}},
        **{"static-vite": {"build": {"type": "static", "args": {"VITE_GREETING": "from-build-args"}}}},
    )
    platform.answers("node", "express")
    platform.answers("static", "plain")
    assert platform.get("static.localhost", "/.hidden")[0] == 404
    status, page = platform.get("static-vite.localhost")
    assert status == 200
    script = page.partition('src="')[2].partition('"')[0]
    assert "from-build-args" in platform.get("static-vite.localhost", script)[1]
    assert "There is no lock file" in build_log(platform, "node")
    word = f"of-{platform.instance}"  # never built before on this engine
    platform.repos["node"].push({"server.js": EXPRESS["server.js"].replace("send('express')", f"send('{word}')")})
    platform.answers("node", word)
    assert built_anew(platform, "node") == 1, "with the same package.json only the source is copied"


def test_go_rust_and_a_dockerfile_of_one_s_own_are_built_and_served(platform: Platform) -> None:
    own = DOCKERFILE.replace("COPY version /version", 'ARG WORD\nRUN echo "$WORD" > /version')
    serve(
        platform,
        {"go": GO, "rust": RUST, "dockerfile": {"Dockerfile": own, "app.py": APP}},
        dockerfile={"build": {"type": "dockerfile", "args": {"WORD": "first"}}},
    )
    platform.answers("go", "go")
    platform.answers("rust", "rust")
    platform.answers("dockerfile", "first")
    platform.push_spec("dockerfile", build={"type": "dockerfile", "args": {"WORD": "second"}})
    platform.answers("dockerfile", "second")


def test_a_push_to_a_monorepo_rebuilds_only_what_it_touches(platform: Platform) -> None:
    repo = platform.app("mono", files={"one/index.html": "one v1\n", "two/index.html": "two v1\n", "README.md": ""})
    specs = {
        f"projects/{name}.yaml": platform.spec(
            name, source={"repo": str(repo.bare), "path": name}, build={"type": "static"}
        )
        for name in ("one", "two")
    }
    platform.platform_repo.push(specs, "Specs")
    platform.start()
    for name in ("one", "two"):
        platform.answers(name, f"{name} v1", timeout_s=BUILT_S)
        platform.healthy(name)
    untouched = platform.ids("two")
    sha = repo.push({"one/index.html": "one v2\n", "README.md": "more\n"})
    platform.answers("one", "one v2")
    wait_for(lambda: platform.healthy("one").commit == sha, "v2 is live")
    platform.looks()
    assert platform.ids("two") == untouched
    assert len(platform.deployments("two")) == 1
    assert len(platform.deployments("one")) == 2
