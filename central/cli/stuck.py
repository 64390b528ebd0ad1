"""Commands for documents that are stuck: waiting, parked; and the repair of many at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from central.cli import output
from central.cli.client import ask
from central.cli.output import Json, Limit, Station, assignment, done, say, short_time, told
from shared.errors import BadInput

waiting = typer.Typer(no_args_is_help=True, help="Documents that wait for another one.")
parked = typer.Typer(
    no_args_is_help=True, help="Documents that could not be applied, by root cause, and their repair."
)


@waiting.command("list")
@told
def list_waiting(context: typer.Context, limit: Limit = 200, as_json: Json = False) -> None:
    """Documents that wait for one that they correct, or for a newer version of the centre."""
    found = ask(context.obj, lambda client: client.pages("/v1/admin/waiting", limit))
    if as_json:
        output.json(found)
        return
    output.table(
        ("since", "station", "number", "kind", "waits for", "doc_id"),
        [
            (
                short_time(row["since"]),
                row["station"],
                row["number"],
                row["kind"],
                row["waits_for"] or "a newer version of the centre",
                row["doc_id"],
            )
            for row in found
        ],
    )


@parked.command("list")
@told
def list_groups(context: typer.Context, as_json: Json = False) -> None:
    """Parked documents, one line for each root cause."""
    found = ask(context.obj, lambda client: client.get("/v1/admin/parked"))["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("documents", "stations", "since", "reason", "for example"),
        [
            (row["documents"], row["stations"], short_time(row["since"]), row["reason"], row["example"])
            for row in found
        ],
    )
    if found:
        say(
            'repair all of one cause: parked repair --reason "REASON" --set PATH=VALUE (or without --set: try again)'
        )


@parked.command("documents")
@told
def list_parked(
    context: typer.Context,
    reason: Annotated[str | None, typer.Option(help="Of this root cause.", show_default=False)] = None,
    station: Station = None,
    limit: Limit = 200,
    as_json: Json = False,
) -> None:
    """Parked documents one by one."""
    found = ask(
        context.obj,
        lambda client: client.pages("/v1/admin/parked/documents", limit, reason=reason, station=station),
    )
    if as_json:
        output.json(found)
        return
    output.table(
        ("since", "station", "number", "kind", "tries", "doc_id", "what is wrong"),
        [
            (
                short_time(row["since"]),
                row["station"],
                row["number"],
                row["kind"],
                row["attempts"],
                row["doc_id"],
                row["detail"],
            )
            for row in found
        ],
    )


@parked.command("repair")
@told
def repair(
    context: typer.Context,
    reason: Annotated[
        str | None, typer.Option(help="All documents of this root cause.", show_default=False)
    ] = None,
    doc_id: Annotated[
        list[str] | None, typer.Option(help="This document; may be given several times.", show_default=False)
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="PATH=VALUE, e.g. lines[*].product=4711; JSON or text.", show_default=False
        ),
    ] = None,
    payload: Annotated[
        Path | None,
        typer.Option(help="A JSON file that replaces the payload of one document.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Correct parked documents and try them again; what the tills sealed stays as it is."""
    if (reason is None) == (not doc_id):
        raise BadInput(
            "say which documents", hint='one of --reason "REASON" (see `parked list`) and --doc-id ID'
        )
    body: dict[str, Any] = {"reason": reason, "doc_ids": doc_id or None}
    if values:
        body["set"] = dict(assignment(text) for text in values)
    if payload is not None:
        body["payload"] = output.object_in(payload)
    answer = ask(context.obj, lambda client: client.post("/v1/admin/parked/repair", body))
    if as_json:
        output.json(answer)
    done(f"{answer['tried']} tried again: {answer['applied']} applied, {answer['still_parked']} still parked")
    if answer["still_parked"]:
        say("  `parked list` shows what is wrong with them now")
