# Made by Gitstead for build.type java (Spring Boot). To own it: gitstead eject.
ARG BASE=gitstead/base-jre
ARG BUILDER=gitstead/base-java

FROM ${BUILDER} AS build
WORKDIR /src
COPY ["build.gradle", "gradlew", "./"]
COPY ["gradle/", "./gradle/"]
# Gradle itself, so that only a newer wrapper fetches it again.
RUN --mount=type=cache,id=gitstead-gradle-k3v9qa-shop,target=/root/.gradle,sharing=locked \
    ["sh", "gradlew", "--no-daemon", "--console=plain", "--version"]
COPY [".", "./"]
RUN --mount=type=cache,id=gitstead-gradle-k3v9qa-shop,target=/root/.gradle,sharing=locked \
    ["sh", "gradlew", "--no-daemon", "--console=plain", "bootJar"]

FROM ${BASE}
ENV SERVER_PORT=8000 PORT=8000
WORKDIR /app
# One runnable jar; a build that leaves several needs a Dockerfile of its own.
COPY --from=build ["/src/build/libs/*.jar", "/app/app.jar"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["java", "-XX:MaxRAMPercentage=75", "-jar", "/app/app.jar"]
