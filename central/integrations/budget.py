"""How many calls a credential has left: a bucket that fills steadily and is shared by all who use it. Pure.

A share of what the other system allows is left to other software. What a step really called is known only after it:
the bucket then goes below zero and the next step waits the longer, so the rate holds over any longer time.
"""

from __future__ import annotations

from typing import NamedTuple

MICRO = 1_000_000


class Allowance(NamedTuple):
    """What we take of a credential: `calls` in `per_s` seconds, of which the share `leave` is not ours."""

    calls: int
    per_s: float
    leave: float

    @property
    def capacity_micro(self) -> int:
        """A full bucket: at least one call, or nothing would ever go."""
        return max(MICRO, int(self.calls * (1 - self.leave) * MICRO))

    @property
    def micro_per_ms(self) -> float:
        return self.capacity_micro / (self.per_s * 1000)


class Bucket(NamedTuple):
    """What is left, as it was at `at_ms`."""

    calls_micro: int
    at_ms: int


def spend(allowance: Allowance, bucket: Bucket | None, now_ms: int, calls: int) -> tuple[Bucket, float]:
    """Take *calls* out of the bucket if it has them.

    Args:
        bucket: None where the credential was never used.
    Returns:
        the bucket afterwards, and the seconds to wait (0: the calls are taken; else nothing is).
    """
    filled = fill(allowance, bucket, now_ms)
    # No step may want more than a full bucket, or it would wait for ever.
    wanted = min(calls * MICRO, allowance.capacity_micro)
    if filled.calls_micro >= wanted:
        return Bucket(filled.calls_micro - wanted, filled.at_ms), 0.0
    return filled, (wanted - filled.calls_micro) / allowance.micro_per_ms / 1000


def settle(allowance: Allowance, bucket: Bucket | None, now_ms: int, calls: int) -> Bucket:
    """Take out what was called beyond what was spent before (or give back, where it was less)."""
    filled = fill(allowance, bucket, now_ms)
    return Bucket(min(allowance.capacity_micro, filled.calls_micro - calls * MICRO), filled.at_ms)


def fill(allowance: Allowance, bucket: Bucket | None, now_ms: int) -> Bucket:
    """The bucket as it is now; a clock that was set back fills nothing."""
    if bucket is None:
        return Bucket(allowance.capacity_micro, now_ms)
    grown = int(max(0, now_ms - bucket.at_ms) * allowance.micro_per_ms)
    return Bucket(min(allowance.capacity_micro, bucket.calls_micro + grown), max(now_ms, bucket.at_ms))
