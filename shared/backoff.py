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


class Reminders:
    """Whether a fault that goes on is worth telling again: at once when it changed, else after ever longer pauses."""

    def __init__(self, first_s: float = 60.0, cap_s: float = 3_600.0) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._told: dict[
            str, tuple[object, float, float]
        ] = {}  # what was said, the pause, the tick of its end

    def is_due(self, of: str, what: object, tick_ms: int) -> bool:
        """Whether to tell now that *what* is wrong with *of*; counts as told then."""
        said, pause_s, again_ms = self._told.get(of, (None, 0.0, 0.0))
        if said != what:
            pause_s = self._first_s
        elif tick_ms < again_ms:
            return False
        else:
            pause_s = min(pause_s * 2, self._cap_s)
        self._told[of] = what, pause_s, tick_ms + pause_s * 1000
        return True

    def forget(self, of: str) -> None:
        """It is well again."""
        self._told.pop(of, None)
