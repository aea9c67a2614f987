"""Recognises PHP and Ruby.

Called by `detection`. Pure.
"""

from __future__ import annotations

import re

from reconciler.desired.detection import versions
from reconciler.desired.detection.manifests import dig_table
from reconciler.desired.detection.tree import Tree
from reconciler.model.detection import Detected, Sureness
from reconciler.model.spec import BuildType

TYPES: tuple[BuildType, ...] = ("php", "ruby")
_PHP_FRAMEWORKS = {
    "laravel/framework": "Laravel",
    "symfony/framework-bundle": "Symfony",
    "slim/slim": "Slim",
    "codeigniter4/framework": "CodeIgniter",
    "cakephp/cakephp": "CakePHP",
    "yiisoft/yii2": "Yii",
    "drupal/core-recommended": "Drupal",
}
_ROOTS = ("public", "web", "webroot", "htdocs", "public_html")
_RUBY_FRAMEWORKS = {
    "rails": "Rails",
    "sinatra": "Sinatra",
    "hanami": "Hanami",
    "roda": "Roda",
    "grape": "Grape",
}
_GEM = re.compile(r"^[ \t]*gem[ \t(]+[\"']([A-Za-z0-9_.-]{1,80})[\"']", re.MULTILINE)
_PROGRAM = re.compile(r"[^/]+\.rb")
_ANYWHERE = "0.0.0.0"  # noqa: S104 - inside its container: only the host reaches it


def find(tree: Tree, wanted: BuildType) -> list[Detected]:
    """The PHP and the Ruby candidate."""
    found = (_php(tree, asked=wanted == "php"), _ruby(tree, asked=wanted == "ruby"))
    return [each for each in found if each is not None]


# ---- PHP -----------------------------------------------------------------------------------


def _php(tree: Tree, *, asked: bool) -> Detected | None:
    index = tree.first(*(f"{folder}/index.php" for folder in _ROOTS), "index.php")
    has_composer = "composer.json" in tree.top
    scripts = any(path.endswith(".php") for path in tree.near)
    if not (index or (asked and (has_composer or scripts))):
        return None
    needs = dig_table(tree.parsed("composer.json"), "require")
    framework = next((title for name, title in _PHP_FRAMEWORKS.items() if name in needs), "")
    if "wp-login.php" in tree.top:
        framework = "WordPress"
    version = versions.php_version(tree)
    evidence = [f"{index} is there"] if index else []
    evidence += ["composer installs by composer.json"] if has_composer else []
    notes = [] if index else ["There is no index.php: nothing answers at /."]
    if has_composer and "composer.lock" not in tree.top:
        notes.append("composer.lock is missing: each build may install other versions.")
    sure: Sureness = "certain" if framework and index else "likely" if index else "guess"
    return Detected(
        "php",
        sure,
        tuple(evidence),
        framework=framework,
        manager="composer" if has_composer else "",
        version=version.text,
        version_from=version.origin,
        target=index.rpartition("/")[0],
        notes=(*notes, *version.notes),
    )


# ---- Ruby ----------------------------------------------------------------------------------


def _ruby(tree: Tree, *, asked: bool) -> Detected | None:
    gems = frozenset(_GEM.findall(tree.text("Gemfile")))
    is_site = "jekyll" in gems or "_config.yml" in tree.top
    if not (tree.first("Gemfile", "config.ru") or (asked and tree.matching(_PROGRAM))) or (is_site and not asked):
        return None
    framework = next((title for name, title in _RUBY_FRAMEWORKS.items() if name in gems), "")
    if "config/application.rb" in tree.listing and "bin/rails" in tree.listing:
        framework = "Rails"
    program = tree.first("app.rb", "server.rb", "main.rb", "web.rb")
    command = _ruby_command(tree, gems, framework, program=program)
    version = versions.ruby_version(tree)
    told = {"Gemfile": "bundler installs by Gemfile", "config.ru": "config.ru is there"}
    evidence = [text for name, text in told.items() if name in tree.top]
    evidence += [f'Gemfile asks for "{framework.lower()}"'] if framework.lower() in gems else []
    evidence += [f"{program} is there"] if program and program in command else []
    notes = [] if command else ["Nothing says what starts it: set run.command, or add config.ru or a Procfile."]
    if "Gemfile" in tree.top and "Gemfile.lock" not in tree.top:
        notes.append("Gemfile.lock is missing: each build may install other versions.")
    sure: Sureness = "certain" if framework and command else "likely" if command else "guess"
    return Detected(
        "ruby",
        sure,
        tuple(evidence),
        framework=framework,
        manager="bundler" if "Gemfile" in tree.top else "",
        version=version.text,
        version_from=version.origin,
        command=command,
        notes=(*notes, *version.notes),
    )


def _ruby_command(tree: Tree, gems: frozenset[str], framework: str, *, program: str) -> tuple[str, ...]:
    bundle = ("bundle", "exec") if "Gemfile" in tree.top else ()
    if "config/puma.rb" in tree.listing and ("puma" in gems or framework == "Rails"):
        return (*bundle, "puma", "-C", "config/puma.rb")
    if framework == "Rails":
        return (*bundle, "rails", "server", "-b", _ANYWHERE, "-p", "$PORT")
    if "config.ru" in tree.top and "puma" in gems:
        return (*bundle, "puma", "-b", "tcp://0.0.0.0:$PORT")
    if "config.ru" in tree.top:
        return (*bundle, "rackup", "--host", _ANYWHERE, "--port", "$PORT")
    options = ("-o", _ANYWHERE, "-p", "$PORT") if framework == "Sinatra" else ()
    return (*bundle, "ruby", program, *options) if program else ()
