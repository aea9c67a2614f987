"""What images and build cache take of the engine's disk, as it was measured last.

Made by `adapters.disk_usage` in a thread of its own, part of `Observed`; `plan.collection` compares it with
the host's limits. Free space is not in here: it changes with every look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Layers = tuple[tuple[str, int], ...]
"""The layers of one image, the lowest first, each as (a key that images share with the layer, its bytes)."""


@dataclass(frozen=True)
class Disk:
    """`at` is when it was measured, in Unix seconds; `layers` maps the id of each image that was there to its own.

    `ours` are the ids of those that carry a name of ours. `build_cache_bytes` is 0 where nobody asked for it;
    `build_cache_limit_bytes` 0 = it is left alone.
    `cache_pruned_at` is the last try since this process began.
    """

    at: float
    layers: Mapping[str, Layers] = field(default_factory=lambda: MappingProxyType({}))
    ours: frozenset[str] = frozenset()
    build_cache_bytes: int = 0
    build_cache_limit_bytes: int = 0
    cache_pruned_at: float = 0.0


def taken(images: Iterable[Layers]) -> int:
    """Bytes of the layers of images, each counted once."""
    return sum({key: size for layers in images for key, size in layers}.values())


def images_text(layers: Mapping[str, Layers], ours: frozenset[str]) -> str:
    """What images take, for people; of ours what they share with others is counted as well."""
    of_ours = taken(layers[each] for each in ours if each in layers)
    images = f"{len(layers)} image{'' if len(layers) == 1 else 's'}"
    return f"{images} {shown(taken(layers.values()))}, {len(ours)} of ours {shown(of_ours)}"


def shown(size_bytes: float) -> str:
    """A size for people: 412 MB, 1.2 GB."""
    if size_bytes < 1e9:
        return f"{size_bytes / 1e6:.0f} MB"
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes < 1e10 else f"{size_bytes / 1e9:.0f} GB"
