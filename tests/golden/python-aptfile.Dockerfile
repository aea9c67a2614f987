# Made by Gitstead for build.type python. To own it: gitstead eject.
ARG BASE=gitstead/base-python

FROM ${BASE} AS build
# Debian packages that the Aptfile names.
RUN --mount=type=cache,id=gitstead-apt-lists-k3v9qa-shop,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=cache,id=gitstead-apt-k3v9qa-shop,target=/var/cache/apt,sharing=locked \
    ["sh", "-c", "apt-get update && apt-get install --yes --no-install-recommends \"$@\"", "install", "ffmpeg", "libpq5"]
ENV VIRTUAL_ENV=/venv PATH=/venv/bin:$PATH
RUN ["python3", "-m", "venv", "/venv"]
WORKDIR /app
# What requirements.txt names.
COPY ["requirements.txt", "./"]
RUN --mount=type=cache,id=gitstead-pip-k3v9qa-shop,target=/root/.cache/pip,sharing=locked \
    ["pip", "install", "--disable-pip-version-check", "--root-user-action=ignore", "-r", "requirements.txt"]

FROM ${BASE}
# Debian packages that the Aptfile names.
RUN --mount=type=cache,id=gitstead-apt-lists-k3v9qa-shop,target=/var/lib/apt/lists,sharing=locked \
    --mount=type=cache,id=gitstead-apt-k3v9qa-shop,target=/var/cache/apt,sharing=locked \
    ["sh", "-c", "apt-get update && apt-get install --yes --no-install-recommends \"$@\"", "install", "ffmpeg", "libpq5"]
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp PORT=8000
WORKDIR /app
COPY --from=build ["/venv", "/venv"]
COPY [".", "./"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["python3", "-c", "import os, socket; socket.create_connection(('127.0.0.1', int(os.environ['PORT'])), 3)"]
CMD ["python", "main.py"]
