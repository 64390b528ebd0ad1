"""Make the records of a batch that has just been taken, and take out what cannot be sent now.

A document whose filter says no, or a row of the catalog of which a newer one goes out, has no such effect; one that
lacks a code over there waits for it; one that cannot be mapped is parked with its reason. None of them delays the rest
of the batch, and no attempt is used. What is sent in groups never goes by itself: one that was ready before the
definition said so goes back to find its group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from central.codes.waking import wake_known
from central.db import attempts as tries
from central.db import deliveries as rows
from central.db import delivery_records as kept
from central.db import groups
from central.db.database import AnyRow, Database
from central.deliveries import catalog_rows
from central.deliveries.codes import CrossReference
from central.deliveries.merging import document_of_row, merged_document
from central.deliveries.plan import Failure
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from central.integrations.ways import Way, compile_ways, reason_of, written_down
from central.mapping.errors import MappingErrors
from central.mapping.lookups import LookUp
from shared.errors import BadInput

Member = tuple[int, str]
"""(doc_no, effect): how a delivery of one integration is named in the database."""
NewBatchId = Callable[[], str]


@dataclass
class Made:
    """What became of the members of a batch that had no record yet."""

    records: dict[Member, str] = field(default_factory=dict)
    skipped: list[Member] = field(default_factory=list)
    missing: dict[Member, set[LookUp]] = field(default_factory=dict)
    refused: dict[str, list[Member]] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)

    def refuse(self, member: Member, reason: str, detail: str) -> None:
        self.refused.setdefault(reason, []).append(member)
        self.details.append(detail)


class Records:
    """Makes records for all integrations of this node.

    Args:
        waits: set when a delivery begins to wait for a code.
    """

    def __init__(
        self, database: Database, integrations: Integrations, codes: CrossReference, waits: asyncio.Event
    ) -> None:
        self._database = database
        self._waits = waits
        self._integrations = integrations
        self._codes = codes
        self._ways: dict[int, tuple[int, dict[str, Way]]] = {}

    def ways(self, one: Integration) -> dict[str, Way]:
        """What the integration's version makes of documents."""
        known = self._ways.get(one.integration_no)
        if known is None or known[0] != one.version:
            kind = self._integrations.kind(one.definition)
            known = self._ways[one.integration_no] = one.version, compile_ways(one.definition, kind)
        return known[1]

    async def prepare(
        self, one: Integration, leased: tuple[int, str], found: Sequence[AnyRow], new_batch_id: NewBatchId
    ) -> Sequence[AnyRow]:
        """The members that are sent, each with its record.

        Args:
            leased: number and lease of the batch; the lease must be ours still when the records are stored.
            found: its members.
        """
        ways = self.ways(one)
        batch_no, lease = leased
        unmade = [row for row in found if row.record is None]
        astray = [row for row in unmade if _is_astray(row, ways.get(row.effect))]
        leaders = [row for row in unmade if row.group_no is not None and row.leader == row.doc_no]
        apart = {(row.doc_no, row.effect) for row in (*astray, *leaders)}
        lacking = [
            row for row in unmade if (row.doc_no, row.effect) not in apart and _has_work(ways.get(row.effect))
        ]
        if not (lacking or apart):
            return found
        merged = [(row, await self._merged(row)) for row in leaders]

        async def work(connection: AsyncConnection) -> tuple[Sequence[AnyRow], bool]:
            made = await self._make(connection, one, ways, lacking, merged)
            now_ms = await self._database.now_ms(connection)
            if not await rows.change_batch(connection, batch_no, lease, {"lease": lease}):
                return [], False
            number = one.integration_no
            for row in astray:
                state = "gathering" if row.group_no is None else "grouped"
                await groups.put_back(connection, batch_no, (row.doc_no, row.effect), state)
            await kept.put(self._database, connection, number, one.version, made.records, now_ms)
            await kept.wait(self._database, connection, number, made.missing, now_ms)
            await self._codes.miss(connection, {one for several in made.missing.values() for one in several})
            if made.skipped:
                await rows.settle(self._database, connection, batch_no, "skipped", made.skipped)
            if made.refused:
                await self._park(connection, one, batch_no, made, now_ms, new_batch_id)
            return await rows.members(connection, batch_no), bool(made.missing)

        left, waits = await self._database.run(work)
        if waits:
            self._waits.set()
        return left

    async def _park(
        self,
        connection: AsyncConnection,
        one: Integration,
        batch_no: int,
        made: Made,
        now_ms: int,
        new_batch_id: NewBatchId,
    ) -> None:
        tried = {
            "integration_no": one.integration_no,
            "batch_no": batch_no,
            "at_ms": now_ms,
            "took_ms": 0,
            "sent": False,
            "outcome": Failure.REJECTED,
            "done": 0,
            "error": "; ".join(dict.fromkeys(made.details))[:2_000],
            "exchanges": "[]",
        }
        await tries.begin(connection, tried)
        for reason, which in made.refused.items():
            await rows.park(
                self._database,
                connection,
                one.integration_no,
                batch_no,
                new_batch_id(),
                which,
                reason,
                now_ms,
            )

    async def _merged(self, row: AnyRow) -> dict[str, Any] | BadInput:
        """The document of a group, or why there is none."""
        try:
            return await merged_document(self._database, row)
        except BadInput as error:
            return error

    async def _make(
        self,
        connection: AsyncConnection,
        one: Integration,
        ways: dict[str, Way],
        lacking: Sequence[AnyRow],
        merged: Sequence[tuple[AnyRow, dict[str, Any] | BadInput]],
    ) -> Made:
        made = Made()
        asked: dict[Member, set[LookUp]] = {}
        documents: dict[Member, dict[str, Any]] = {}
        found = await self._documents(connection, one, lacking)
        outdated = await catalog_rows.outdated(self._database, connection, lacking, found)
        for row, document in zip(lacking, found, strict=True):
            member, way = (row.doc_no, row.effect), ways[row.effect]
            if catalog_rows.is_forged(document):
                made.refuse(member, catalog_rows.FORGED, f"{row.station} handed in a {document['kind']}")
                continue
            if row.doc_no in outdated:
                made.skipped.append(member)
                continue
            documents[member] = document
            try:
                if not way.has_effect(document):
                    made.skipped.append(member)
                elif way.mapping is not None:
                    asked[member] = way.look_ups(document)
            except MappingErrors as error:
                made.refuse(member, reason_of(error.errors), str(error))
        for row, group in merged:
            # The filter was asked of each of its documents before they were put together.
            member, mapped = (row.doc_no, row.effect), ways.get(row.effect)
            if isinstance(group, BadInput):
                made.refuse(member, group.what[:200], str(group))
            elif mapped is None or mapped.mapping is None:
                reason = f'the integration makes no record by "{row.effect}" any more'
                made.refuse(member, reason, f"{reason}; state its [[deliver]] again")
            else:
                documents[member] = group
                try:
                    asked[member] = mapped.look_ups(group)
                except MappingErrors as error:
                    made.refuse(member, reason_of(error.errors), str(error))
        codes = await self._codes.look_up(
            connection, {each for several in asked.values() for each in several}
        )
        for member, document in documents.items():
            if member not in asked:
                continue
            try:
                records = ways[member[1]].records(document, codes)
                if records:
                    made.records[member] = written_down(records)
                else:
                    made.skipped.append(member)
            except MappingErrors as error:
                unknown = asked[member] - codes.keys()
                if unknown:
                    made.missing[member] = unknown
                else:
                    made.refuse(member, reason_of(error.errors), str(error))
        return made

    async def _documents(
        self, connection: AsyncConnection, one: Integration, found: Sequence[AnyRow]
    ) -> list[dict[str, Any]]:
        """What mappings see: the header's fields, station, store, the payload, and what the other system calls it."""
        documents = [document_of_row(row) for row in found]
        wanted = {
            _bytes_of(each)
            for document in documents
            for each in (document["doc_id"], *document.get("refs", ()))
        }
        names = await kept.written_names(connection, one.integration_no, wanted)
        names |= await catalog_rows.earlier_names(connection, one.integration_no, documents, names)
        for document in documents:
            document["written"] = names.get(_bytes_of(document["doc_id"]), {})
            document["refs_written"] = [names.get(_bytes_of(ref), {}) for ref in document.get("refs", ())]
        return documents

    async def wake(self) -> int:
        """Make ready what waits for codes that are known by now; returns how many deliveries that were."""
        async with self._database.read() as connection:
            if not await kept.waited_for(connection):
                return 0
        return await self._database.run(lambda connection: wake_known(self._database, connection))


def _is_astray(row: AnyRow, way: Way | None) -> bool:
    """Whether it is ready although its group carries it, or has yet to be found."""
    if row.group_no is not None:
        return bool(row.leader != row.doc_no)
    return way is not None and way.deliver.group is not None


def _has_work(way: Way | None) -> bool:
    return way is not None and (
        way.mapping is not None
        or way.condition is not None
        or way.deliver.entity is not None
        or bool(way.deliver.statuses)
    )


def _bytes_of(doc_id: str) -> bytes:
    return bytes.fromhex(doc_id.replace("-", ""))
