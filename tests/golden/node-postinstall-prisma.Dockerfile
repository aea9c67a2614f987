# Made by Gitstead for build.type node (Express). To own it: gitstead eject.
ARG BASE=gitstead/base-node

FROM ${BASE} AS build
WORKDIR /app
ENV NPM_CONFIG_UPDATE_NOTIFIER=false
# An install script of the package reads the source: all of it comes first.
COPY [".", "./"]
RUN --mount=type=cache,id=gitstead-npm-k3v9qa-shop,target=/root/.npm,sharing=locked \
    ["npm", "ci", "--no-audit", "--no-fund"]
RUN ["npm", "run", "build"]

FROM ${BASE}
ENV NODE_ENV=production HOME=/tmp HOSTNAME=0.0.0.0 PATH=/app/node_modules/.bin:$PATH PORT=8000
WORKDIR /app
COPY --from=build ["/app", "./"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["node", "dist/a.js"]
