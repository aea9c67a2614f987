# Made by Gitstead for build.type go. To own it: gitstead eject.
ARG BASE=gitstead/base-debian
ARG BUILDER=gitstead/base-go

FROM ${BUILDER} AS build
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-buildvcs=false GOPATH=/root/go
WORKDIR /src
COPY [".", "./"]
RUN --mount=type=cache,id=gitstead-go-modules-k3v9qa-shop,target=/root/go/pkg/mod,sharing=locked \
    --mount=type=cache,id=gitstead-go-build-k3v9qa-shop,target=/root/.cache/go-build,sharing=locked \
    ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", "/out/app", "."]

FROM ${BASE}
ENV PORT=8000
WORKDIR /app
COPY --from=build ["/out/app", "/usr/local/bin/app"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["app"]
