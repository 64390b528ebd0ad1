"""Tryton as a connector.

Records go out by names and codes that people know (a product's code, a point of sale's name) and come in with
both these and Tryton's own numbers. Sales are found again by a note that bears our delivery key: see `selling`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr

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
    TargetRejects,
    Trait,
    UnknownBatches,
    Written,
)
from central.connectors.tryton import pages, sales, selling
from central.connectors.tryton.checks import findings
from central.connectors.tryton.reading import SOURCES
from central.connectors.tryton.rpc import Session, Tryton
from shared.clock import Clock
from shared.errors import BadInput

SALE = "sale"
PARTY = "party"
CATEGORY = "category"
_RECEIPTS = ("sale", "sale_cancellation", "return", "exchange", "exchange_cancellation")


class TrytonSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(pattern=r"^https?://", description="Where Tryton answers, e.g. https://erp.example.org.")
    database: str = Field(min_length=1, description="Name of the database.")
    user: str = Field(min_length=1, description="Login of the user whose rights the exchange has.")
    password: SecretStr = Field(description="The user's password.")
    batch_documents: int = Field(50, ge=1, le=500, description="Most sales in one call.")
    timeout_s: float = Field(
        60.0,
        ge=5,
        le=600,
        description="Seconds that a call may take. A batch whose answer was lost rests so long: it may be at work yet.",
    )
    post: bool = Field(
        True, description="Post the sales, which books them and moves stock; else leave them done."
    )
    price_lists: tuple[str, ...] = Field(
        (), description="Names of Tryton's price lists that are read beside the products' own prices."
    )
    own_prices: str = Field("LIST", description="How the list of the products' own prices is called here.")
    rounding_product: str | None = Field(
        None, description="Code of the service whose line takes the difference of a rounded total."
    )


class TrytonConnector(Connector):
    title = "Tryton 8.2"
    Settings = TrytonSettings
    idempotency = Idempotency.LOOK_UP
    tested = "a real system: trytond 8.2, in every run of the tests"
    sources: ClassVar[Mapping[str, Source]] = SOURCES
    targets: ClassVar[Mapping[str, Target]] = {
        SALE: Target("Sale of the point of sale; what comes back bears a minus", sales.FIELDS, _RECEIPTS),
        PARTY: Target(
            "Party",
            {
                "name": Trait("text", required=True),
                "code": Trait("text", about="Tryton counts its own where it is absent"),
                "tax_id": Trait("text"),
                "tax_id_type": Trait("text", about="as Tryton calls it, e.g. eu_vat, br_vat, ru_vat"),
                "phone": Trait("text"),
                "email": Trait("text"),
            },
            undo=True,
            find=("tax_id", "code", "name"),
            create=True,
            deliver=False,
        ),
        CATEGORY: Target(
            "Product category",
            {"name": Trait("text", required=True)},
            undo=True,
            find=("name",),
            create=True,
            deliver=False,
        ),
    }

    def __init__(self, name: str, settings: BaseModel, clock: Clock) -> None:
        super().__init__(name, settings, clock)
        assert isinstance(settings, TrytonSettings)
        self._settings = settings
        self.timeout_s = settings.timeout_s
        password = settings.password.get_secret_value()
        self._session = Session(settings.url, settings.database, settings.user, password)

    @property
    def batch_documents(self) -> int:
        return self._settings.batch_documents

    @property
    def resource(self) -> str:
        return f"{self._settings.url}/{self._settings.database} as {self._settings.user}"

    def _tryton(self, batch: Batch | None = None) -> Tryton:
        if batch is None:
            return Tryton(self._session, self.timeout_s)
        return Tryton(self._session, self.timeout_s, batch.tell)

    # ---- set up ----

    async def prepare(self) -> None:
        """Nothing of ours is needed in Tryton."""

    async def check(self) -> Sequence[Finding]:
        async with self._tryton() as tryton:
            return await findings(tryton, self._settings.user, self._settings.price_lists)

    # ---- in ----

    async def read(self, request: Read) -> AsyncIterator[Page]:
        if request.source not in SOURCES:
            raise BadInput(f'Tryton has no source "{request.source}"', hint=f"known are {', '.join(SOURCES)}")
        async with self._tryton() as tryton:
            lists, own = self._settings.price_lists, self._settings.own_prices
            async for page in pages.read(tryton, request, lists, own):
                yield page

    # ---- out ----

    async def probe(
        self, batch: Batch, unknown_batches: UnknownBatches
    ) -> frozenset[str] | Mapping[str, Written | None]:
        keys = {selling.reference(one): one.key for one in batch.deliveries}
        async with self._tryton(batch) as tryton:
            found = await selling.look(tryton, batch.deliveries)
        over = ("posted",) if self._settings.post else ("done", "posted")
        return {
            keys[ref]: Written(str(draft.id), draft.number)
            for ref, draft in found.items()
            if draft.state in over
        }

    async def deliver(self, batch: Batch) -> Answer:
        async with self._tryton(batch) as tryton:
            carrier = selling.Selling(
                tryton, post=self._settings.post, rounding_product=self._settings.rounding_product
            )
            written = await carrier.carry(batch.deliveries)
        return Answer(carrier.rejected, written)

    # ---- parties and reference values ----

    async def find(
        self, target: str, field_name: str, values: Collection[str]
    ) -> Mapping[str, Sequence[str]]:
        wanted = list(values)
        if target not in self.targets or field_name not in self.targets[target].find:
            raise BadInput(f"Tryton's {target} cannot be searched by {field_name}")
        # Tryton keeps a tax identifier as its country writes it, with dots, and beside that without.
        paths = [f"identifiers.{one}" for one in _IDENTIFIERS] if field_name == "tax_id" else [field_name]
        domain = ["OR", *([[path, "in", wanted]] for path in paths)]
        found: dict[str, list[str]] = {value: [] for value in wanted}
        async with self._tryton() as tryton:
            rows = await tryton.call(
                f"model.{_MODELS[target]}.search_read", domain, 0, None, [["id", "ASC"]], paths
            )
        for row in rows:
            parts = (
                {one[name] for one in row["identifiers."] for name in _IDENTIFIERS}
                if field_name == "tax_id"
                else {row[field_name]}
            )
            for value in parts & found.keys():
                found[value].append(str(row["id"]))
        return found

    async def create(self, target: str, record: Mapping[str, Any]) -> Written:
        if target not in _MODELS:
            raise BadInput(f"Tryton's {target} is not made one by one; it is delivered")
        made = {name: record[name] for name in ("name", "code") if record.get(name)}
        if record.get("tax_id"):
            identifier = {"type": record.get("tax_id_type"), "code": record["tax_id"]}
            made["identifiers"] = [["create", [identifier]]]
        mechanisms = [
            {"type": kind, "value": record[kind]} for kind in ("phone", "email") if record.get(kind)
        ]
        if mechanisms:
            made["contact_mechanisms"] = [["create", mechanisms]]
        async with self._tryton() as tryton:
            (number,) = await tryton.call(f"model.{_MODELS[target]}.create", [made])
            if target != PARTY:
                return Written(str(number))
            (row,) = await tryton.call(f"model.{_MODELS[target]}.read", [number], ["code"])
        return Written(str(number), row["code"])

    async def undo(self, target: str, ids: Sequence[str]) -> Mapping[str, Rejection]:
        if target not in _MODELS:
            raise BadInput(f"Tryton's {target} is not taken back; a cancellation is delivered")
        kept: dict[str, Rejection] = {}
        async with self._tryton() as tryton:
            for number in ids:
                try:
                    await tryton.call(f"model.{_MODELS[target]}.delete", [int(number)])
                except TargetRejects as error:
                    kept[number] = Rejection(str(error.extra["reason"]), error.what)
        return kept


_IDENTIFIERS = ("code", "code_compact")
_MODELS = {PARTY: "party.party", CATEGORY: "product.category"}
