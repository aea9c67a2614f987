# Made by Gitstead for build.type php. To own it: gitstead eject.
ARG BASE=gitstead/base-php

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
     "DocumentRoot /app", \
     "<Directory /app>", \
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
COPY [".", "./"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["apache2", "-DFOREGROUND", "-f", "/etc/apache2/gitstead.conf"]
