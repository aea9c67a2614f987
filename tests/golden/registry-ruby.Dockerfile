# Made by Gitstead for build.type ruby (Rails). To own it: gitstead eject.
# The source asks for version 3.3.0 (Gemfile).
ARG BASE=ruby:3.3-slim
ARG BUILDER=ruby:3.3

FROM ${BUILDER} AS build
ENV BUNDLE_PATH=/bundle BUNDLE_WITHOUT=development:test BUNDLE_DEPLOYMENT=1
WORKDIR /app
COPY ["Gemfile", "Gemfile.lock", "./"]
ENV BUNDLE_GLOBAL_GEM_CACHE=true
RUN --mount=type=cache,id=gitstead-bundler-k3v9qa-shop,target=/root/.bundle/cache,sharing=locked \
    ["bundle", "install"]

FROM ${BASE}
ENV BUNDLE_PATH=/bundle BUNDLE_WITHOUT=development:test BUNDLE_DEPLOYMENT=1
ENV HOME=/tmp RACK_ENV=production PORT=8000
WORKDIR /app
COPY --from=build ["/bundle", "/bundle"]
COPY [".", "./"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["bundle", "exec", "rails", "server", "-b", "0.0.0.0", "-p", "8000"]
