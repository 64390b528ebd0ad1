"""Admin API: API keys, consumers of the feed, and the audit trail."""

from __future__ import annotations

from itertools import groupby

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from central import audit
from central.api.admin.part import PAGING, Part, after_number, next_of, page_of, time_or_none, who
from central.api.admin.shapes.access import (
    Audit,
    AuditRow,
    ConsumerCursor,
    ConsumerRow,
    Consumers,
    KeyRow,
    Keys,
    NewConsumer,
    NewKey,
    NewKeyReply,
)
from central.api.http import Auth, endpoint, read_model, reply
from central.db import admin as rows
from central.db import stores as store_rows
from central.keys import Binding
from shared.canonical import canonical, parse
from shared.clock import rfc3339
from shared.errors import BadInput, Conflict, NotFound


class AccessApi(Part):
    """Who may call, and who did."""

    @endpoint(
        "GET", "/v1/admin/keys", auth=Auth.ADMIN, summary="API keys, never the keys themselves", reply=Keys
    )
    async def list_keys(self, request: web.Request) -> web.StreamResponse:
        items = [
            KeyRow(
                name=key.name,
                role=key.role,
                consumer=key.consumer,
                source=key.source,
                outlet=key.outlet,
                created=rfc3339(key.created_ms),
                revoked=time_or_none(key.revoked_ms),
            )
            for key in await self.centre.keys.list()
        ]
        return reply(request, Keys(items=items))

    @endpoint(
        "POST",
        "/v1/admin/keys",
        auth=Auth.ADMIN,
        summary="Draw an API key; it is shown once",
        request=NewKey,
        reply=NewKeyReply,
        status=201,
    )
    async def add_key(self, request: web.Request) -> web.StreamResponse:
        new = await read_model(request, NewKey)
        key = await self.centre.keys.create(
            new.name, new.role, Binding(new.consumer, new.source, new.outlet), who=who(request)
        )
        return reply(request, NewKeyReply(name=new.name, role=new.role, key=key), status=201)

    @endpoint(
        "POST",
        "/v1/admin/keys/{name}/revoke",
        auth=Auth.ADMIN,
        summary="Close the door for a key",
        reply=Keys,
    )
    async def revoke_key(self, request: web.Request) -> web.StreamResponse:
        await self.centre.keys.revoke(request.match_info["name"], who=who(request))
        return await self.list_keys(request)

    @endpoint(
        "GET",
        "/v1/admin/consumers",
        auth=Auth.READ,
        summary="Consumers of the feed, and what each has confirmed or rejected",
        reply=Consumers,
    )
    async def list_consumers(self, request: web.Request) -> web.StreamResponse:
        async with self.centre.database.read() as connection:
            found = await rows.list_consumers(connection)
        items = []
        for name, group in groupby(found, key=lambda row: row.consumer):
            of_consumer = list(group)
            entities = [
                ConsumerCursor(
                    entity=row.entity, confirmed=rfc3339(row.confirmed_ms), rejected=parse(row.rejected)
                )
                for row in of_consumer
                if row.entity is not None
            ]
            first = of_consumer[0]
            items.append(
                ConsumerRow(
                    name=name,
                    store=first.store,
                    groups=parse(first.groups),
                    created=rfc3339(first.created_ms),
                    entities=entities,
                )
            )
        return reply(request, Consumers(items=items))

    @endpoint(
        "POST",
        "/v1/admin/consumers",
        auth=Auth.ADMIN,
        summary="Make a consumer of the feed: it sees what a station of that store and those groups sees",
        request=NewConsumer,
        reply=NewKeyReply,
        status=201,
    )
    async def add_consumer(self, request: web.Request) -> web.StreamResponse:
        new = await read_model(request, NewConsumer)
        name = who(request)

        async def work(connection: AsyncConnection) -> str:
            if await rows.consumer_exists(connection, new.name):
                raise Conflict(f'there is a consumer "{new.name}" already', hint="choose another name")
            store = await store_rows.store_by_code(connection, new.store)
            if store is None:
                raise NotFound(f'there is no store "{new.store}"', hint="`counterflow-central stores list`")
            known = await store_rows.groups_by_code(connection)
            if unknown := [group for group in new.groups if group not in known]:
                raise BadInput(
                    f"there is no group {', '.join(unknown)}", hint="`counterflow-central groups list`"
                )
            at_ms = await self.centre.database.now_ms(connection)
            groups = canonical(new.groups).decode()
            await rows.insert_consumer(connection, new.name, store.store_no, groups, at_ms)
            await audit.record(connection, at_ms, name, "consumer.create", new.model_dump())
            key: str = await self.centre.keys.create_in(
                connection, new.name, "feed", Binding(consumer=new.name), who=name
            )
            return key

        key = await self.centre.database.run(work)
        return reply(request, NewKeyReply(name=new.name, role="feed", key=key), status=201)

    @endpoint(
        "GET",
        "/v1/admin/audit",
        auth=Auth.READ,
        summary="Who did what, newest first",
        reply=Audit,
        query={"who": "by this key or station", "what": 'acts that begin so, e.g. "station."', **PAGING},
    )
    async def list_audit(self, request: web.Request) -> web.StreamResponse:
        limit = page_of(request)
        async with self.centre.database.read() as connection:
            found = await rows.list_audit(
                connection,
                before=after_number(request),
                who=request.query.get("who"),
                what=request.query.get("what"),
                limit=limit,
            )
        items = [
            AuditRow(
                audit_no=row.audit_no,
                at=rfc3339(row.at_ms),
                who=row.who,
                what=row.what,
                detail=parse(row.detail) if row.detail.startswith(("{", "[")) else row.detail,
            )
            for row in found
        ]
        return reply(request, Audit(items=items, next=next_of(items, limit, "audit_no")))
