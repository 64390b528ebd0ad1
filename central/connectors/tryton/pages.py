"""Read a source of Tryton page by page, in the order of the records' ids.

Pages go on behind the last id and not at an offset, so a record that comes or goes while they are read moves none of
the others. The cursor is the newest date that stood in the database before the first page was asked for: by Tryton's
own clock, and never past something that changed meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from central.connectors.base import Page, Read
from central.connectors.tryton.reading import (
    PRICE_ASK,
    PRICE_DATES,
    PRICE_MODELS,
    READINGS,
    Row,
    changed,
    prices,
)
from central.connectors.tryton.rpc import Tryton
from shared.errors import BadInput

_MOVES_PAGE = 5_000


async def read(
    tryton: Tryton, request: Read, price_lists: Sequence[str], own_prices: str
) -> AsyncIterator[Page]:
    """The pages of a source; the last one bears the cursor."""
    since = _since(request)
    if request.source == "prices":
        pages = _prices(tryton, request, since, price_lists, own_prices)
    elif request.source == "stock":
        pages = _stock(tryton, request, since)
    else:
        reading = READINGS[request.source]
        cursor = await _newest(tryton, reading.dated)
        domain = [*reading.domain, *([changed(reading.dates, since)] if since else [])]
        pages = _last_bears(
            _rows(tryton, reading.model, domain, reading.ask, request.page, reading.record), cursor
        )
    async for page in pages:
        yield page


def _since(request: Read) -> datetime | None:
    if request.since is None:
        return None
    try:
        # Tryton's dates bear no zone; they are UTC.
        at = datetime.fromisoformat(request.since).astimezone(UTC).replace(tzinfo=None)
    except ValueError:
        raise BadInput(
            f'"{request.since}" is no cursor of {request.source}', hint="read all of it again"
        ) from None
    return at - timedelta(seconds=request.overlap_s)


async def _newest(tryton: Tryton, models: Sequence[str]) -> str | None:
    """The newest date of change in these models, by the clock of Tryton's database."""
    newest: list[datetime] = []
    for model in models:
        for name in ("write_date", "create_date"):
            found = await tryton.call(
                f"model.{model}.search_read", [[name, "!=", None]], 0, 1, [[name, "DESC"]], [name]
            )
            newest += [row[name] for row in found]
    return max(newest).isoformat() if newest else None


async def _rows(
    tryton: Tryton,
    model: str,
    domain: Sequence[Any],
    ask: Sequence[str],
    size: int,
    record: Callable[[Row], dict[str, Any]],
    context: Mapping[str, Any] | None = None,
) -> AsyncIterator[list[dict[str, Any]]]:
    last = 0
    while True:
        rows = await tryton.call(
            f"model.{model}.search_read",
            [["id", ">", last], *domain],
            0,
            size,
            [["id", "ASC"]],
            list(ask),
            context=dict(context or {}),
        )
        if rows:
            last = rows[-1]["id"]
            yield [record(row) for row in rows]
        if len(rows) < size:
            return


async def _last_bears(pages: AsyncIterator[list[dict[str, Any]]], cursor: str | None) -> AsyncIterator[Page]:
    async for records in pages:
        yield Page(records)
    yield Page([], cursor=cursor)


async def _prices(
    tryton: Tryton, request: Read, since: datetime | None, names: Sequence[str], own: str
) -> AsyncIterator[Page]:
    cursor = await _newest(tryton, (*PRICE_MODELS, "product.price_list", "product.price_list.line"))
    currency = await _currency(tryton)
    lists: list[tuple[str, dict[str, Any] | None, bool]] = [(own, None, False)]
    for name in names:
        found = await tryton.call(
            "model.product.price_list.search_read",
            [["name", "=", name]],
            0,
            2,
            None,
            ["tax_included", "write_date", "create_date", "lines.write_date", "lines.create_date"],
        )
        if len(found) != 1:
            raise BadInput(f'Tryton has {len(found)} price lists named "{name}"', hint="look at price_lists")
        # Whose formula has changed has new prices for all products.
        whole = since is not None and _touched(found[0], since)
        lists.append((name, found[0], whole))
    for name, price_list, whole in lists:
        domain = [changed(PRICE_DATES, since)] if since and not whole else []

        def record(
            row: Row, name: str = name, price_list: dict[str, Any] | None = price_list
        ) -> dict[str, Any]:
            tax_included = bool(price_list and price_list["tax_included"])
            return prices(row, name, currency, formula=price_list is not None, tax_included=tax_included)

        context = {"price_list": price_list["id"]} if price_list else {}
        async for records in _rows(
            tryton, "product.product", domain, PRICE_ASK, request.page, record, context
        ):
            yield Page([one for one in records if one["amount"] is not None])
    yield Page([], cursor=cursor)


def _touched(price_list: Mapping[str, Any], since: datetime) -> bool:
    dates = [
        row[name]
        for row in (price_list, *(price_list["lines."] or ()))
        for name in ("write_date", "create_date")
        if row[name] is not None
    ]
    return any(at.replace(tzinfo=None) >= since for at in dates)


async def _currency(tryton: Tryton) -> str | None:
    found = await tryton.call("model.company.company.search_read", [], 0, 1, None, ["currency.code"])
    return found[0]["currency."]["code"] if found else None


async def _stock(tryton: Tryton, request: Read, since: datetime | None) -> AsyncIterator[Page]:
    cursor = await _newest(tryton, ("stock.move",))
    domain: list[Any] = [["type", "=", "goods"]]
    if since is not None:
        moved: set[int] = set()
        moves = _rows(
            tryton,
            "stock.move",
            [changed(("",), since)],
            ("product",),
            _MOVES_PAGE,
            lambda row: {"product": row["product"]},
        )
        async for page in moves:
            moved |= {one["product"] for one in page}
        domain = [["id", "in", sorted(moved)]]
    warehouses = await tryton.call(
        "model.stock.location.search_read",
        [["type", "=", "warehouse"]],
        0,
        None,
        [["id", "ASC"]],
        ["code", "name", "storage_location"],
    )
    for warehouse in warehouses:

        def record(row: Row, code: str = warehouse["code"] or warehouse["name"]) -> dict[str, Any]:
            return {
                "id": f"{code}:{row['id']}",
                "product": row["code"],
                "product_id": str(row["id"]),
                "warehouse": code,
                "quantity": row["quantity"],
            }

        context = {
            "locations": [warehouse["storage_location"]],
            "with_childs": True,
            "stock_date_end": date.max,
        }
        async for records in _rows(
            tryton, "product.product", domain, ("code", "quantity"), request.page, record, context
        ):
            yield Page(records)
    yield Page([], cursor=cursor)
