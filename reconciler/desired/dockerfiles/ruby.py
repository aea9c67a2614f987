"""The template of Ruby: Bundler's gems in a stage of their own, then Rails, Puma, a rackup file or a script.

Called by `dockerfiles`. Pure.
"""

from __future__ import annotations

from reconciler.desired.dockerfiles.parts import COPY_ALL, Source, Text, copy, copy_from, lines


def ruby(source: Source) -> Text:
    """Raises `Unbuildable` where nothing would start it."""
    source.require_command("config.ru, app.rb or Procfile")
    base = source.base("ruby")
    is_rails = source.has("config/application.rb")
    final = [
        source.environment(HOME="/tmp", **(_RAILS if is_rails else {"RACK_ENV": "production"})),  # noqa: S108
        "WORKDIR /app",
    ]
    end = [*(_rails(source) if is_rails else []), *source.foot(source.command)]
    if not source.has("Gemfile"):
        text = lines(source.head(base, stage=""), source.packages(), final, COPY_ALL, end)
        return Text(text, language="ruby", base="ruby")
    deployment = " BUNDLE_DEPLOYMENT=1" if source.has("Gemfile.lock") else ""
    bundle = f"ENV BUNDLE_PATH=/bundle BUNDLE_WITHOUT=development:test{deployment}"
    text = lines(
        source.head(base, builder=source.base("ruby-build")),
        source.packages(),
        bundle,
        "WORKDIR /app",
        _gems(source),
        "",
        source.arguments_from("FROM ${BASE}"),
        source.packages(),
        bundle,
        final,
        copy_from("build", "/bundle"),
        COPY_ALL,
        # Without one of the source's own, the lock that belongs to what was installed.
        [] if source.has("Gemfile.lock") else copy_from("build", "/app/Gemfile.lock", "./"),
        end,
    )
    return Text(text, language="ruby", base="ruby")


_RAILS = {"RAILS_ENV": "production", "RAILS_LOG_TO_STDOUT": "1", "RAILS_SERVE_STATIC_FILES": "1"}


def _gems(source: Source) -> list[str]:
    manifests = [each for each in ("Gemfile", "Gemfile.lock", ".ruby-version", ".tool-versions") if source.has(each)]
    return [
        copy(manifests),
        "ENV BUNDLE_GLOBAL_GEM_CACHE=true",
        source.run(["bundle", "install"], source.cache("bundler", "/root/.bundle/cache")),
    ]


def _rails(source: Source) -> list[str]:
    key = ["env", "SECRET_KEY_BASE=only-for-the-build"]
    has_assets = any(each.startswith("app/assets/") for each in source.files.listing)
    assets = [source.run([*key, "bundle", "exec", "rails", "assets:precompile"])] if has_assets else []
    owned = 'RUN ["sh", "-c", "mkdir -p tmp log storage && chown -R 10001:10001 tmp log storage"]'
    return [*assets, "# Rails writes there.", owned]
