"""What a demo asks a running chain for when it compares: sums, digests, what `verify` says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.demo import balance
from tests.support.chain import Chain, Station


@dataclass
class Tally:
    """What the driver itself saw: the side that owes nobody anything."""

    totals: balance.Totals = field(default_factory=dict)
    doc_ids: set[str] = field(default_factory=set)
    repeated: int = 0

    def note(self, station: str, answer: dict[str, Any], payments: list[dict[str, Any]]) -> None:
        """A document that the station said is accepted."""
        self.doc_ids.add(answer["doc_id"])
        for payment in payments:
            balance.add(self.totals, station, payment["type"], payment["amount_minor"])


async def scopes_of(station: Station) -> list[dict[str, Any]]:
    return list((await station.get("/v1/station"))["scopes"])


async def stored(chain: Chain) -> balance.Totals:
    """What the centre has as rows, per station and payment type."""
    totals: balance.Totals = {}
    for row in (await chain.admin("GET", "/totals"))["items"]:
        cell = (row["station"], row["type"])
        have = totals.get(cell, balance.Sum())
        count, amount_minor = row["centre_count"], row["centre_minor"]
        totals[cell] = balance.Sum(have.count + count, have.amount_minor + amount_minor)
    return totals


async def digests_equal(chain: Chain) -> dict[str, bool]:
    """Of each station, whether all its scopes have the rows and the digest that HQ offers."""
    offered = {name: (scope["rows"], scope["digest"]) for name, scope in (await chain.scopes()).items()}
    result = {}
    for station in chain.stations:
        have = {scope["scope"]: (scope["count"], scope["digest"]) for scope in await scopes_of(station)}
        result[station.code] = bool(have) and all(
            offered.get(scope, (0, "")) == fact or fact[0] == 0 for scope, fact in have.items()
        )
    return result


async def findings(chain: Chain) -> dict[str, list[Any]]:
    """Of each station and the centre, what `verify` finds: nothing, where all is well."""
    found = {station.code: list((await station.verify())["findings"]) for station in chain.stations}
    return {**found, "centre": list((await chain.admin("GET", "/verify"))["findings"])}
