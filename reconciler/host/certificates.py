"""The certificate authorities that this machine trusts beyond its distribution's own.

Called by `base_image`: behind a proxy that inspects TLS, package registries answer inside builds only if
the image trusts the same authorities. Reads files only; changes no trust of this machine.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable
from pathlib import Path

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
_SHIPPED = Path("/usr/share/ca-certificates")
_ADDED = Path("/usr/local/share/ca-certificates")


def host_bundle() -> Path | None:
    """The file of all trusted authorities: the one that OpenSSL is told to use, else the system's."""
    candidates = (ssl.get_default_verify_paths().cafile, *_BUNDLES)
    return next((Path(path) for path in candidates if path and Path(path).is_file()), None)


def local_certificates(bundle: Path | None, *, shipped: Path = _SHIPPED, added: Path = _ADDED) -> tuple[bytes, ...]:
    """The authorities that an administrator added, each as PEM.

    They are those in the `added` folder, and those of the bundle that the distribution does not ship
    (where we can tell), since some machines have theirs appended to the bundle only.
    """
    shipped_by_distribution = _blocks(shipped.rglob("*.crt"))
    found = dict.fromkeys(_blocks(added.rglob("*.crt")))
    if bundle is not None and shipped_by_distribution:
        found |= dict.fromkeys(_blocks([bundle]))
    known = set(shipped_by_distribution)
    return tuple(block for block in found if block not in known)


def _blocks(paths: Iterable[Path]) -> list[bytes]:
    return [
        block.replace(b"\r\n", b"\n")
        for path in sorted(paths)
        if path.is_file()
        for block in _PEM.findall(path.read_bytes())
    ]
