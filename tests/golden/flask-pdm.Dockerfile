# Made by Gitstead for build.type flask (Flask). To own it: gitstead eject.
# The source asks for version >=3.11 (pyproject.toml).
ARG BASE=gitstead/base-python

FROM ${BASE} AS build
ENV VIRTUAL_ENV=/venv PATH=/venv/bin:$PATH
RUN ["python3", "-m", "venv", "/venv"]
WORKDIR /app
# What pdm.lock pins. PDM fills the active /venv.
RUN ["python3", "-m", "venv", "/tool"]
RUN --mount=type=cache,id=gitstead-pip-k3v9qa-shop,target=/root/.cache/pip,sharing=locked \
    ["/tool/bin/pip", "install", "--disable-pip-version-check", "--root-user-action=ignore", "pdm", "hishel<2"]
ENV PDM_CHECK_UPDATE=false PDM_IGNORE_SAVED_PYTHON=1
COPY ["pyproject.toml", "pdm.lock", "./"]
RUN --mount=type=cache,id=gitstead-pdm-k3v9qa-shop,target=/root/.cache/pdm,sharing=locked \
    ["/tool/bin/pdm", "sync", "--prod", "--no-editable", "--no-self"]
# gunicorn starts the app: it is there, whatever the manifests say.
RUN --mount=type=cache,id=gitstead-pip-k3v9qa-shop,target=/root/.cache/pip,sharing=locked \
    ["pip", "install", "--disable-pip-version-check", "--root-user-action=ignore", "gunicorn"]

FROM ${BASE}
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp PORT=8000
WORKDIR /app
COPY --from=build ["/venv", "/venv"]
COPY [".", "./"]
USER 10001:10001
HEALTHCHECK --interval=2m --timeout=5s --start-period=1m \
    CMD ["python3", "-c", "import os, socket; socket.create_connection(('127.0.0.1', int(os.environ['PORT'])), 3)"]
CMD ["gunicorn", "--threads=8", "--keep-alive=130", "--worker-tmp-dir=/dev/shm", "--access-logfile=-", "app:app"]
