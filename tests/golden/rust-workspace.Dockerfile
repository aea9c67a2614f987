# Made by Gitstead for build.type rust. To own it: gitstead eject.
ARG BASE=gitstead/base-debian
ARG BUILDER=gitstead/base-rust

FROM ${BUILDER} AS build
WORKDIR /src
COPY [".", "./"]
# What was compiled before stays in the caches; the program is taken out of them in the same step.
ENV CARGO_HOME=/cargo CARGO_TARGET_DIR=/target
RUN --mount=type=cache,id=gitstead-cargo-k3v9qa-shop,target=/cargo,sharing=locked \
    --mount=type=cache,id=gitstead-cargo-target-k3v9qa-shop,target=/target,sharing=locked \
    ["sh", "-c", "cargo build --release --bin \"$1\" && install -D \"/target/release/$1\" \"/out/$1\"", "build", "web"]

FROM ${BASE}
ENV PORT=8000
WORKDIR /app
COPY --from=build ["/out/web", "/usr/local/bin/web"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["web"]
