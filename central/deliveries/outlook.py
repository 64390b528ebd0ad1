"""When the backlog of a system will be through, from what its newest attempts got done. Pure."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW_MS = 15 * 60_000
"""Attempts that count: long enough for a quiet hour's trickle, short enough to follow a system that recovers."""
SHORTEST_MS = 10_000
"""A rate over less time than this says nothing."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """`per_minute` deliveries get done; `through_ms` is None where nothing is under way or nobody can tell.

    `gathering` ones are not under way yet: they wait for the close of their group, or for their schedule's time.
    """

    left: int
    per_minute: float
    through_ms: int | None
    gathering: int = 0


def outlook(
    now_ms: int, left: int, done: int, first_ms: int | None, paused_until_ms: int, gathering: int = 0
) -> Outlook:
    """How it goes on at the present rate.

    Args:
        left: deliveries that are ready or under way.
        done: deliveries that attempts of the last `WINDOW_MS` got done.
        first_ms: when the first of these attempts began, None where there were none.
        paused_until_ms: the system rests until then.
    """
    if first_ms is None or not done:
        return Outlook(left, 0.0, None, gathering)
    over_ms = max(now_ms - first_ms, SHORTEST_MS)
    per_ms = done / over_ms
    begins_ms = max(now_ms, paused_until_ms)
    through_ms = begins_ms + round(left / per_ms) if left else None
    return Outlook(left, round(per_ms * 60_000, 1), through_ms, gathering)
