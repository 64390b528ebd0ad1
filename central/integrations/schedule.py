"""When a pull is due, and whether it then reads all or goes on from its cursor. Pure; times are the database's.

Rule 1: somebody who asks is served at once, whatever pause there is. Rule 2: what was missed while the centre was off
is made up for once, not once per missed time. A pull without `every` and `cron` runs only when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from cronsim import CronSim

from central.integrations.definition import Deliver, Pull, seconds_of

BACKOFF_BASE_S = 5.0
BACKOFF_CAP_S = 900.0


@dataclass(frozen=True, slots=True)
class PullState:
    """Where a pull stands, as stored. A pull that never ran has none of it."""

    cursor: str | None = None
    shape: bytes = b""
    run_ms: int = 0
    full_ms: int = 0
    asked_ms: int = 0
    asked_full: bool = False
    failures: int = 0
    not_before_ms: int = 0
    problem: str | None = None


class Due(NamedTuple):
    """A run to be made now."""

    why: Literal["asked", "schedule"]
    is_full: bool


def due(pull: Pull, state: PullState, shape: bytes, now_ms: int, *, has_cursor: bool) -> Due | None:
    """The run that is to be made now, if any.

    Args:
        shape: of the pull as it is now; rows that were made by another one are all made anew.
        has_cursor: whether the source can be read from a cursor at all.
    """
    if not pull.enabled:
        return None
    asked = state.asked_ms > state.run_ms
    if not asked and not _scheduled(pull, state, now_ms):
        return None
    is_full = (
        not has_cursor
        or state.cursor is None
        or state.shape != shape
        or state.asked_full
        or (pull.full_every is not None and now_ms >= state.full_ms + seconds_of(pull.full_every) * 1000)
    )
    return Due("asked" if asked else "schedule", is_full)


def _scheduled(pull: Pull, state: PullState, now_ms: int) -> bool:
    if state.failures:
        return now_ms >= state.not_before_ms  # what failed is tried again when its pause is over
    next_ms = next_run_ms(pull, state)
    return next_ms is not None and now_ms >= next_ms


def next_run_ms(pull: Pull, state: PullState) -> int | None:
    """When the schedule wants the next run; None: never by itself."""
    if pull.every is None and pull.cron is None:
        return None
    if not state.run_ms:
        return 0
    if pull.every is not None:
        return state.run_ms + seconds_of(pull.every) * 1000
    assert pull.cron is not None
    after = next(CronSim(pull.cron, datetime.fromtimestamp(state.run_ms / 1000, UTC)), None)
    return None if after is None else round(after.timestamp() * 1000)


def last_tick_ms(deliver: Deliver, now_ms: int) -> int:
    """The newest time at which the schedule of a `[[deliver]]` sent what there was; now where it has none.

    `every` counts from midnight UTC of 1970, so that all nodes agree without a word, also after a start.
    """
    if deliver.every is not None:
        every_ms = seconds_of(deliver.every) * 1000
        return now_ms - now_ms % every_ms
    if deliver.cron is not None:
        # It looks for times before the one given, so this minute's begins the search.
        from_ms = now_ms + 60_000 - now_ms % 60_000
        begin = datetime.fromtimestamp(from_ms / 1000, UTC)
        found = next((at for at in CronSim(deliver.cron, begin, reverse=True) if at < begin), None)
        return 0 if found is None else round(found.timestamp() * 1000)
    return now_ms
