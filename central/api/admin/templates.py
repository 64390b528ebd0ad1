"""Admin API: templates of lists to fill in."""

from __future__ import annotations

from typing import Literal

from aiohttp import web

from central.api.admin.part import Part, choice
from central.api.http import Auth, endpoint, reply
from central.connectors.formats.templates import MEDIA, template


class TemplatesApi(Part):
    """What a person fills in and drops into a folder."""

    @endpoint(
        "GET",
        "/v1/admin/templates/{entity}",
        auth=Auth.READ,
        summary="An empty list of an entity, with its columns",
        query={"format": "csv (the usual) or xlsx"},
        media="text/csv",
    )
    async def template(self, request: web.Request) -> web.StreamResponse:
        entity = request.match_info["entity"]
        form: Literal["csv", "xlsx"] = "xlsx" if choice(request, "format", tuple(MEDIA)) == "xlsx" else "csv"
        name = f'attachment; filename="{entity}.{form}"'
        return reply(
            request, template(entity, form), media=MEDIA[form], headers={"Content-Disposition": name}
        )
