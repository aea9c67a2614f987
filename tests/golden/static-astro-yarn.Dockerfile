# Made by Gitstead for build.type static (Astro). To own it: gitstead eject.
ARG BASE=gitstead/base-static
ARG BUILDER=gitstead/base-node

FROM ${BUILDER} AS build
WORKDIR /app
RUN --mount=type=cache,id=gitstead-npm-k3v9qa-shop,target=/root/.npm,sharing=locked \
    ["npm", "install", "--global", "yarn@1"]
ENV NPM_CONFIG_UPDATE_NOTIFIER=false
COPY ["package.json", "yarn.lock", "./"]
RUN --mount=type=cache,id=gitstead-yarn-k3v9qa-shop,target=/usr/local/share/.cache/yarn,sharing=locked \
    ["yarn", "install", "--non-interactive", "--frozen-lockfile"]
COPY [".", "./"]
RUN ["npm", "run", "build"]

FROM ${BASE}
COPY --from=build ["/app/dist/", "/srv/"]
ENV PORT=8000
USER 10001:10001
# Caddy is the only program in this image: nothing in it could run a HEALTHCHECK. Gitstead asks over HTTP.
