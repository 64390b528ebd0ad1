"""A system that can be read, in memory: sources of records with a cursor by sequence or by time, and faults by script.

A step of the script is used up by one page: `ok`, `away`, `denied`, `crash`, or a callable that is told the page's
number and may change the system while it is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel

from central.connectors.base import (
    Answer,
    Batch,
    Connector,
    Finding,
    Idempotency,
    Page,
    Read,
    Rejection,
    Source,
    Target,
    TargetAway,
    TargetDenies,
    Trait,
    UnknownBatches,
)
from shared.clock import Clock

SHOPS: dict[str, Shop] = {}
"""The other systems, by the account that a connector uses: they outlive any process of ours."""


class Shop:
    """What another system holds. Every change gets the next number; a record may be committed late."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, dict[str, Any]]] = {}
        self.changed: dict[tuple[str, str], int] = {}  # when, by its sequence
        self.deleted: dict[tuple[str, str], int] = {}
        self.number = 0
        self.script: deque[Any] = deque()
        self.reads: list[Read] = []
        self.pages = 0
        self.findings: list[Finding] = [Finding("reached", ok=True)]
        self.created: list[str] = []
        self.kept: set[str] = set()  # what it would not give up

    def put(self, source: str, *records: Mapping[str, Any], number: int | None = None) -> None:
        for record in records:
            self.number += 1
            key = str(record["id"])
            self.records.setdefault(source, {})[key] = dict(record)
            self.changed[source, key] = self.number if number is None else number
            self.deleted.pop((source, key), None)

    def remove(self, source: str, key: str) -> None:
        self.number += 1
        del self.records[source][key]
        self.changed.pop((source, key))
        self.deleted[source, key] = self.number


class Settings(BaseModel):
    account: str
    password: str = ""


PRODUCT = {
    "id": Trait("integer"),
    "code": Trait(),
    "name": Trait(),
    "price": Trait("decimal"),
    "shop": Trait(),
}


class SourceConnector(Connector):
    title = "A shop in memory"
    Settings = Settings
    idempotency: ClassVar[Idempotency] = Idempotency.LOOK_UP
    sources: ClassVar[Mapping[str, Source]] = {
        "products": Source("Products", PRODUCT, cursor="sequence", entity="product"),
        "prices": Source("Prices", cursor="sequence", entity="price"),
        "stock": Source("Stock", entity="balance"),
        "clocked": Source("Products by time", cursor="time", entity="product"),
        "orders": Source("Orders", cursor="sequence", statuses=("draft", "done")),
        "people": Source("Customers", cursor="sequence", entity="customer"),
    }
    targets: ClassVar[Mapping[str, Target]] = {"party": Target("Parties", undo=True)}

    def __init__(self, name: str, settings: BaseModel, clock: Clock) -> None:
        super().__init__(name, settings, clock)
        assert isinstance(settings, self.Settings)
        self._settings = settings
        self.shop = SHOPS[settings.account]

    @property
    def batch_documents(self) -> int:
        return 100

    @property
    def resource(self) -> str:
        return self._settings.account

    async def prepare(self) -> None: ...

    async def check(self) -> Sequence[Finding]:
        return self.shop.findings

    async def probe(self, batch: Batch, unknown_batches: UnknownBatches) -> frozenset[str]:
        return frozenset()

    async def deliver(self, batch: Batch) -> Answer:
        return Answer()

    async def read(self, request: Read) -> AsyncIterator[Page]:
        self.shop.reads.append(request)
        since = -1 if request.since is None else max(-1, int(request.since) - request.overlap_s)
        source = request.source
        numbered = sorted((self.shop.changed[source, key], key) for key in self.shop.records.get(source, {}))
        keys = [key for number, key in numbered if number > since]
        gone = [key for (name, key), number in self.shop.deleted.items() if name == source and number > since]
        has_cursor = self.sources[source].cursor is not None
        for start in range(0, max(1, len(keys)), request.page):
            self.shop.pages += 1
            match self.shop.script.popleft() if self.shop.script else "ok":
                case "away":
                    raise TargetAway("busy", retry_after_s=20.0)
                case "denied":
                    raise TargetDenies("the password has changed")
                case "crash":
                    raise RuntimeError("a fault of the connector")
                case "ok":
                    pass
                case change:
                    change(self.shop.pages)
            part = keys[start : start + request.page]
            records = [self.shop.records[source][key] for key in part if key in self.shop.records[source]]
            if request.statuses:
                records = [record for record in records if record["status"] in request.statuses]
            is_last = start + request.page >= len(keys)
            reached = self.shop.number if is_last else self.shop.changed[source, part[-1]]
            yield Page(records, gone if is_last else (), str(reached) if has_cursor else None)

    async def undo(self, target: str, ids: Sequence[str]) -> Mapping[str, Rejection]:
        for one in ids:
            if one in self.shop.created and one not in self.shop.kept:
                self.shop.created.remove(one)
        return {one: Rejection("it has been used") for one in ids if one in self.shop.kept}


CONNECTORS: dict[str, type[Connector]] = {"shop": SourceConnector}
