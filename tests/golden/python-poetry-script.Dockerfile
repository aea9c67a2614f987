# Made by Gitstead for build.type python. To own it: gitstead eject.
# The source asks for version ^3.11 (pyproject.toml).
ARG BASE=gitstead/base-python

FROM ${BASE} AS build
ENV VIRTUAL_ENV=/venv PATH=/venv/bin:$PATH
RUN ["python3", "-m", "venv", "/venv"]
WORKDIR /app
# What poetry.lock pins. Poetry fills the active /venv.
RUN ["python3", "-m", "venv", "/tool"]
RUN --mount=type=cache,id=gitstead-pip-k3v9qa-shop,target=/root/.cache/pip,sharing=locked \
    ["/tool/bin/pip", "install", "--disable-pip-version-check", "--root-user-action=ignore", "poetry"]
COPY ["pyproject.toml", "./"]
RUN --mount=type=cache,id=gitstead-poetry-k3v9qa-shop,target=/root/.cache/pypoetry,sharing=locked \
    ["/tool/bin/poetry", "install", "--only=main", "--no-interaction", "--no-root"]
COPY [".", "./"]
RUN --mount=type=cache,id=gitstead-poetry-k3v9qa-shop,target=/root/.cache/pypoetry,sharing=locked \
    ["/tool/bin/poetry", "install", "--only=main", "--no-interaction"]

FROM ${BASE}
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp PORT=8000
WORKDIR /app
COPY --from=build ["/venv", "/venv"]
COPY [".", "./"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["python3", "-c", "import os, socket; socket.create_connection(('127.0.0.1', int(os.environ['PORT'])), 3)"]
CMD ["shop"]
