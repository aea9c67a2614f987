# Made by Gitstead for build.type ruby (Rails). To own it: gitstead eject.
# The source asks for version 3.3.0 (Gemfile).
ARG BASE=gitstead/base-ruby

FROM ${BASE} AS build
ENV BUNDLE_PATH=/bundle BUNDLE_WITHOUT=development:test BUNDLE_DEPLOYMENT=1
WORKDIR /app
COPY ["Gemfile", "Gemfile.lock", "./"]
ENV BUNDLE_GLOBAL_GEM_CACHE=true
RUN --mount=type=cache,id=gitstead-bundler-k3v9qa-shop,target=/root/.bundle/cache,sharing=locked \
    ["bundle", "install"]

FROM ${BASE}
ENV BUNDLE_PATH=/bundle BUNDLE_WITHOUT=development:test BUNDLE_DEPLOYMENT=1
ENV HOME=/tmp RAILS_ENV=production RAILS_LOG_TO_STDOUT=1 RAILS_SERVE_STATIC_FILES=1 PORT=8000
WORKDIR /app
COPY --from=build ["/bundle", "/bundle"]
COPY [".", "./"]
RUN ["env", "SECRET_KEY_BASE=only-for-the-build", "bundle", "exec", "rails", "assets:precompile"]
# Rails writes there.
RUN ["sh", "-c", "mkdir -p tmp log storage && chown -R 10001:10001 tmp log storage"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["bundle", "exec", "rails", "server", "-b", "0.0.0.0", "-p", "8000"]
