"""What deliveries ask of the cross-reference, and what they tell it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from central import codes
from central.connectors.base import Delivery, Written
from central.db.database import Database
from central.integrations.definition import Definition
from central.mapping.lookups import LookUp
from shared.canonical import parse_object

PARTY_KINDS = ("customer_change",)
"""Documents that make a party over there: their write-back is its code."""


class CrossReference:
    """The codes of all systems, as deliveries use them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look_up(self, connection: AsyncConnection, asked: Collection[LookUp]) -> dict[LookUp, str]:
        """What other systems call codes of ours; a code without an answer is absent."""
        return await codes.look_up(connection, asked)

    async def miss(self, connection: AsyncConnection, asked: Collection[LookUp]) -> None:
        """Put what had no answer on the list of the unmatched."""
        if asked:
            await codes.miss(self._database, connection, asked, way="out")

    async def learn(
        self,
        connection: AsyncConnection,
        definition: Definition,
        found: Sequence[tuple[Delivery, Written]],
    ) -> list[LookUp]:
        """Note what a system calls the parties and rows that it was given; returns what can be looked up now."""
        of_rows = {one.name: one.codes for one in definition.deliver if one.codes}
        matches = []
        for delivery, named in found:
            kind = "party" if delivery.kind in PARTY_KINDS else of_rows.get(delivery.effect)
            if kind is None:
                continue
            payload = parse_object(delivery.payload, "payload")
            if payload.get("change") != "deleted":
                matches.append(codes.Match(kind, str(payload["key"]), named.id))
        if matches:
            await codes.note(self._database, connection, definition.name, matches, by="write-back")
        return [LookUp(match.kind, definition.name, match.ours) for match in matches]
