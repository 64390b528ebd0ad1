"""From what a source says to what really changed.

`differences` is the whole of publishing that is not storage: a row whose payload is the same is no change, whatever
the source claims, so a till never fetches anything twice and a full list costs nothing when nothing moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.canonical import version_of
from shared.digest import row_hash


@dataclass(frozen=True, slots=True)
class Change:
    """One row as it shall be; `payload` None deletes it."""

    entity: str
    key: str
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class RowChange:
    """A change that is one: the row's new version (None for a tombstone), ready to be written."""

    entity: str
    key: str
    version: bytes | None
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class Differences:
    """What to write, and by how much the scope's digest moves."""

    rows: list[RowChange]
    count: int
    total: int


def differences(
    changes: Mapping[tuple[str, str], bytes | None], current: Mapping[tuple[str, str], bytes | None]
) -> Differences:
    """Which of *changes* differ from *current*.

    Args:
        changes: (entity, key) -> payload, or None to delete.
        current: (entity, key) -> version in the scope; None or absent where there is no live row.
    """
    rows: list[RowChange] = []
    count = total = 0
    for (entity, key), payload in changes.items():
        old = current.get((entity, key))
        new = version_of(payload) if payload is not None else None
        if old == new:
            continue
        rows.append(RowChange(entity, key, new, payload))
        if old is not None:
            count -= 1
            total -= row_hash(entity, key, old)
        if new is not None:
            count += 1
            total += row_hash(entity, key, new)
    return Differences(rows, count, total)
