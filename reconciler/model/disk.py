"""What images and build cache take of the engine's disk, as it was measured last.

Made by `adapters.disk_usage` in a thread of its own, part of `Observed`; `plan.collection` compares it with
the host's limits. Free space is not in here: it changes with every look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Layers = tuple[tuple[str, int], ...]
"""The layers of one image, the lowest first, each as (a key that images share with the layer, its bytes)."""


@dataclass(frozen=True)
class Disk:
    """`at` is when it was measured, in Unix seconds; `layers` maps the id of each image that was there to its own.

    `build_cache_bytes` is 0 where nobody asked for it; `build_cache_limit_bytes` 0 = it is left alone.
    `cache_pruned_at` is the last try since this process began.
    """

    at: float
    layers: Mapping[str, Layers] = field(default_factory=lambda: MappingProxyType({}))
    build_cache_bytes: int = 0
    build_cache_limit_bytes: int = 0
    cache_pruned_at: float = 0.0


def taken(layers: Mapping[str, int] | Layers) -> int:
    """Bytes of layers, each counted once."""
    return sum(dict(layers).values())


def shown(size_bytes: float) -> str:
    """A size for people: 412 MB, 1.2 GB."""
    if size_bytes < 1e9:
        return f"{size_bytes / 1e6:.0f} MB"
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes < 1e10 else f"{size_bytes / 1e9:.0f} GB"
