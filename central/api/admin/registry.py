"""Admin API: stores and groups."""

from __future__ import annotations

from aiohttp import web

from central.api.admin.part import Part, who
from central.api.admin.shapes.registry import (
    GroupChanges,
    GroupRow,
    Groups,
    NewGroup,
    NewStore,
    StoreChanges,
    StoreRow,
    Stores,
)
from central.api.http import Auth, endpoint, read_model, reply
from central.db import stores as rows
from central.db.database import AnyRow


class RegistryApi(Part):
    """Where stations stand, and which sets of them share settings and prices."""

    @endpoint("GET", "/v1/admin/stores", auth=Auth.READ, summary="All stores", reply=Stores)
    async def list_stores(self, request: web.Request) -> web.StreamResponse:
        async with self.centre.database.read() as connection:
            found = await rows.list_stores(connection)
        return reply(request, Stores(items=[_store(row) for row in found]))

    @endpoint(
        "POST",
        "/v1/admin/stores",
        auth=Auth.ADMIN,
        summary="Make a store",
        request=NewStore,
        reply=StoreRow,
        status=201,
    )
    async def add_store(self, request: web.Request) -> web.StreamResponse:
        new = await read_model(request, NewStore)
        await self.centre.registry.add_store(**new.model_dump(), who=who(request))
        return reply(request, await self._store_row(new.code), status=201)

    @endpoint(
        "PATCH",
        "/v1/admin/stores/{code}",
        auth=Auth.ADMIN,
        summary="Change a store; its stations see a new price list at once",
        request=StoreChanges,
        reply=StoreRow,
    )
    async def change_store(self, request: web.Request) -> web.StreamResponse:
        changes = await read_model(request, StoreChanges)
        code = request.match_info["code"]
        await self.centre.registry.change_store(code, _given(changes), who=who(request))
        return reply(request, await self._store_row(code))

    @endpoint("GET", "/v1/admin/groups", auth=Auth.READ, summary="All groups of stations", reply=Groups)
    async def list_groups(self, request: web.Request) -> web.StreamResponse:
        async with self.centre.database.read() as connection:
            found = await rows.list_groups(connection)
        return reply(request, Groups(items=[_group(row) for row in found]))

    @endpoint(
        "POST",
        "/v1/admin/groups",
        auth=Auth.ADMIN,
        summary="Make a group",
        request=NewGroup,
        reply=GroupRow,
        status=201,
    )
    async def add_group(self, request: web.Request) -> web.StreamResponse:
        new = await read_model(request, NewGroup)
        await self.centre.registry.add_group(**new.model_dump(), who=who(request))
        return reply(request, await self._group_row(new.code), status=201)

    @endpoint(
        "PATCH",
        "/v1/admin/groups/{code}",
        auth=Auth.ADMIN,
        summary="Change a group; its stations see it at once",
        request=GroupChanges,
        reply=GroupRow,
    )
    async def change_group(self, request: web.Request) -> web.StreamResponse:
        changes = await read_model(request, GroupChanges)
        code = request.match_info["code"]
        await self.centre.registry.change_group(code, _given(changes), who=who(request))
        return reply(request, await self._group_row(code))

    async def _store_row(self, code: str) -> StoreRow:
        async with self.centre.database.read() as connection:
            return next(_store(row) for row in await rows.list_stores(connection) if row.code == code)

    async def _group_row(self, code: str) -> GroupRow:
        async with self.centre.database.read() as connection:
            return next(_group(row) for row in await rows.list_groups(connection) if row.code == code)


def _given(changes: StoreChanges | GroupChanges) -> dict[str, object]:
    """The fields that the request names; only a price list may be taken away by null."""
    given = changes.model_dump(exclude_unset=True)
    return {name: value for name, value in given.items() if value is not None or name == "price_list"}


def _store(row: AnyRow) -> StoreRow:
    return StoreRow(
        code=row.code,
        name=row.name,
        zone=row.zone,
        currency=row.currency,
        price_list=row.price_list,
        stations=row.stations,
    )


def _group(row: AnyRow) -> GroupRow:
    return GroupRow(
        code=row.code, name=row.name, priority=row.priority, price_list=row.price_list, stations=row.stations
    )
