# Made by Gitstead for build.type node. To own it: gitstead eject.
ARG BASE=gitstead/base-node

FROM ${BASE} AS build
WORKDIR /app
RUN --mount=type=cache,id=gitstead-npm-k3v9qa-shop,target=/root/.npm,sharing=locked \
    ["npm", "install", "--global", "@yarnpkg/cli-dist@4"]
ENV YARN_NODE_LINKER=node-modules YARN_ENABLE_TELEMETRY=0
COPY ["package.json", ".yarnrc.yml", "yarn.lock", "./"]
COPY ["apps/web/package.json", "./apps/web/"]
COPY [".yarn/releases/", "./.yarn/releases/"]
RUN --mount=type=cache,id=gitstead-yarn-k3v9qa-shop,target=/root/.yarn/berry/cache,sharing=locked \
    ["yarn", "install", "--immutable"]
COPY [".", "./"]
RUN ["npm", "run", "build"]

FROM ${BASE}
ENV NODE_ENV=production HOME=/tmp HOSTNAME=0.0.0.0 PATH=/app/node_modules/.bin:$PATH PORT=8000
WORKDIR /app
COPY --from=build ["/app", "./"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["node", "apps/web/x.js"]
