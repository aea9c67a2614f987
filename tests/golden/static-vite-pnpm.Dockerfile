# Made by Gitstead for build.type static (Vite). To own it: gitstead eject.
ARG BASE=gitstead/base-static
ARG BUILDER=gitstead/base-node

FROM ${BUILDER} AS build
WORKDIR /app
RUN --mount=type=cache,id=gitstead-npm-k3v9qa-shop,target=/root/.npm,sharing=locked \
    ["npm", "install", "--global", "pnpm@10"]
ENV CI=true NPM_CONFIG_STORE_DIR=/root/.local/share/pnpm/store
COPY ["package.json", "pnpm-lock.yaml", "./"]
RUN --mount=type=cache,id=gitstead-pnpm-k3v9qa-shop,target=/root/.local/share/pnpm/store,sharing=locked \
    ["pnpm", "install", "--frozen-lockfile"]
COPY [".", "./"]
RUN ["npm", "run", "build"]

FROM ${BASE}
COPY --from=build ["/app/dist/", "/srv/"]
ENV PORT=8000
USER 10001:10001
# Caddy is the only program in this image: nothing in it could run a HEALTHCHECK. Gitstead asks over HTTP.
