# Made by Gitstead for build.type ruby. To own it: gitstead eject.
ARG BASE=gitstead/base-ruby

FROM ${BASE}
ENV HOME=/tmp RACK_ENV=production PORT=8000
WORKDIR /app
COPY [".", "./"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["ruby", "app.rb"]
