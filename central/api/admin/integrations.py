"""Admin API: definitions of integrations, their versions, and their pulls."""

from __future__ import annotations

import orjson
from aiohttp import web

from central.api.admin.part import Part, page_of, time_or_none, who
from central.api.admin.shapes import integrations as shapes
from central.api.http import Auth, endpoint, read_model, reply
from central.connectors.base import Finding
from central.db import pulls as pull_rows
from central.integrations import toml
from central.integrations.difference import Difference, shown
from central.integrations.dry_run import dry_run
from central.integrations.integration import Integration
from central.integrations.pulls import state_of
from central.integrations.schedule import next_run_ms
from central.integrations.undo import undo_created, undo_run
from central.integrations.versions import Outcome
from shared.clock import from_rfc3339, rfc3339
from shared.errors import BadInput, NotFound


class IntegrationsApi(Part):
    """What owners of integrations do."""

    @endpoint(
        "GET",
        "/v1/admin/integrations/{name}",
        auth=Auth.READ,
        summary="An integration: its definition, what the last check found, where its pulls stand",
        reply=shapes.IntegrationDetail,
    )
    async def show_integration(self, request: web.Request) -> web.StreamResponse:
        one = await self.centre.integrations.get(request.match_info["name"])
        return reply(
            request,
            shapes.IntegrationDetail(
                name=one.name,
                version=one.version,
                enabled=one.enabled,
                definition=shown(one.definition),
                checked=time_or_none(one.checked_ms),
                findings=_findings(one.findings),
                pulls=await self._pulls(one),
            ),
        )

    @endpoint(
        "PUT",
        "/v1/admin/integrations",
        auth=Auth.ADMIN,
        summary="State a definition: it makes the integration, or a new version of it that holds at once",
        request=shapes.NewDefinition,
        reply=shapes.DefinitionStated,
    )
    async def state_definition(self, request: web.Request) -> web.StreamResponse:
        new = await read_model(request, shapes.NewDefinition)
        definition = new.read()
        if definition is None:
            raise BadInput("there is no definition", hint="send definition (JSON) or toml (text)")
        detail = {"name": definition.name, "note": new.note, "definition": shown(definition)}
        outcome = await self.centre.versions.put(
            definition,
            by=who(request),
            note=new.note,
            from_ms=None if new.from_time is None else _time("from_time", new.from_time),
            enabled=new.enabled,
            abandon=new.abandon,
            audited=self.note(request, "integration.define", detail),
        )
        self.centre.pulls.wake.set()
        return reply(request, _outcome(outcome))

    @endpoint(
        "GET",
        "/v1/admin/integrations/{name}/toml",
        auth=Auth.READ,
        summary="The definition as a TOML file; secrets stand as ***",
        reply=shapes.TomlText,
        query={"version": "default: the one that holds"},
    )
    async def export_definition(self, request: web.Request) -> web.StreamResponse:
        version = request.query.get("version")
        if version is not None and not version.isdecimal():
            raise BadInput(f'query parameter version="{version}" is not a whole number')
        definition = await self.centre.versions.definition(
            request.match_info["name"], int(version) if version else None
        )
        return reply(request, shapes.TomlText(toml=toml.write(definition)))

    @endpoint(
        "GET",
        "/v1/admin/integrations/{name}/versions",
        auth=Auth.READ,
        summary="Who stated what and when, newest first",
        reply=shapes.VersionRows,
    )
    async def list_versions(self, request: web.Request) -> web.StreamResponse:
        found = await self.centre.versions.history(request.match_info["name"])
        items = [
            shapes.VersionRow(
                version=row["version"], by=row["by"], at=rfc3339(row["at_ms"]), note=row["note"]
            )
            for row in found
        ]
        return reply(request, shapes.VersionRows(items=items))

    @endpoint(
        "POST",
        "/v1/admin/integrations/{name}/difference",
        auth=Auth.READ,
        summary="What differs between two versions, or from a definition that is not stated yet",
        request=shapes.Compare,
        reply=shapes.Differences,
    )
    async def compare_versions(self, request: web.Request) -> web.StreamResponse:
        body = await read_model(request, shapes.Compare)
        found = await self.centre.versions.difference(
            request.match_info["name"], body.old, body.read() or body.new
        )
        return reply(request, shapes.Differences(items=[_difference(one) for one in found]))

    @endpoint(
        "POST",
        "/v1/admin/integrations/{name}/back",
        auth=Auth.ADMIN,
        summary="Hold again what an earlier version said",
        request=shapes.Back,
        reply=shapes.DefinitionStated,
    )
    async def back(self, request: web.Request) -> web.StreamResponse:
        body = await read_model(request, shapes.Back)
        name = request.match_info["name"]
        note = self.note(request, "integration.back", {"name": name, **body.model_dump()})
        outcome = await self.centre.versions.back(name, body.version, by=who(request), audited=note)
        return reply(request, _outcome(outcome))

    @endpoint(
        "POST",
        "/v1/admin/integrations/{name}/check",
        auth=Auth.ADMIN,
        summary="Look now: reached? signed in? which rights? does the definition still fit?",
        reply=shapes.Findings,
    )
    async def check_integration(self, request: web.Request) -> web.StreamResponse:
        one = await self.centre.integrations.get(request.match_info["name"])
        found = await self.centre.checks.check(one)
        return reply(request, shapes.Findings(items=_findings(found)))

    @endpoint(
        "POST",
        "/v1/admin/integrations/{name}/pull",
        auth=Auth.ADMIN,
        summary="Pull now, whatever the schedule or a pause says",
        request=shapes.RunNow,
        reply=shapes.Asked,
    )
    async def pull_now(self, request: web.Request) -> web.StreamResponse:
        body = await read_model(request, shapes.RunNow)
        name = request.match_info["name"]
        note = self.note(request, "integration.pull", {"name": name, **body.model_dump()})
        asked = await self.centre.pulls.ask(name, body.pull, full=body.full, audited=note)
        return reply(request, shapes.Asked(pulls=list(asked)))

    @endpoint(
        "POST",
        "/v1/admin/integrations/{name}/dry-run",
        auth=Auth.ADMIN,
        summary="Read all of a pull's source, write nothing, and tell what would become of it",
        request=shapes.DryRun,
    )
    async def dry_run(self, request: web.Request) -> web.StreamResponse:
        body = await read_model(request, shapes.DryRun)
        one, connector = await self.centre.versions.trial(request.match_info["name"], body.read())
        for pull in one.definition.pull:
            if pull.name == body.pull:
                report = await dry_run(self.centre.ports, one, pull, connector)
                return reply(request, orjson.dumps(report, default=str))
        raise NotFound(f'integration "{one.name}" has no pull "{body.pull}"')

    @endpoint(
        "GET",
        "/v1/admin/integrations/{name}/runs",
        auth=Auth.READ,
        summary="Runs of its pulls, newest first, with what became of every record that was rejected",
        reply=shapes.Runs,
        query={"pull": "only this one", "limit": "most rows"},
    )
    async def list_runs(self, request: web.Request) -> web.StreamResponse:
        one = await self.centre.integrations.get(request.match_info["name"])
        async with self.centre.database.read() as connection:
            found = await pull_rows.list_runs(
                connection, one.integration_no, request.query.get("pull"), page_of(request)
            )
        items = [
            shapes.RunRow(
                run=row.run_no,
                pull=row.pull,
                version=row.version,
                why=row.why,
                full=row.is_full,
                started=rfc3339(row.started_ms),
                ended=time_or_none(row.ended_ms),
                result=row.result,
                report=orjson.loads(row.report) if row.report else None,
            )
            for row in found
        ]
        return reply(request, shapes.Runs(items=items))

    @endpoint(
        "POST",
        "/v1/admin/integrations/{name}/runs/{run}/undo",
        auth=Auth.ADMIN,
        summary="Bring the catalog back to what it was before a run; the integration is switched off first",
    )
    async def undo_run(self, request: web.Request) -> web.StreamResponse:
        name, run = request.match_info["name"], request.match_info["run"]
        if not run.isdecimal():
            raise BadInput(f'"{run}" is not the number of a run')
        note = self.note(request, "integration.undo_run", {"name": name, "run": int(run)})
        centre = self.centre
        report = await undo_run(
            centre.database, centre.publisher, centre.integrations, name, int(run), audited=note
        )
        return reply(request, report)

    @endpoint(
        "POST",
        "/v1/admin/integrations/{name}/undo-created",
        auth=Auth.ADMIN,
        summary="Take back what was made in the other system since a moment, as far as it permits",
        request=shapes.UndoSince,
    )
    async def undo_created(self, request: web.Request) -> web.StreamResponse:
        body = await read_model(request, shapes.UndoSince)
        name = request.match_info["name"]
        note = self.note(request, "integration.undo_created", {"name": name, **body.model_dump()})
        one = await self.centre.integrations.disable(name, audited=note)
        connector = self.centre.integrations.connector(one)
        report = await undo_created(self.centre.database, one, connector, _time("since", body.since))
        return reply(request, report)

    @endpoint(
        "POST",
        "/v1/admin/integrations/{name}/trigger",
        auth=Auth.ADMIN,
        summary="Draw the secret with which another system starts its pulls; an earlier one ends",
        reply=shapes.TriggerSecret,
    )
    async def draw_trigger(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        note = self.note(request, "integration.trigger", {"name": name})
        secret = await self.centre.triggers.draw(name, audited=note)
        return reply(request, shapes.TriggerSecret(path=f"/v1/triggers/{name}", secret=secret))

    async def _pulls(self, one: Integration) -> list[shapes.PullRow]:
        async with self.centre.database.read() as connection:
            states = await pull_rows.states(connection, one.integration_no)
        rows = []
        for pull in one.definition.pull:
            state = state_of(states.get(pull.name))
            next_ms = next_run_ms(pull, state) if one.enabled and pull.enabled else None
            rows.append(
                shapes.PullRow(
                    pull=pull.name,
                    source=pull.source,
                    becomes=pull.entity or pull.document or "",
                    enabled=pull.enabled,
                    last=time_or_none(state.run_ms or None),
                    full=time_or_none(state.full_ms or None),
                    next=time_or_none(None if next_ms is None else max(next_ms, state.not_before_ms) or None),
                    cursor=state.cursor,
                    failures=state.failures,
                    problem=state.problem,
                )
            )
        return rows


def _outcome(outcome: Outcome) -> shapes.DefinitionStated:
    one = outcome.integration
    return shapes.DefinitionStated(
        name=one.name,
        result=outcome.result,
        version=one.version,
        enabled=one.enabled,
        differences=[_difference(each) for each in outcome.differences],
    )


def _difference(one: Difference) -> shapes.DifferenceRow:
    return shapes.DifferenceRow(path=one.path, before=one.before, after=one.after)


def _findings(found: object) -> list[shapes.CheckFinding]:
    assert isinstance(found, list | tuple)
    rows: list[Finding] = list(found)
    return [shapes.CheckFinding(what=one.what, ok=one.ok, detail=one.detail, hint=one.hint) for one in rows]


def _time(name: str, text: str) -> int:
    try:
        return from_rfc3339(text)
    except ValueError as error:
        raise BadInput(f"{name}: {error}") from None
