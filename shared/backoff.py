"""How long to wait before trying again: exponential with full jitter. It computes delays and never sleeps.

Full jitter (a uniform draw between nothing and the bound) spreads a chain's stations over time after an outage.
"""

from __future__ import annotations

import random


def full_jitter(attempt: int, rng: random.Random, base_s: float = 1.0, cap_s: float = 300.0) -> float:
    """Seconds to wait before try number *attempt* + 1 (attempts count from 1)."""
    bound = min(cap_s, base_s * 2 ** min(attempt - 1, 30))
    return rng.uniform(0, bound)


def next_delay(
    attempt: int, rng: random.Random, retry_after_s: float | None, base_s: float = 1.0, cap_s: float = 300.0
) -> float:
    """As `full_jitter`, but never sooner than the server's Retry-After."""
    return max(full_jitter(attempt, rng, base_s, cap_s), retry_after_s or 0.0)
