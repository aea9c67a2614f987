# Made by Gitstead for build.type static (Vite). To own it: gitstead eject.
ARG BASE=gitstead/base-static
ARG BUILDER=node:24-slim

FROM ${BUILDER} AS build
WORKDIR /app
ENV NPM_CONFIG_UPDATE_NOTIFIER=false
COPY ["package.json", "package-lock.json", "./"]
RUN --mount=type=cache,id=gitstead-npm-k3v9qa-shop,target=/root/.npm,sharing=locked \
    ["npm", "ci", "--no-audit", "--no-fund"]
COPY [".", "./"]
RUN ["npm", "run", "build"]

FROM ${BASE}
COPY --from=build ["/app/dist/", "/srv/"]
ENV PORT=8000
USER 10001:10001
# Caddy is the only program in this image: nothing in it could run a HEALTHCHECK. Gitstead asks over HTTP.
