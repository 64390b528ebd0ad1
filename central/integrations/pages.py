"""One page of records on its way into `ListProgress`: shaped, compared with what it was last time, merged.

The same for a run and for a dry run; nothing here writes. Two records that would make one row are told, and the second
one is not taken, or they would overwrite each other at every run for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from central.catalog.publish import ended_at, without_stock
from central.connectors.base import SourceRow
from central.db import catalog, pulls
from central.db.database import Database
from central.db.pulls import Became
from central.integrations.progress import ListProgress
from central.integrations.shaping import Shaper
from central.mapping.errors import MappingErrors
from central.mapping.lookups import LookUp
from shared.canonical import parse_object, version_of
from shared.catalog.entities import ENTITIES
from shared.errors import BadInput

SAMPLES = 5
BREATH = 50
"""Records that are worked on before others are served."""
LISTED = 1_000
"""Rows of each sort that are named in a dry run's list."""


class CodesPort(Protocol):
    """What of the cross-reference is used here."""

    async def look_up(
        self, connection: AsyncConnection, wanted: Collection[LookUp]
    ) -> Mapping[LookUp, str]: ...

    async def miss(self, wanted: Collection[LookUp]) -> None: ...

    async def learn(self, system: str, kind: str, pairs: Collection[tuple[str, str]], by: str) -> None: ...


@dataclass(slots=True)
class Tally:
    """What a run counts beside the list's own counts."""

    records: int = 0
    filtered: int = 0
    without_code: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    deleted_unknown: int = 0
    listed: dict[str, list[str]] = field(default_factory=lambda: {"new": [], "updated": []})
    samples: list[dict[str, Any]] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        names = (
            "records",
            "filtered",
            "without_code",
            "new",
            "updated",
            "unchanged",
            "deleted",
            "deleted_unknown",
        )
        return {name: getattr(self, name) for name in names}

    def note(self, what: str, key: str) -> None:
        setattr(self, what, getattr(self, what) + 1)
        if len(self.listed[what]) < LISTED:
            self.listed[what].append(key)


async def breathe(line: int) -> None:
    """Let stations be served between records: a page is a second's work."""
    if line % BREATH == 0:
        await asyncio.sleep(0)


