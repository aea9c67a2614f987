"""Key pairs for ssh: made by ssh-keygen in memory-backed files, and what may be told of one.

Called by `git_access` and by `bootstrap.credentials` for `gitstead deploy-key`. A private half never reaches a
disk, an argv or a message.
"""

from __future__ import annotations

import base64
import binascii
import struct
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.adapters import processes
from reconciler.adapters.git_hosts import fingerprint
from reconciler.errors import HostUnfit

_MAGIC = b"openssh-key-v1\0"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory; the folder in it is ours alone
_MAKING_S = 30.0


@dataclass(frozen=True)
class PublicKey:
    """The half that everybody may see: `kind` and the key in base64."""

    kind: str
    key: str

    @property
    def fingerprint(self) -> str:
        return fingerprint(base64.b64decode(self.key))

    def line(self, comment: str) -> str:
        """As a forge wants it."""
        return f"{self.kind} {self.key} {comment}"


@dataclass(frozen=True)
class KeyPair:
    public: PublicKey
    private: str = field(repr=False)


def make_key_pair() -> KeyPair:
    """A new ed25519 pair without a passphrase. Raises `HostUnfit` where ssh-keygen or memory for it is missing."""
    if not _MEMORY.is_dir():
        raise HostUnfit(f"{_MEMORY} is missing", expected="a file system in memory for a private key")
    with tempfile.TemporaryDirectory(prefix="gitstead-key-", dir=_MEMORY) as folder:
        path = Path(folder) / "key"
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
        processes.run(argv, timeout_s=_MAKING_S, env=processes.inherited())
        private = path.read_text()
    public = public_of_private(private)
    if public is None:
        raise HostUnfit("ssh-keygen made a key that cannot be read", expected="a key in OpenSSH's own format")
    return KeyPair(public, private)


def public_of_private(text: str) -> PublicKey | None:
    """The public half, which OpenSSH's own format carries in plain; None for any other text."""
    lines = text.strip().splitlines()
    if len(lines) < 3 or lines[0].strip() != "-----BEGIN OPENSSH PRIVATE KEY-----":
        return None
    try:
        data = base64.b64decode("".join(lines[1:-1]))
        if not data.startswith(_MAGIC):
            return None
        rest = data[len(_MAGIC) :]
        for _ in range(3):
            _, rest = _string(rest)
        blob, _ = _string(rest[4:])
        return PublicKey(_string(blob)[0].decode("ascii"), base64.b64encode(blob).decode())
    except (binascii.Error, ValueError, struct.error):
        return None


def _string(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack_from(">I", data)
    return data[4 : 4 + length], data[4 + length :]
