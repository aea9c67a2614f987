# Made by Gitstead for build.type node (Express). To own it: gitstead eject.
# The source asks for version v22.3.0 (.nvmrc).
ARG BASE=node:22-slim

FROM ${BASE} AS build
WORKDIR /app
ENV NPM_CONFIG_UPDATE_NOTIFIER=false
COPY ["package.json", "package-lock.json", "./"]
RUN --mount=type=cache,id=gitstead-npm-k3v9qa-shop,target=/root/.npm,sharing=locked \
    ["npm", "ci", "--omit=dev", "--no-audit", "--no-fund"]

FROM ${BASE}
ENV NODE_ENV=production HOME=/tmp HOSTNAME=0.0.0.0 PATH=/app/node_modules/.bin:$PATH PORT=8000
WORKDIR /app
COPY --from=build ["/app/node_modules", "./node_modules"]
COPY [".", "./"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["node", "server.js"]
