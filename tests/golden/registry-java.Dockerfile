# Made by Gitstead for build.type java (Spring Boot). To own it: gitstead eject.
# The source asks for version 21 (pom.xml).
ARG BASE=eclipse-temurin:21-jre
ARG BUILDER=maven:3-eclipse-temurin-21

FROM ${BUILDER} AS build
WORKDIR /src
COPY ["pom.xml", "./"]
RUN --mount=type=cache,id=gitstead-maven-k3v9qa-shop,target=/root/.m2,sharing=locked \
    ["mvn", "-B", "-ntp", "dependency:go-offline"]
COPY [".", "./"]
RUN --mount=type=cache,id=gitstead-maven-k3v9qa-shop,target=/root/.m2,sharing=locked \
    ["mvn", "-B", "-ntp", "-DskipTests", "package"]

FROM ${BASE}
ENV SERVER_PORT=8000 PORT=8000
WORKDIR /app
# One runnable jar; a build that leaves several needs a Dockerfile of its own.
COPY --from=build ["/src/target/*.jar", "/app/app.jar"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["perl", "-MIO::Socket::INET", "-e", "exit !IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ENV{PORT}, Timeout => 3)"]
CMD ["java", "-XX:MaxRAMPercentage=75", "-jar", "/app/app.jar"]
