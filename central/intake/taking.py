"""One transaction of the door for foreign documents: what it has looked up, and what it stores at its end.

Hundreds of documents are taken together, and a question or a row for each by itself would hold the database for
seconds. So keys and doc_ids are looked up for all of them at once, and rows go in together; in between documents of the
same transaction see each other here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import foreign as rows
from central.db import journal as journal_rows
from central.db.database import Database
from central.intake.accept import Stored
from central.intake.numbers import DocNumbers

Named = tuple[str, str, bytes]
"""A key: source, kind, hash."""


@dataclass(slots=True)
class Key:
    """The newest document of a key, as the table has it or will have it. `header` is that document's."""

    values: dict[str, Any]
    header: dict[str, Any]
    is_new: bool = False
    is_changed: bool = False


@dataclass(slots=True)
class Taking:
    """What one transaction knows and does."""

    database: Database
    connection: AsyncConnection
    now_ms: int
    desks: dict[str, rows.Desk] = field(default_factory=dict)
    policies: dict[str, str | None] = field(default_factory=dict)
    """source -> JSON of its policies"""
    stored: list[Stored] = field(default_factory=list)
    _keys: dict[Named, Key | None] = field(default_factory=dict)
    _gate: dict[bytes, int | None] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(()))
    _new: journal_rows.NewRows = field(
        default_factory=lambda: journal_rows.NewRows([], [], [], [], [], [], [])
    )

    # ---- what is there ----

    async def look_up_keys(self, named: Collection[Named]) -> None:
        """Learn of these keys, and hold them until the transaction ends."""
        by_kind: dict[tuple[str, str], set[bytes]] = {}
        for source, kind, key_hash in set(named) - self._keys.keys():
            by_kind.setdefault((source, kind), set()).add(key_hash)
        for (source, kind), hashes in by_kind.items():
            self._keys |= dict.fromkeys((source, kind, key_hash) for key_hash in hashes)
            for row in await rows.known_keys(self.connection, source, kind, hashes):
                values = row._asdict()
                header = orjson.loads(values.pop("header"))
                self._keys[source, kind, bytes(row.key_hash)] = Key(values, header)

    async def key(self, named: Named) -> Key | None:
        if named not in self._keys:
            await self.look_up_keys([named])
        return self._keys[named]

    async def look_up_gate(self, doc_ids: Collection[bytes]) -> None:
        """Learn which of these documents are here."""
        asked = set(doc_ids) - self._gate.keys()
        self._gate |= dict.fromkeys(asked)
        self._gate |= await rows.at_gate(self.connection, asked)

    async def at_gate(self, doc_id: bytes) -> int | None:
        """The number of the document that has this doc_id."""
        if doc_id not in self._gate:
            await self.look_up_gate([doc_id])
        return self._gate[doc_id]

    # ---- what is new ----

    async def number(self, numbers: DocNumbers, left: int) -> int:
        """A fresh number; *left* is how many more may be asked for."""
        found = next(self._numbers, None)
        if found is None:
            self._numbers = await numbers.draw(self.database.within(self.connection), left)
            found = next(self._numbers)
        return found

    def add(self, desk: rows.Desk, stored: Stored, header: bytes, payload_hash: bytes, doc_id: bytes) -> None:
        """A document that was sealed as the newest of its desk."""
        new = self._new
        new.journal.append((desk.epoch_no, desk.last, stored.doc_no, desk.head))
        new.bodies.append((stored.doc_no, desk.station_no, self.now_ms, False, header, stored.payload_bytes))
        new.gate.append((doc_id, stored.doc_no, desk.station_no, payload_hash))
        new.pending.append((stored.doc_no,))
        self._gate[doc_id] = stored.doc_no
        self.stored.append(stored)

    def set_key(self, named: Named, key: str, values: dict[str, Any], header: dict[str, Any]) -> None:
        """This document is the newest of its key from now on."""
        known = self._keys.get(named)
        if known is None:
            source, kind, key_hash = named
            first: dict[str, Any] = {"source": source, "kind": kind, "key_hash": key_hash, "key": key}
            first |= {"repeats": 0, "repeated_ms": None}
            self._keys[named] = Key(first | values, header, is_new=True)
        else:
            known.values |= values
            known.header, known.is_changed = header, True

    def count_repeat(self, known: Key) -> None:
        """A duplicate that was refused or skipped."""
        known.values |= {"repeats": known.values["repeats"] + 1, "repeated_ms": self.now_ms}
        known.is_changed = True

    async def store(self) -> None:
        """Write all of it."""
        if self.stored:
            desks = {desk.epoch_no: desk for desk in self.desks.values()}
            sealed = {row[0] for row in self._new.journal}
            for epoch_no in sorted(sealed):
                desk = desks[epoch_no]
                self._new.epochs.append((desk.last, desk.head, 0, self.now_ms, epoch_no))
            await journal_rows.store(self.database.within(self.connection), self._new)
        keys = [key for key in self._keys.values() if key is not None]
        await rows.add_keys(self.connection, [key.values for key in keys if key.is_new])
        for key in keys:
            if key.is_changed and not key.is_new:
                await rows.change_key(self.connection, key.values)
