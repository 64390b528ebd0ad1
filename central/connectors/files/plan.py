"""Which files a run reads, and where the next one begins. Pure.

A full list replaces all before it, a file of changes adds to it. So a run is: the newest full list of each part (each
shop, say), and the changes after it. A cursor is a place in the order of files; invariant: nothing before it is unread.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.errors import BadInput

Place = tuple[int | str, str]
"""When a file came, or what its name says of that; and its name."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as a look found it. `fields` are those that its name states."""

    name: str
    size: int
    place: Place
    is_full: bool
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a run reads: full lists, then changes in order. `place` is reached with all of them."""

    full: Sequence[Seen]
    changes: Sequence[Seen]
    place: Place | None


def settled(first: Collection[Seen], second: Collection[Seen]) -> list[Seen]:
    """Files that two looks found alike, in order, up to the first that is still being written.

    What comes after such a one waits for it: a cursor behind it would leave it out for ever.
    """
    known = set(map(_likeness, first))
    whole: list[Seen] = []
    for seen in sorted(second, key=lambda one: one.place):
        if _likeness(seen) not in known:
            break
        whole.append(seen)
    return whole


def _likeness(seen: Seen) -> tuple[str, int, Place]:
    return seen.name, seen.size, seen.place


def choose(files: Collection[Seen], since: Place | None, parts: Sequence[str]) -> Chosen:
    """What is read of these files.

    Args:
        since: where the run before came to; None for a run over all.
        parts: fields of names; each of their values has full lists of its own.
    """
    full: list[Seen] = []
    changes: list[Seen] = []
    for part in _parted(files, parts):
        base = max((one for one in part if one.is_full), key=lambda one: one.place, default=None)
        reached = max((place for place in (since, base and base.place) if place), default=None)
        if base is not None and (since is None or base.place > since):
            full.append(base)
        changes += [one for one in part if not one.is_full and (reached is None or one.place > reached)]
    changes.sort(key=lambda one: one.place)
    places = [one.place for one in (*full, *changes)]
    return Chosen(full, changes, max(places, default=since))


def shrunk(files: Collection[Seen], chosen: Chosen, parts: Sequence[str], percent: int) -> str | None:
    """Why a full list is too small to be believed: less than *percent* of the one before, by bytes."""
    for part in _parted(files, parts):
        lists = sorted((one for one in part if one.is_full), key=lambda one: one.place)[-2:]
        if len(lists) == 2 and lists[1] in chosen.full and lists[1].size * 100 < lists[0].size * percent:
            return (
                f"{lists[1].name} has {lists[1].size:,} bytes, {lists[0].name} before it {lists[0].size:,}: "
                f"less than {percent} %"
            )
    return None


def _parted(files: Collection[Seen], parts: Sequence[str]) -> Iterator[list[Seen]]:
    found: dict[tuple[str, ...], list[Seen]] = {}
    for one in files:
        found.setdefault(tuple(one.fields[name] for name in parts), []).append(one)
    yield from found.values()


def write_place(place: Place) -> str:
    return json.dumps(place, ensure_ascii=False)


def read_place(cursor: str | None) -> Place | None:
    """The inverse of `write_place`.

    Raises:
        BadInput: the cursor is not of this connector, e.g. of an earlier definition.
    """
    if cursor is None:
        return None
    try:
        at, name = json.loads(cursor)
    except (ValueError, TypeError):
        raise BadInput(f'"{cursor}" is no place among files', hint="run the pull in full once") from None
    return at, name
