"""The template of PHP: Apache with mod_php, so that one process serves, and .htaccess means what people expect.

Called by `dockerfiles`. Pure. PHP's built-in server is not made for the world, and php-fpm needs a second
server in the same image.
"""

from __future__ import annotations

import json

from reconciler.desired.dockerfiles.parts import COPY_ALL, Source, Text, Unbuildable, copy, copy_from, lines

_CONFIGURATION = (
    "ServerName localhost",
    "Listen ${PORT}",
    "PidFile /tmp/apache2.pid",
    "Mutex sem",
    "IncludeOptional mods-enabled/*.load",
    "IncludeOptional mods-enabled/*.conf",
    "ServerTokens Prod",
    "ErrorLog /dev/stderr",
    'LogFormat "%h %t \\"%r\\" %>s %b" plain',
    "CustomLog /dev/stdout plain",
    "DirectoryIndex index.php index.html",
    "SetEnvIf X-Forwarded-Proto https HTTPS=on",
)
_RULES = (
    "AllowOverride All",
    "Require all granted",
    "Options -Indexes +FollowSymLinks",
    "</Directory>",
    '<FilesMatch "\\.php$">',
    "SetHandler application/x-httpd-php",
    "</FilesMatch>",
    '<LocationMatch "/\\.(?!well-known/)">',
    "Require all denied",
    "</LocationMatch>",
)


def php(source: Source) -> Text:
    """Composer's packages in a stage of their own, then Apache. Raises `Unbuildable` where no page is found."""
    folder = source.detected.target
    if source.spec.health.path == "/" and not source.has(f"{folder}/index.php".lstrip("/")):
        raise Unbuildable("has no index.php at its top or in public/", "add one, or set health.path")
    base = source.base("php")
    with_composer = source.has("composer.json")
    start = source.head(base, builder=source.base("composer")) if with_composer else source.head(base, stage="")
    stage = [*start, *_composer(source), "", "FROM ${BASE}"] if with_composer else start
    is_laravel = source.has("artisan")
    text = lines(
        stage,
        source.packages(),
        _apache(f"/app/{folder}".rstrip("/")),
        source.environment(),
        "WORKDIR /app",
        copy_from("build", "/app", "./") if with_composer else COPY_ALL,
        _laravel() if is_laravel else [],
        source.foot(["apache2", "-DFOREGROUND", "-f", "/etc/apache2/gitstead.conf"]),
    )
    return Text(text, language="php", base="php")


def _composer(source: Source) -> list[str]:
    composer = ["composer", "--no-interaction"]
    manifests = [each for each in ("composer.json", "composer.lock", "symfony.lock", "auth.json") if source.has(each)]
    return [
        "ENV COMPOSER_ALLOW_SUPERUSER=1 COMPOSER_CACHE_DIR=/root/.composer",
        "WORKDIR /app",
        copy(manifests),
        source.run(
            [
                *composer,
                "install",
                "--no-progress",
                "--no-dev",
                "--no-scripts",
                "--no-autoloader",
                "--ignore-platform-reqs",
            ],
            source.cache("composer", "/root/.composer"),
        ),
        COPY_ALL,
        source.run([*composer, "dump-autoload", "--no-dev", "--no-scripts", "--optimize"]),
    ]


def _apache(root: str) -> list[str]:
    """The whole configuration, a line each; the script that writes it is fixed text."""
    written = [*_CONFIGURATION, f"DocumentRoot {root}", f"<Directory {root}>", *_RULES]
    words = ["sh", "-c", 'printf "%s\\n" "$@" > /etc/apache2/gitstead.conf', "write", *written]
    rows = ", \\\n     ".join(json.dumps(each) for each in words)
    return [f"RUN [{rows}]", 'RUN ["a2enmod", "--quiet", "rewrite"]']


def _laravel() -> list[str]:
    return [
        "# Laravel writes its cache, sessions and logs there.",
        'RUN ["chown", "-R", "10001:10001", "storage", "bootstrap/cache"]',
        "ENV LOG_CHANNEL=stderr",
    ]
