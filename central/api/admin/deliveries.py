"""Admin API: integrations, and the deliveries that they carry."""

from __future__ import annotations

from aiohttp import web

from central import audit
from central.api.admin.part import Part, page_of, time_or_none
from central.api.admin.shapes.deliveries import (
    Batches,
    BatchOutcome,
    BatchRow,
    DeliveriesMoved,
    Enable,
    IntegrationRow,
    Integrations,
    NewIntegration,
)
from central.api.http import Auth, endpoint, read_model, reply
from central.integrations.integration import Integration
from shared.clock import from_rfc3339, rfc3339
from shared.errors import BadInput


class DeliveriesApi(Part):
    """The other systems."""

    @endpoint(
        "GET",
        "/v1/admin/integrations",
        auth=Auth.READ,
        summary="Connected systems, and what is still to be delivered to each",
        reply=Integrations,
    )
    async def list_integrations(self, request: web.Request) -> web.StreamResponse:
        counts = await self.centre.integrations.deliveries()
        items = [_integration(one, counts.get(one.name, {})) for one in await self.centre.integrations.list()]
        return reply(request, Integrations(items=items))

    @endpoint(
        "POST",
        "/v1/admin/integrations",
        auth=Auth.ADMIN,
        summary="Connect a system",
        request=NewIntegration,
        reply=IntegrationRow,
        status=201,
    )
    async def add_integration(self, request: web.Request) -> web.StreamResponse:
        new = await read_model(request, NewIntegration)
        one = await self.centre.integrations.create(
            new.name,
            new.connector,
            new.settings,
            new.kinds,
            from_ms=_time(new.from_time),
            enabled=new.enabled,
            audited=self.note(request, "integration.create", new.model_dump()),
        )
        return reply(request, await self._integration_row(one), status=201)

    @endpoint(
        "POST",
        "/v1/admin/integrations/{name}/enable",
        auth=Auth.ADMIN,
        summary="Deliver (again); what is missing since from_time is filled in",
        request=Enable,
        reply=IntegrationRow,
    )
    async def enable(self, request: web.Request) -> web.StreamResponse:
        body = await read_model(request, Enable)
        name = request.match_info["name"]
        note = self.note(request, "integration.enable", {"name": name, **body.model_dump()})
        one = await self.centre.integrations.enable(name, _time(body.from_time), audited=note)
        return reply(request, await self._integration_row(one))

    @endpoint(
        "POST",
        "/v1/admin/integrations/{name}/disable",
        auth=Auth.ADMIN,
        summary="Stop after the batch under way; nothing is forgotten",
        reply=IntegrationRow,
    )
    async def disable(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        note = self.note(request, "integration.disable", {"name": name})
        one = await self.centre.integrations.disable(name, audited=note)
        return reply(request, await self._integration_row(one))

    @endpoint(
        "POST",
        "/v1/admin/integrations/{name}/run",
        auth=Auth.ADMIN,
        summary="Do it now: end a pause, deliver what is ready, look for files",
        reply=IntegrationRow,
    )
    async def run_now(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        note = self.note(request, "integration.run", {"name": name})
        one = await self.centre.integrations.resume(name, audited=note)
        await self.centre.deliveries.resume(one)
        self.centre.imports.wake.set()
        return reply(request, await self._integration_row(one))

    @endpoint(
        "GET",
        "/v1/admin/integrations/{name}/batches",
        auth=Auth.READ,
        summary="Batches, newest first",
        reply=Batches,
        query={"open": "1: only those that are not done", "limit": "most rows"},
    )
    async def list_batches(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        found = await self.centre.integrations.batches(
            name, open_only=request.query.get("open") == "1", limit=page_of(request)
        )
        items = [
            BatchRow(
                batch_id=row["batch_id"],
                integration=name,
                state=row["state"],
                documents=row["count"],
                attempts=row["attempts"],
                created=rfc3339(row["created_ms"]),
                done=time_or_none(row["done_ms"]),
                error=row["error"],
            )
            for row in found
        ]
        return reply(request, Batches(items=items))

    @endpoint(
        "POST",
        "/v1/admin/batches/{batch_id}/confirm",
        auth=Auth.ADMIN,
        summary="Say whether a batch has arrived where nobody can ask the other system",
        request=BatchOutcome,
        reply=DeliveriesMoved,
    )
    async def confirm_batch(self, request: web.Request) -> web.StreamResponse:
        body = await read_model(request, BatchOutcome)
        batch_id = request.match_info["batch_id"]
        note = self.note(request, "batch.confirm", {"batch": batch_id, **body.model_dump()})
        count = await self.centre.integrations.confirm_unknown(batch_id, arrived=body.arrived, audited=note)
        return reply(request, DeliveriesMoved(deliveries=count))

    async def _integration_row(self, one: Integration) -> IntegrationRow:
        return _integration(one, (await self.centre.integrations.deliveries()).get(one.name, {}))


def _integration(one: Integration, counts: dict[str, int]) -> IntegrationRow:
    return IntegrationRow(
        name=one.name,
        connector=one.connector,
        settings=audit.masked(one.settings),
        kinds=list(one.kinds),
        pulls=[pull.name for pull in one.definition.pull if pull.enabled],
        version=one.version,
        enabled=one.enabled,
        from_time=rfc3339(one.from_ms),
        paused_until=rfc3339(one.paused_until_ms) if one.problem else None,
        problem=one.problem,
        deliveries=counts,
    )


def _time(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return from_rfc3339(text)
    except ValueError as error:
        raise BadInput(f"from_time: {error}") from None
