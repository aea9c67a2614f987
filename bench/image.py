"""The smallest app that serves HTTP: a static busybox, one page, and a repository that holds it.

Used by every benchmark with containers, so that what is measured is the way to an app, not the app. The
page says the repository's version and the environment's GREETING, so that either is seen from outside.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Mapping

from bench.debian import Mirror

_SERVE = """\
read -r version < /app/version
echo "$version $GREETING" > /www/index.html
exec /busybox httpd -f -p "$PORT" -h /www
"""
_OTHER_FILES = 50


def import_base(name: str, mirror: Mirror) -> None:
    """Give the engine the image that the app is built on, as `name`. `GitsteadError` without busybox."""
    busybox = next(mirror.unpacked("busybox-static").rglob("bin/busybox"))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, data in (("busybox", busybox.read_bytes()), ("serve", _SERVE.encode())):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
        for path in ("www", "app"):
            folder = tarfile.TarInfo(path)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
    command = ["docker", "import", "--change", 'CMD ["/busybox", "sh", "/serve"]', "-", name]
    subprocess.run(command, input=packed.getvalue(), check=True, capture_output=True)


def app_files(base: str, version: str) -> Mapping[str, str | bytes | None]:
    """A repository of about fifty files whose page begins with `version`."""
    others = {f"src/file{number:02}.txt": f"file {number}\n" * 40 for number in range(_OTHER_FILES)}
    return {"Dockerfile": f"FROM {base}\nCOPY . /app\n", "version": f"{version}\n", **others}
