"""How a credential fared: what is told about it, and never what it is.

Made by `adapters.git_access`, carried by the heartbeat, shown by `gitstead credentials`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CredentialUse:
    """`used_at` is when a host last accepted it, Unix seconds, 0 never; `error` what went wrong since, "" nothing."""

    used_at: float = 0.0
    error: str = ""
