"""Stores and groups, and the registry as a whole: every act of HQ in one transaction with its line in the trail.

Invariant: nothing is ever deleted here, documents point at it.
"""

from __future__ import annotations

import re
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import registry
from central.db import stores as rows
from central.registry.acts import Acts, find_group, find_store
from central.registry.codes import CodeActs
from central.registry.import_stations import ImportActs
from central.registry.stations import StationActs
from shared.errors import BadInput, Conflict
from shared.ids import check_code

_CURRENCY = re.compile(r"^[A-Z]{3}$")


class StoreActs(Acts):
    """Acts on stores and groups."""

    async def add_store(
        self, code: str, *, name: str, zone: str, currency: str, price_list: str | None, who: str
    ) -> None:
        check_code(code, "store code")
        values: dict[str, Any] = {
            "name": name or code,
            "zone": zone,
            "currency": currency,
            "price_list": price_list,
        }
        _check_store(values)

        async def work(connection: AsyncConnection) -> None:
            if await rows.store_by_code(connection, code) is not None:
                raise Conflict(
                    f'there is a store "{code}" already', hint=f"change it: `stores set {code} ...`"
                )
            await registry.add_store(connection, code=code, **values)
            await self.note(connection, who, "store.create", {"code": code, **values})

        await self.database.run(work)

    async def change_store(self, code: str, changes: dict[str, Any], *, who: str) -> None:
        """Change name, zone, currency or price list; stations see a new price list at once."""
        _check_store(changes)

        async def work(connection: AsyncConnection) -> None:
            store = await find_store(connection, code)
            await rows.update_store(connection, store.store_no, changes)
            await rows.poke(connection, store_no=store.store_no)
            await self.note(connection, who, "store.change", {"code": code, **_diff(store, changes)})

        await self.database.run(work)

    async def add_group(
        self, code: str, *, name: str, priority: int, price_list: str | None, who: str
    ) -> None:
        check_code(code, "group code")
        values: dict[str, Any] = {"name": name or code, "priority": priority, "price_list": price_list}
        _check_price_list(price_list)

        async def work(connection: AsyncConnection) -> None:
            if await rows.group_by_code(connection, code) is not None:
                raise Conflict(
                    f'there is a group "{code}" already', hint=f"change it: `groups set {code} ...`"
                )
            await registry.add_group(connection, code=code, **values)
            await self.note(connection, who, "group.create", {"code": code, **values})

        await self.database.run(work)

    async def change_group(self, code: str, changes: dict[str, Any], *, who: str) -> None:
        """Change name, priority or price list; its stations see it at once."""
        _check_price_list(changes.get("price_list"))

        async def work(connection: AsyncConnection) -> None:
            group = await find_group(connection, code)
            await rows.update_group(connection, group.group_no, changes)
            await rows.poke(connection, group_no=group.group_no)
            await self.note(connection, who, "group.change", {"code": code, **_diff(group, changes)})

        await self.database.run(work)


class Registry(StoreActs, StationActs, ImportActs, CodeActs):
    """All that HQ does to stores, groups, stations and codes."""


def _check_store(values: dict[str, Any]) -> None:
    zone, currency = values.get("zone"), values.get("currency")
    if zone is not None:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise BadInput(
                f'"{zone}" is not a time zone',
                hint='use an IANA name such as "Europe/Berlin" or "Asia/Tashkent"',
            ) from None
    if currency is not None and not _CURRENCY.match(currency):
        raise BadInput(f'"{currency}" is not a currency', hint="use its three letters, such as EUR or UZS")
    _check_price_list(values.get("price_list"))


def _check_price_list(code: str | None) -> None:
    if code is not None:
        check_code(code, "price list")


def _diff(row: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """What the audit trail shows of a change: old and new of each field that moved."""
    old = row._mapping
    return {key: {"old": old[key], "new": value} for key, value in changes.items() if old[key] != value}
