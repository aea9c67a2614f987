# Made by Gitstead for build.type static: files as they are, served by Caddy, but for hidden ones.
ARG BASE=gitstead/base-static

FROM ${BASE}
COPY ["public/", "/srv/"]
ENV PORT=8000
USER 10001:10001
# Caddy is the only program in this image: nothing in it could run a HEALTHCHECK. Gitstead asks over HTTP.
