"""A centre's database with applied documents in it, as intake and apply leave them, and a clock in the test's hand."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db.database import Database
from central.db.tables import deliveries as deliveries_tables
from central.db.tables import documents as documents_tables
from central.db.tables import journal as journal_tables
from central.db.tables.registry import stations, stores
from shared.canonical import canonical, sha256
from shared.ids import uuid7
from tests.support.clock import ManualClock

RECEIVED_MS = 1_790_000_000_000


class ClockedDatabase(Database):
    """A database whose own time is the test's."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        super().__init__(url)
        self._clock = clock

    async def now_ms(self, connection: AsyncConnection) -> int:
        return self._clock.now_ms()


D = TypeVar("D", bound=ClockedDatabase)


async def open_database(url: str, clock: ManualClock, kind: type[D] = ClockedDatabase) -> D:  # type: ignore[assignment]
    """An empty centre with the store `S1` and its station `T-1`."""
    database = kind(url, clock)
    await database.create()
    async with database.write() as connection:
        await connection.execute(
            stores.insert().values(store_no=1, code="S1", name="One", zone="UTC", currency="EUR")
        )
        await connection.execute(
            stations.insert().values(
                station_no=1,
                code="T-1",
                store_no=1,
                name="Till",
                state="active",
                quarantined=False,
                newest_nonce_ms=0,
                poke=0,
                last_number=0,
                created_ms=0,
            )
        )
    return database


def doc_id_of(number: int) -> str:
    return str(uuid7(RECEIVED_MS, number.to_bytes(10, "big")))


@dataclass(frozen=True)
class Document:
    """A document as a test names it: by a number. `refs` are numbers of documents that it corrects."""

    number: int
    refs: Sequence[int] = ()
    kind: str = "sale"
    payload: Any = field(default_factory=lambda: {"total_minor": 1_250})
    business_date: str = "2026-11-21"
    zone: str = "UTC"
    replaces: int | None = None

    @property
    def doc_id(self) -> str:
        return doc_id_of(self.number)

    def header(self) -> bytes:
        return canonical(
            {
                "doc_id": self.doc_id,
                "kind": self.kind,
                "time": f"{self.business_date}T10:00:00.000Z",
                "zone": self.zone,
                "business_date": self.business_date,
                "number": f"T-1-{self.number}",
                "refs": [doc_id_of(ref) for ref in self.refs],
                **({"replaces": doc_id_of(self.replaces)} if self.replaces else {}),
            }
        )


def _of(document: Document, name: str, default: Any = None) -> Any:
    return document.payload.get(name, default) if isinstance(document.payload, dict) else default


async def add_documents(
    database: Database,
    documents: Sequence[Document],
    *,
    integrations: Sequence[int] = (),
    received_ms: int = RECEIVED_MS,
    begin: tuple[str, str] = ("document", "ready"),
) -> None:
    """Applied documents, and a delivery of each for *integrations*; doc_no is the document's number.

    Args:
        begin: effect and first state of the deliveries.
    """
    bodies = [(one.number, 1, received_ms, False, one.header(), canonical(one.payload)) for one in documents]
    gate = [(uuid.UUID(one.doc_id).bytes, one.number, 1, sha256(canonical(one.payload))) for one in documents]
    rows = [
        (
            1,
            one.number,
            one.kind,
            one.business_date,
            f"T-1-{one.number}",
            0,
            0,
            _of(one, "shift"),
            None,
            None,
            "EUR",
            _of(one, "total_minor", 1_250),
            0,
            0,
        )
        for one in documents
    ]
    ready = [(number, one.number, *begin, None) for number in integrations for one in documents]
    async with database.write() as connection:
        for table, values in (
            (journal_tables.bodies, bodies),
            (journal_tables.gate, gate),
            (documents_tables.documents, rows),
            (deliveries_tables.deliveries, ready),
        ):
            await database.insert_rows(connection, table, values)


async def delivery_states(database: Database) -> dict[str, int]:
    """How many deliveries are in which state."""
    states: dict[str, int] = {}
    async with database.read() as connection:
        for row in await connection.execute(deliveries_tables.deliveries.select()):
            states[row.state] = states.get(row.state, 0) + 1
    return states
