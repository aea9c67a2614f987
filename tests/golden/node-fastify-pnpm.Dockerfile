# Made by Gitstead for build.type node (Fastify). To own it: gitstead eject.
ARG BASE=gitstead/base-node

FROM ${BASE} AS build
WORKDIR /app
RUN --mount=type=cache,id=gitstead-npm-k3v9qa-shop,target=/root/.npm,sharing=locked \
    ["npm", "install", "--global", "pnpm@8"]
ENV CI=true NPM_CONFIG_STORE_DIR=/root/.local/share/pnpm/store
COPY ["package.json", ".npmrc", "pnpm-lock.yaml", "./"]
RUN --mount=type=cache,id=gitstead-pnpm-k3v9qa-shop,target=/root/.local/share/pnpm/store,sharing=locked \
    ["pnpm", "install", "--frozen-lockfile"]
COPY [".", "./"]
RUN ["npm", "run", "build"]
RUN --mount=type=cache,id=gitstead-pnpm-k3v9qa-shop,target=/root/.local/share/pnpm/store,sharing=locked \
    ["pnpm", "prune", "--prod"]

FROM ${BASE}
ENV NODE_ENV=production HOME=/tmp HOSTNAME=0.0.0.0 PATH=/app/node_modules/.bin:$PATH PORT=8000
WORKDIR /app
COPY --from=build ["/app", "./"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["node", "dist/index.js"]
