"""A small chain of shops in the centre's tables, and a station's side of the catalog kept by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import delete, insert, select, update

from central.db.database import Database
from central.db.tables import journal as journal_tables
from central.db.tables.catalog import consumers
from central.db.tables.journal import bodies, epochs
from central.db.tables.registry import groups, station_groups, stations, stores
from shared.canonical import canonical
from shared.catalog.changes import Change
from shared.digest import Digest, row_hash
from shared.protocol import framing, wire

CREATED_MS = 1_790_000_000_000


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """A database with all tables and nothing in them."""
    database = Database(url)
    await database.create()
    try:
        yield database
    finally:
        await database.close()


def product(code: str, name: str = "thing", **fields: object) -> Change:
    """A product as it shall be."""
    return Change("product", code, canonical({"code": code, "name": name, **fields}))


def gone(code: str) -> Change:
    return Change("product", code, None)


class Chain:
    """Stores, groups and stations, made on demand."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def store(self, code: str, price_list: str | None = None) -> int:
        values = {
            "code": code,
            "name": code,
            "zone": "Europe/Paris",
            "currency": "EUR",
            "price_list": price_list,
        }
        async with self.database.write() as connection:
            return int(
                (
                    await connection.execute(insert(stores).values(values).returning(stores.c.store_no))
                ).scalar_one()
            )

    async def group(self, code: str, priority: int = 0, price_list: str | None = None) -> int:
        values = {"code": code, "name": code, "priority": priority, "price_list": price_list}
        async with self.database.write() as connection:
            return int(
                (
                    await connection.execute(insert(groups).values(values).returning(groups.c.group_no))
                ).scalar_one()
            )

    async def station(
        self, code: str, store_no: int, group_nos: Sequence[int] = (), *, state: str = "active"
    ) -> int:
        values = {
            "code": code,
            "store_no": store_no,
            "name": code,
            "state": state,
            "quarantined": False,
            "newest_nonce_ms": 0,
            "poke": 0,
            "last_number": 0,
            "created_ms": CREATED_MS,
        }
        async with self.database.write() as connection:
            made = await connection.execute(insert(stations).values(values).returning(stations.c.station_no))
            station_no = int(made.scalar_one())
            for group_no in group_nos:
                await connection.execute(
                    insert(station_groups).values(station_no=station_no, group_no=group_no)
                )
        return station_no

    async def join(self, station_no: int, group_no: int) -> None:
        async with self.database.write() as connection:
            await connection.execute(insert(station_groups).values(station_no=station_no, group_no=group_no))

    async def leave(self, station_no: int, group_no: int) -> None:
        member = (station_groups.c.station_no == station_no) & (station_groups.c.group_no == group_no)
        async with self.database.write() as connection:
            await connection.execute(delete(station_groups).where(member))

    async def poke(self, station_no: int) -> None:
        async with self.database.write() as connection:
            await connection.execute(
                update(stations).where(stations.c.station_no == station_no).values(poke=stations.c.poke + 1)
            )

    async def change(self, station_no: int, **values: object) -> None:
        async with self.database.write() as connection:
            await connection.execute(
                update(stations).where(stations.c.station_no == station_no).values(**values)
            )

    async def column(self, station_no: int, name: str) -> object:
        async with self.database.read() as connection:
            return (
                await connection.execute(select(stations.c[name]).where(stations.c.station_no == station_no))
            ).scalar_one()

    async def journal(
        self, station_no: int, epoch: bytes, *, documents: int, pending: Sequence[int], updated_ms: int
    ) -> None:
        """An epoch of so many documents, of which those at the seqs in *pending* are still new."""
        values = {
            "station_no": station_no,
            "epoch": epoch,
            "last": documents,
            "head": b"",
            "safe_seq": 0,
            "safe_head": b"",
            "was_current": False,
            "last_number": 0,
            "created_ms": 0,
            "updated_ms": updated_ms,
        }
        async with self.database.write() as connection:
            made = await connection.execute(insert(epochs).values(values).returning(epochs.c.epoch_no))
            epoch_no = int(made.scalar_one())
            for seq in range(1, documents + 1):
                doc_no = epoch_no * 1_000 + seq
                body = {
                    "doc_no": doc_no,
                    "station_no": station_no,
                    "received_ms": 0,
                    "damaged": False,
                    "header": b"",
                    "payload": b"",
                }
                await connection.execute(insert(bodies).values(body))
                await connection.execute(
                    insert(journal_tables.journal).values(epoch_no=epoch_no, seq=seq, doc_no=doc_no, head=b"")
                )
                if seq in pending:
                    await connection.execute(insert(journal_tables.pending).values(doc_no=doc_no))

    async def consumer(self, name: str, store_no: int, group_codes: Sequence[str] = ()) -> None:
        values = {
            "consumer": name,
            "store_no": store_no,
            "groups": canonical(list(group_codes)).decode(),
            "created_ms": CREATED_MS,
        }
        async with self.database.write() as connection:
            await connection.execute(insert(consumers).values(values))

    async def set_groups(self, consumer: str, group_codes: Sequence[str]) -> None:
        named = canonical(list(group_codes)).decode()
        async with self.database.write() as connection:
            await connection.execute(
                update(consumers).where(consumers.c.consumer == consumer).values(groups=named)
            )


class Shelf:
    """One scope as a station holds it: filled from pages or from a snapshot, its digest counted from the rows."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], tuple[bytes, bytes]] = {}  # (entity, key) -> (version, payload)
        self.seq = 0
        self.told: tuple[int, str] | None = None  # what the centre said of the scope at `seq`

    def copy(self) -> Shelf:
        other = Shelf()
        other.rows, other.seq, other.told = dict(self.rows), self.seq, self.told
        return other

    def apply(self, body: bytes) -> bool:
        """Apply a page; returns whether it was the last one."""
        envelope, lines = framing.split(body)
        lines = lines if envelope["rows"] else []
        assert envelope["after"] == self.seq
        assert len(lines) == len(envelope["rows"])
        for (seq, entity, key, version), payload in zip(envelope["rows"], lines, strict=True):
            assert seq > self.seq
            self.seq = seq
            if version is None:
                self.rows.pop((entity, key), None)
            else:
                self.rows[entity, key] = (bytes.fromhex(version), payload)
        if envelope["up_to_date"]:
            self.seq = envelope["head"]
            self.told = (envelope["count"], envelope["digest"])
        return bool(envelope["up_to_date"])

    def load(self, path: Path) -> None:
        """Replace everything by a snapshot."""
        connection = sqlite3.connect(path)
        self.rows = {
            (entity, key): (version, payload)
            for entity, key, version, payload in connection.execute(
                "SELECT entity, key, version, payload FROM rows"
            )
        }
        self.seq, count, digest = connection.execute("SELECT seq, count, digest FROM about").fetchone()
        self.told = (count, digest)
        connection.close()

    @property
    def digest(self) -> tuple[int, str]:
        digest = Digest()
        for (entity, key), (version, _) in self.rows.items():
            digest = digest.add(row_hash(entity, key, version))
        return digest.count, digest.hex


def unpacked(packed: bytes, frame: dict[str, str]) -> bytes:
    """A body as it was before `wire.pack`."""
    return wire.unpack(packed, frame.get("Content-Encoding"), 1 << 30)
