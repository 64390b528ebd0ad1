"""What deliveries ask of the cross-reference, and what they tell it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from central import codes
from central.connectors.base import Delivery, Written
from central.db.database import Database
from central.integrations.mapping.lookups import LookUp
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
        self, connection: AsyncConnection, system: str, found: Sequence[tuple[Delivery, Written]]
    ) -> list[LookUp]:
        """Note what a system calls the parties that it was given; returns what can be looked up now."""
        matches = []
        for delivery, named in found:
            if delivery.kind in PARTY_KINDS:
                key = str(parse_object(delivery.payload, "payload")["key"])
                matches.append(codes.Match("party", key, named.id))
        if matches:
            await codes.note(self._database, connection, system, matches, by="write-back")
        return [LookUp("party", system, match.ours) for match in matches]
