"""Admin API: enrolment codes."""

from __future__ import annotations

from aiohttp import web

from central.api.admin.part import Part, who
from central.api.admin.shapes.shape import DAY_S
from central.api.admin.shapes.stations import EnrolmentCode, NewCode, OpenCode, OpenCodes
from central.api.http import Auth, endpoint, read_model, reply
from central.db import stores as rows
from central.registry.codes import code_id_of
from shared.clock import rfc3339


class CodesApi(Part):
    """What an installer types at the till."""

    @endpoint(
        "POST",
        "/v1/admin/codes",
        auth=Auth.ADMIN,
        summary="Draw an enrolment code for a station, or for a group",
        request=NewCode,
        reply=EnrolmentCode,
        status=201,
    )
    async def add_code(self, request: web.Request) -> web.StreamResponse:
        new = await read_model(request, NewCode)
        code = await self.centre.registry.add_code(
            station=new.station,
            group=new.group,
            store=new.store,
            replace=new.replace,
            uses=new.uses,
            valid_s=new.code_days * DAY_S,
            who=who(request),
        )
        return reply(request, await self.code_of(code, new.station, new.code_days), status=201)

    @endpoint(
        "GET", "/v1/admin/codes", auth=Auth.ADMIN, summary="Enrolment codes still open", reply=OpenCodes
    )
    async def list_codes(self, request: web.Request) -> web.StreamResponse:
        async with self.centre.database.read() as connection:
            found = await rows.open_codes(connection, await self.centre.database.now_ms(connection))
        items = [
            OpenCode(
                id=code_id_of(row.hash),
                station=row.station,
                group=row.group,
                store=row.store,
                replace=row.replace,
                uses_left=row.uses_left,
                created=rfc3339(row.created_ms),
                expires=rfc3339(row.expires_ms),
            )
            for row in found
        ]
        return reply(request, OpenCodes(items=items))

    @endpoint(
        "POST",
        "/v1/admin/codes/{id}/cancel",
        auth=Auth.ADMIN,
        summary="Let nobody use an enrolment code any more",
        reply=OpenCodes,
    )
    async def cancel_code(self, request: web.Request) -> web.StreamResponse:
        await self.centre.registry.cancel_code(request.match_info["id"], who=who(request))
        return await self.list_codes(request)

    async def expiry_of(self, days: int) -> str:
        """When a code that is drawn now ends."""
        async with self.centre.database.read() as connection:
            return rfc3339(await self.centre.database.now_ms(connection) + days * DAY_S * 1_000)

    async def code_of(self, code: str, station: str | None, days: int) -> EnrolmentCode:
        """A fresh code as the answer tells it."""
        return EnrolmentCode(enrolment_code=code, expires=await self.expiry_of(days), station=station)
