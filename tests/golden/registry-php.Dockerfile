# Made by Gitstead for build.type php (Laravel). To own it: gitstead eject.
# The source asks for version ^8.2 (composer.json).
ARG BASE=php:8.4-apache
ARG BUILDER=composer:2

FROM ${BUILDER} AS build
ENV COMPOSER_ALLOW_SUPERUSER=1 COMPOSER_CACHE_DIR=/root/.composer
WORKDIR /app
COPY ["composer.json", "./"]
RUN --mount=type=cache,id=gitstead-composer-k3v9qa-shop,target=/root/.composer,sharing=locked \
    ["composer", "--no-interaction", "install", "--no-progress", "--no-dev", "--no-scripts", "--no-autoloader", "--ignore-platform-reqs"]
COPY [".", "./"]
RUN ["composer", "--no-interaction", "dump-autoload", "--no-dev", "--no-scripts", "--optimize"]

FROM ${BASE}
RUN ["sh", \
     "-c", \
     "printf \"%s\\n\" \"$@\" > /etc/apache2/gitstead.conf", \
     "write", \
     "ServerName localhost", \
     "Listen ${PORT}", \
     "PidFile /tmp/apache2.pid", \
     "Mutex sem", \
     "IncludeOptional mods-enabled/*.load", \
     "IncludeOptional mods-enabled/*.conf", \
     "ServerTokens Prod", \
     "ErrorLog /dev/stderr", \
     "LogFormat \"%h %t \\\"%r\\\" %>s %b\" plain", \
     "CustomLog /dev/stdout plain", \
     "DirectoryIndex index.php index.html", \
     "SetEnvIf X-Forwarded-Proto https HTTPS=on", \
     "DocumentRoot /app/public", \
     "<Directory /app/public>", \
     "AllowOverride All", \
     "Require all granted", \
     "Options -Indexes +FollowSymLinks", \
     "</Directory>", \
     "<FilesMatch \"\\.php$\">", \
     "SetHandler application/x-httpd-php", \
     "</FilesMatch>", \
     "<LocationMatch \"/\\.(?!well-known/)\">", \
     "Require all denied", \
     "</LocationMatch>"]
RUN ["a2enmod", "--quiet", "rewrite"]
ENV PORT=8000
WORKDIR /app
COPY --from=build ["/app", "./"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["apache2", "-DFOREGROUND", "-f", "/etc/apache2/gitstead.conf"]