@dataclass(slots=True)
class _Row:
    """A record under way."""

    line: int
    id: str
    hash: bytes
    record: Mapping[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    scope: str | None = None
    key: str = ""


class Pages:
    """Takes pages of one run.

    Args:
        codes: the cross-reference.
        integration_no: whose records are remembered.
    """

    def __init__(
        self,
        database: Database,
        codes: CodesPort,
        shaper: Shaper,
        progress: ListProgress,
        integration_no: int,
    ) -> None:
        self._database = database
        self._codes = codes
        self._shaper = shaper
        self._progress = progress
        self._integration_no = integration_no
        self.tally = Tally()
        self.became: list[Became] = []
        """What the page's records become once they are published."""
        self.missed: set[LookUp] = set()
        """Codes that nobody knows."""
        self.ids: set[str] = set()
        """Of every record of the run."""
        self._makers: dict[tuple[str | None, str], str] = {}
        self._scope_nos: dict[str, int] = {}

    async def take(self, records: Sequence[Mapping[str, Any]], connection: AsyncConnection) -> None:
        """Put the rows that these records make into the progress."""
        rows = list(self._identified(records))
        known = await pulls.records(
            self._database, connection, self._integration_no, self._shaper.pull.name, [row.id for row in rows]
        )
        same = await self._same(connection, rows, known)
        fresh = []
        for row in rows:
            if row.id in same:
                became = known[row.id]
                if self._is_first(became.scope, became.key, row):
                    self._progress.rows += 1
                    self._progress.seen(became.scope, became.key)
                    self.tally.unchanged += 1
            else:
                fresh.append(row)
        await self._shape(connection, fresh, known)

    async def delete(self, ids: Sequence[str], connection: AsyncConnection, now_ms: int) -> None:
        """Records that the other system says are gone: what absence means for them is done."""
        entity = self._shaper.entity
        assert entity is not None
        rule = self._shaper.pull.absence or ENTITIES[entity.name].absence
        known = await pulls.records(
            self._database, connection, self._integration_no, self._shaper.pull.name, list(ids)
        )
        self.tally.deleted += len(known)
        self.tally.deleted_unknown += len(set(ids)) - len(known)
        if rule == "keep":
            return
        for became in known.values():
            current = (await self._live(connection, became.scope, [became.key])).get(became.key)
            if current is None:
                continue
            payload = None
            if rule != "delete":
                payload = (without_stock if rule == "zero" else ended_at(now_ms))(current)
            self._progress.put(became.scope, became.key, payload)

    def unreadable(self, why: str) -> None:
        """A record of which the connector can tell nothing but why."""
        self.tally.records += 1
        self._refuse(self.tally.records, "", BadInput(why))

    def _identified(self, records: Iterable[Mapping[str, Any]]) -> Iterable[_Row]:
        for record in records:
            self.tally.records += 1
            line = self.tally.records
            try:
                if not self._shaper.wants(record):
                    self.tally.filtered += 1
                    continue
                found = self._shaper.id_of(record)
            except BadInput as error:
                self._refuse(line, "", error)
                continue
            if found in self.ids:
                continue  # pages that shifted while they were read, or an overlap
            self.ids.add(found)
            yield _Row(line, found, self._shaper.hash_of(record), record)

    async def _same(
        self, connection: AsyncConnection, rows: Sequence[_Row], known: Mapping[str, Became]
    ) -> set[str]:
        """Records that did not change, and whose row is still what they made of it."""
        alike = [known[row.id] for row in rows if row.id in known and known[row.id].hash == row.hash]
        by_scope: dict[str, list[Became]] = {}
        for became in alike:
            by_scope.setdefault(became.scope, []).append(became)
        same = set()
        for scope, listed in by_scope.items():
            versions = await self._versions(connection, scope, [one.key for one in listed])
            same |= {one.id for one in listed if versions.get(one.key) == one.version}
        return same

    async def _shape(
        self, connection: AsyncConnection, rows: Sequence[_Row], known: Mapping[str, Became]
    ) -> None:
        wanted: set[LookUp] = set()
        for row in rows:
            wanted.update(self._shaper.look_ups(row.record))
        codes = await self._codes.look_up(connection, wanted) if wanted else {}
        self.missed |= wanted - codes.keys()
        placed: dict[str | None, list[_Row]] = {}
        for row in rows:
            try:
                values = self._shaper.values(row.record, codes)
                if values is None:
                    self.tally.without_code += 1
                    continue
                place = self._shaper.place(values)
            except BadInput as error:
                self._refuse(row.line, row.id, error, known.get(row.id))
                continue
            row.values = values
            await breathe(row.line)
            if place is None:
                placed.setdefault(None, []).append(row)  # the entity's model says what is wrong
            elif self._is_first(*place, row):
                row.scope, row.key = place
                placed.setdefault(row.scope, []).append(row)
        for scope, listed in placed.items():
            await self._merge(connection, scope, listed)

    async def _merge(self, connection: AsyncConnection, scope: str | None, rows: Sequence[_Row]) -> None:
        current = await self._live(connection, scope, [row.key for row in rows]) if scope else {}
        for row in rows:
            before = current.get(row.key)
            merged = self._shaper.merged(row.values, parse_object(before) if before is not None else None)
            rejected = self._progress.rejected
            self._progress.read([SourceRow(row.line, merged)])
            if self._progress.rejected > rejected:
                if self._progress.errors:
                    self._progress.errors[-1].setdefault("id", row.id)
                continue
            change = self._progress.newest
            assert change is not None
            assert change[1].payload is not None
            version = version_of(change[1].payload)
            self.became.append(Became(row.id, row.hash, change[0], change[1].key, version))
            self._count(row, before, version, change[1].payload)
            await breathe(row.line)

    def _count(self, row: _Row, before: bytes | None, version: bytes, payload: bytes) -> None:
        if before is None:
            self.tally.note("new", row.key)
        elif version_of(before) != version:
            self.tally.note("updated", row.key)
        else:
            self.tally.unchanged += 1
        if len(self.tally.samples) < SAMPLES:
            sample = {"id": row.id, "input": dict(row.record), "output": parse_object(payload)}
            self.tally.samples.append(sample | ({"before": parse_object(before)} if before else {}))

    def _is_first(self, scope: str | None, key: str, row: _Row) -> bool:
        maker = self._makers.setdefault((scope, key), row.id)
        if maker == row.id:
            return True
        self._progress.seen(scope, key)
        self._progress.rows += 1
        self._progress.reject(row.line, key, f"record {maker} makes the same row", id=row.id)
        return False

    def _refuse(self, line: int, found: str, error: BadInput, became: Became | None = None) -> None:
        if became is not None:
            self._progress.seen(became.scope, became.key)
        else:
            # Which row it would have made is not known, so nothing may count as absent.
            self._progress.keyless = True
        self._progress.rows += 1
        fields = {"fields": error.extra["errors"]} if isinstance(error, MappingErrors) else {}
        self._progress.reject(line, None, str(error), id=found, **fields)

    async def _versions(
        self, connection: AsyncConnection, scope: str, keys: Sequence[str]
    ) -> Mapping[str, bytes]:
        number = await self._scope_no(connection, scope)
        if number is None:
            return {}
        return await catalog.live_versions(
            self._database, connection, number, self._progress.about.entity, keys
        )

    async def _live(
        self, connection: AsyncConnection, scope: str | None, keys: Sequence[str]
    ) -> Mapping[str, bytes]:
        number = await self._scope_no(connection, scope) if scope else None
        if number is None:
            return {}
        return await catalog.live_payloads(
            self._database, connection, number, self._progress.about.entity, keys
        )

    async def _scope_no(self, connection: AsyncConnection, scope: str) -> int | None:
        if scope not in self._scope_nos:
            state = await catalog.find_scope(connection, scope)
            if state is None:
                return None
            self._scope_nos[scope] = state.scope_no
        return self._scope_nos[scope]
