# Made by Gitstead for build.type ruby. To own it: gitstead eject.
ARG BASE=gitstead/base-ruby

FROM ${BASE} AS build
ENV BUNDLE_PATH=/bundle BUNDLE_WITHOUT=development:test
WORKDIR /app
COPY ["Gemfile", "./"]
ENV BUNDLE_GLOBAL_GEM_CACHE=true
RUN --mount=type=cache,id=gitstead-bundler-k3v9qa-shop,target=/root/.bundle/cache,sharing=locked \
    ["bundle", "install"]

FROM ${BASE}
ENV BUNDLE_PATH=/bundle BUNDLE_WITHOUT=development:test
ENV HOME=/tmp RACK_ENV=production PORT=8000
WORKDIR /app
COPY --from=build ["/bundle", "/bundle"]
COPY [".", "./"]
COPY --from=build ["/app/Gemfile.lock", "./"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["bundle", "exec", "puma", "-b", "tcp://0.0.0.0:8000"]
