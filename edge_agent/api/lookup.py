"""Look-ups in the catalog for POS software: products by code, barcode and name, prices, and any entity by key.

Nothing here waits for the network: answers come from catalog.db as it is. A weight or price barcode is read by the
patterns of the setting `barcodes`, after the plain one has found nothing. Refusals are raised as our errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from edge_agent.db import catalog_read as read
from edge_agent.db.catalog import Catalog
from edge_agent.db.catalog_read import Found
from edge_agent.lookup import (
    Row,
    barcode_patterns,
    choose_price,
    label_quantity,
    measured_codes,
    search_expression,
    weight_quantity,
)
from shared.canonical import canonical
from shared.clock import Clock, from_rfc3339, rfc3339
from shared.codes import MeasuredBarcode, read_measured
from shared.errors import BadInput, NotFound
from shared.quantity import MICRO, to_micro

LIMIT = 20
LIMIT_MAX = 1_000
TEXT_MAX = 200


def routes(catalog: Catalog, clock: Clock) -> list[web.RouteDef]:
    """The look-ups, to be mounted into the local API behind its checks."""
    lookups = Lookups(catalog, clock)
    return [
        web.get("/v1/products", lookups.products),
        web.get("/v1/products/{code:.+}", lookups.product),
        web.get("/v1/prices", lookups.prices),
        web.get("/v1/catalog/{entity}", lookups.entity),
        web.get("/v1/catalog/{entity}/{key:.+}", lookups.row),
    ]


class Lookups:
    """One method per address."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock

    async def products(self, request: web.Request) -> web.Response:
        """`?code=`, `?barcode=` or `?name=`: what fits, the best first; none is an empty list."""
        asked = [name for name in ("code", "barcode", "name") if name in request.query]
        if len(asked) != 1:
            raise BadInput(
                "ask for products by exactly one of code, barcode and name", hint="/v1/products?barcode=..."
            )
        text, at_ms = _text(request.query, asked[0]), self._at(request)
        measured: MeasuredBarcode | None = None
        complete = True
        if asked[0] == "code":
            rows = await self._catalog.read(read.rows_by_key, "product", text)
            found = [Found(row) for row in rows[:1]]
        elif asked[0] == "barcode":
            found = await self._catalog.read(read.by_barcode, text)
            if not found:
                found, measured = await self._measured(text)
        else:
            limit = _limit(request.query)
            found, complete = await self._catalog.read(read.by_name, search_expression(text), limit)
        items = [await self._item(hit, at_ms, measured) for hit in found]
        return _json({"items": items, "complete": complete})

    async def product(self, request: web.Request) -> web.Response:
        """One product by its code."""
        code = request.match_info["code"]
        rows = await self._catalog.read(read.rows_by_key, "product", code)
        if not rows:
            raise NotFound(f'there is no product "{code}" in this till\'s catalog')
        return _json(await self._item(Found(rows[0]), self._at(request), None))

    async def prices(self, request: web.Request) -> web.Response:
        """The price of a product at a time: `?product=&variant=&pack=&quantity=&price_list=&at=`.

        `per` in a price says what it is for: one `pack`, or one base `unit`, also where a pack was asked for.
        """
        query, at_ms = request.query, self._at(request)
        code = _text(query, "product")
        rows = await self._catalog.read(read.prices_of, code)
        chosen = choose_price(
            rows,
            at_ms,
            variant=query.get("variant"),
            pack=query.get("pack"),
            quantity_micro=to_micro(query["quantity"]) if "quantity" in query else MICRO,
            price_list=query.get("price_list"),
        )
        return _json({"product": code, "at": rfc3339(at_ms), "price": _price(chosen)})

    async def entity(self, request: web.Request) -> web.Response:
        """The rows of an entity in key order, a page at a time: `?after=&limit=`."""
        name, after, limit = (
            request.match_info["entity"],
            request.query.get("after", ""),
            _limit(request.query),
        )
        rows = await self._catalog.read(read.list_entity, name, after, limit)
        following = rows[-1].key if len(rows) == limit else None
        return _json({"items": [_row(row) for row in rows], "next": following})

    async def row(self, request: web.Request) -> web.Response:
        """One row of an entity by its key."""
        name, key = request.match_info["entity"], request.match_info["key"]
        rows = await self._catalog.read(read.rows_by_key, name, key)
        if not rows:
            raise NotFound(f'there is no {name} "{key}" in this till\'s catalog')
        return _json(_row(rows[0]))

    async def _measured(self, barcode: str) -> tuple[list[Found], MeasuredBarcode | None]:
        """The products that a scale's label may stand for, and what the label says."""
        settings = await self._catalog.read(read.rows_by_key, "settings", "barcodes")
        measured = read_measured(barcode, barcode_patterns(settings))
        if measured is None:
            return [], None
        return await self._catalog.read(read.by_measured, measured_codes(measured.item)), measured

    async def _item(self, found: Found, at_ms: int, measured: MeasuredBarcode | None) -> dict[str, Any]:
        """A product as the till needs it: its row, what the code stands for, and its price now."""
        prices = await self._catalog.read(read.prices_of, found.product.key)
        price = choose_price(prices, at_ms, variant=found.variant, pack=found.pack)
        item = {
            "product": found.product.payload,
            "version": found.product.version.hex(),
            "scope": found.product.scope,
            "variant": found.variant,
            "pack": found.pack,
            "price": _price(price),
        }
        if measured is not None:
            item["label"] = _label(measured, price)
        return item

    def _at(self, request: web.Request) -> int:
        text = request.query.get("at")
        if text is None:
            return self._clock.now_ms()
        try:
            # A plus sign in an address stands for a space unless it is escaped.
            return from_rfc3339(text.replace(" ", "+"))
        except ValueError as error:
            raise BadInput(f"at: {error}", hint="write it like 2026-11-21T10:00:00+05:00") from None


def _label(measured: MeasuredBarcode, price: Row | None) -> dict[str, Any]:
    """What a scale's label says: its quantity, or its amount and the quantity that the price makes of it."""
    if measured.weight_g is not None:
        return {"quantity": weight_quantity(measured.weight_g), "amount_minor": None}
    amount = measured.price_minor
    if amount is None or price is None:
        return {"quantity": None, "amount_minor": amount}
    return {"quantity": label_quantity(amount, price.payload["amount_minor"]), "amount_minor": amount}


def _price(row: Row | None) -> dict[str, Any] | None:
    """A price, what it is for, and what the receipt's line says about where it came from."""
    if row is None:
        return None
    # A pack may have no price of its own: without `per` the unit's would be taken for the whole pack's.
    per = "pack" if row.payload.get("pack") else "unit"
    return {**row.payload, "per": per, "version": row.version.hex(), "scope": row.scope}


def _row(row: Row) -> dict[str, Any]:
    return {"key": row.key, "version": row.version.hex(), "scope": row.scope, "data": row.payload}


def _text(query: Mapping[str, str], name: str) -> str:
    text = query.get(name, "").strip()
    if not 0 < len(text) <= TEXT_MAX:
        raise BadInput(f"query parameter {name} must have 1 to {TEXT_MAX} characters")
    return text


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(LIMIT))
    if not text.isdecimal() or not 1 <= int(text) <= LIMIT_MAX:
        raise BadInput(f'query parameter limit="{text}" must be a whole number from 1 to {LIMIT_MAX}')
    return int(text)


def _json(value: Any) -> web.Response:
    return web.Response(body=canonical(value), content_type="application/json")
