"""When a failed attempt may be made again.

Used by the passes of `plan`; pure, so jitter comes from a digest of what is retried.
"""

from __future__ import annotations

import hashlib

FIRST_S = 1.0
LONGEST_S = 900.0
JITTER = 0.1


def delay_s(attempt: int, seed: str) -> float:
    """Seconds to wait after attempt number `attempt` (from 1): 1 s doubling up to 15 min, ± 10 %."""
    base = min(FIRST_S * 2.0 ** max(attempt - 1, 0), LONGEST_S) if attempt < 64 else LONGEST_S
    fraction = int.from_bytes(hashlib.sha256(f"{seed}/{attempt}".encode()).digest()[:4], "big") / 2**32
    return base * (1 + JITTER * (2 * fraction - 1))


def repair_at(repairs: tuple[float, ...], now: float, seed: str) -> float:
    """When the next start for drift may happen: the more starts in the last 15 minutes, the later.

    The first repair is always at once; `repairs` are the times of earlier ones, oldest first.
    """
    recent = [at for at in repairs if now - at < LONGEST_S]
    return recent[-1] + delay_s(len(recent), seed) if recent else now
