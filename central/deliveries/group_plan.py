"""Decide which group a document joins, and when a group closes. Pure: facts come in, groups to be filled go out.

Rule 1: a group that is closed never changes. A document that comes later opens a correction of it, and the group with
its corrections is what all its documents sum to, in whatever order they came.
Rule 2: a group closes `after` its close, and never sooner than `after` it was opened: late documents that come one by
one make one correction and not one each.
Rule 3: what a group is called over there follows from what its documents have in common and the number of the
correction alone; not from its members, which may be others when a centre was restored from a backup.
`central/deliveries/groups.py` performs this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import orjson

from central.mapping.grouping import MEMBERS_MAX

_NAMED = ("business_date", "store", "station", "shift", "kind", "currency")


class Arrival(NamedTuple):
    """A document that is to join its group. `close_ms` is the end of its day, None where a shift's close counts."""

    doc_no: int
    group_key: str
    close_ms: int | None


class Newest(NamedTuple):
    """The newest group of a key, corrections included."""

    correction: int
    is_open: bool
    size: int
    since_ms: int
    due_ms: int | None


@dataclass
class Filling:
    """A group and the documents that join it now; `size` and `due_ms` are those with them."""

    group_key: str
    correction: int
    is_new: bool
    size: int
    since_ms: int
    due_ms: int | None
    doc_nos: list[int] = field(default_factory=list)


def fill(
    arrivals: Iterable[Arrival],
    newest: Mapping[str, Newest],
    now_ms: int,
    after_s: int,
    members_max: int = MEMBERS_MAX,
) -> list[Filling]:
    """Put documents into their groups, and open groups for those that have none that is open.

    Args:
        newest: by group key, where there is a group.
        now_ms: when a group that is made here was opened.
    """
    filled: list[Filling] = []
    current: dict[str, Filling] = {}
    for doc_no, key, close_ms in arrivals:
        filling = current.get(key)
        if filling is None and (known := newest.get(key)) and known.is_open:
            filling = Filling(key, known.correction, False, known.size, known.since_ms, known.due_ms)
        if filling is None or filling.size >= members_max:
            before = filling.correction if filling else newest[key].correction if key in newest else -1
            filling = Filling(key, before + 1, True, 0, now_ms, None)
        if current.get(key) is not filling:
            current[key] = filling
            filled.append(filling)
        filling.doc_nos.append(doc_no)
        filling.size += 1
        if close_ms is not None:
            filling.due_ms = max(filling.due_ms or 0, due_ms(close_ms, filling.since_ms, after_s))
        if filling.size >= members_max:
            filling.due_ms = now_ms
    return filled


def due_ms(close_ms: int, opened_ms: int, after_s: int) -> int:
    """When a group closes whose day or shift ended, or ends, at *close_ms*."""
    return max(close_ms, opened_ms) + after_s * 1000


def day_end_ms(header: Mapping[str, Any]) -> int | None:
    """24:00 of a document's business date, where it was made; None where the date cannot be read."""
    try:
        day = date.fromisoformat(str(header["business_date"])) + timedelta(days=1)
    except (KeyError, ValueError, OverflowError):
        return None
    return round(datetime.combine(day, time(), _zone(header.get("zone"))).timestamp() * 1000)


def _zone(name: object) -> tzinfo:
    try:
        return ZoneInfo(str(name)) if name else UTC
    except (KeyError, ValueError, OSError):
        return UTC  # at most half a day off: the rest of the day makes a correction


class Shift(NamedTuple):
    """The shift that a group waits for."""

    station: str
    shift: str | None
    business_date: str | None

    def is_closed(self, closed: Mapping[tuple[str, str], str]) -> bool:
        """Whether it is among shifts that are, each with the newest date of a close.

        Where the group is of a date, a close before that date was of an earlier shift of the same name.
        """
        date_ = closed.get((self.station, self.shift)) if self.shift is not None else None
        return date_ is not None and (self.business_date is None or date_ >= self.business_date)


def named(shifts: Iterable[Shift]) -> set[tuple[str, str]]:
    """Those that a close can name."""
    return {(one.station, one.shift) for one in shifts if one.shift is not None}


def shift_of(group_key: str) -> Shift:
    """Of a group that closes with its shift."""
    parts = orjson.loads(group_key)
    shift = parts["shift"]
    return Shift(parts["station"], shift if isinstance(shift, str) else None, parts.get("business_date"))


def identity(group_key: str, correction: int) -> str:
    """What stands for the group in its delivery key: as long as a doc_id, and the same for ever."""
    told = f"{correction} {group_key}".encode()
    return f"group-{hashlib.sha256(told).hexdigest()[:30]}"


def name_of(group_key: str, correction: int) -> str:
    """What people call it, e.g. `2026-08-09-S1-EUR`, and `2026-08-09-S1-EUR-c1` for its first correction."""
    parts = orjson.loads(group_key)
    told = [str(parts[name]) for name in _NAMED if parts.get(name) is not None]
    return "-".join([*told, f"c{correction}"] if correction else told)


def common(group_key: str, name: str) -> str:
    """A part of what its documents have in common, empty where it is none."""
    return str(orjson.loads(group_key).get(name) or "")


def by_of(group_key: str) -> list[str]:
    """What the group was made by, whatever the definition says by now."""
    return list(orjson.loads(group_key))
