"""Commands for what integrations carry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from central.cli import output
from central.cli.client import ask, part
from central.cli.output import Json, Limit, assignment, done, say, short_time, told
from shared.errors import BadInput

app = typer.Typer(no_args_is_help=True, help="What was delivered to other systems, and what was not.")

Name = Annotated[str, typer.Argument(help="The integration's name.", show_default=False)]


@app.command("batches")
@told
def list_batches(
    context: typer.Context,
    name: Name,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are not done.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=2_000)] = 50,
    as_json: Json = False,
) -> None:
    """Batches of an integration, newest first."""
    path = f"/v1/admin/integrations/{part(name)}/batches"
    found = ask(context.obj, lambda client: client.get(path, open=int(open_only), limit=limit))["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("created", "batch", "state", "documents", "tries", "done", "error"),
        [
            (
                short_time(row["created"]),
                row["batch_id"],
                row["state"],
                row["documents"],
                row["attempts"],
                short_time(row["done"]),
                row["error"],
            )
            for row in found
        ],
    )
    if any(row["state"] == "unknown" for row in found):
        say("unknown: it may have arrived; look there, then `deliveries confirm BATCH --arrived` or `--lost`")


@app.command("parked")
@told
def list_groups(context: typer.Context, as_json: Json = False) -> None:
    """Deliveries that cannot go, one line for each root cause."""
    found = ask(context.obj, lambda client: client.get("/v1/admin/deliveries/parked"))["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("integration", "deliveries", "stations", "since", "reason", "goes by itself"),
        [
            (
                row["integration"],
                row["deliveries"],
                row["stations"],
                short_time(row["since"]),
                row["reason"],
                "once the code is known" if row["waits"] else "no",
            )
            for row in found
        ],
    )
    if any(not row["waits"] for row in found):
        say('send all of one cause again: deliveries retry NAME --reason "REASON" [--set PATH=VALUE]')


@app.command("list")
@told
def list_parked(
    context: typer.Context,
    name: Name,
    reason: Annotated[str | None, typer.Option(help="Of this root cause.", show_default=False)] = None,
    limit: Limit = 200,
    as_json: Json = False,
) -> None:
    """Parked deliveries one by one; `--json` with the records that were refused."""
    path = f"/v1/admin/integrations/{part(name)}/parked"
    found = ask(context.obj, lambda client: client.pages(path, limit, reason=reason))
    if as_json:
        output.json(found)
        return
    output.table(
        ("since", "station", "number", "kind", "effect", "doc_id", "reason"),
        [
            (
                short_time(row["since"]),
                row["station"],
                row["number"],
                row["kind"],
                row["effect"],
                row["doc_id"],
                row["reason"],
            )
            for row in found
        ],
    )


@app.command("retry")
@told
def retry(
    context: typer.Context,
    name: Name,
    reason: Annotated[
        str | None, typer.Option(help="Only those that were refused for this reason.", show_default=False)
    ] = None,
    doc_id: Annotated[
        list[str] | None, typer.Option(help="Only of this document; several times.", show_default=False)
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="PATH=VALUE, put into each record, e.g. lines[*].tax=22.", show_default=False
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="A JSON file that replaces the record of one delivery.", show_default=False),
    ] = None,
) -> None:
    """Send parked deliveries again, corrected if need be; records that are not corrected are made anew."""
    body: dict[str, Any] = {"reason": reason, "doc_ids": doc_id or None}
    if values:
        body["set"] = dict(assignment(text) for text in values)
    if record is not None:
        body["record"] = output.object_in(record)
    path = f"/v1/admin/integrations/{part(name)}/retry"
    count = ask(context.obj, lambda client: client.post(path, body))["deliveries"]
    done(f"{count} deliveries of {name} are ready again")


@app.command("history")
@told
def history(
    context: typer.Context,
    doc_id: Annotated[str, typer.Argument(help="The document.", show_default=False)],
    as_json: Json = False,
) -> None:
    """What was tried with a document, oldest first, and what other systems call what it became."""
    path = f"/v1/admin/documents/{part(doc_id)}/deliveries"
    found = ask(context.obj, lambda client: client.get(path))
    if as_json:
        output.json(found)
        return
    output.table(
        ("at", "integration", "effect", "sent", "outcome", "ms", "error"),
        [
            (
                short_time(row["at"]),
                row["integration"],
                row["effect"],
                "yes" if row["sent"] else "no",
                row["outcome"] or "under way",
                row["took_ms"],
                row["error"],
            )
            for row in found["attempts"]
        ],
    )
    for row in found["groups"]:
        say(
            f"in group {row['group_no']} of {row['integration']}: {row['group']} ({row['effect']}), "
            f"{row['documents']} documents, {row['state']}"
        )
    for row in found["written"]:
        say(f"{row['integration']} calls it {row['number'] or row['id']} ({row['effect']}, id {row['id']})")


@app.command("outlook")
@told
def outlook(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """How fast deliveries of an integration get done, and when its backlog is through."""
    found = ask(context.obj, lambda client: client.get(f"/v1/admin/integrations/{part(name)}/outlook"))
    if as_json:
        output.json(found)
        return
    when = f"through at {short_time(found['through'])} UTC" if found["through"] else "nobody can tell when"
    rate = f"{found['left']} are left, {found['per_minute']} a minute get done"
    say(f"{rate}; {when}" if found["left"] else "nothing is left")
    if found["gathering"]:
        say(f"{found['gathering']} wait for the close of their group, or for the time of their schedule")


@app.command("confirm")
@told
def confirm_batch(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="The batch's id.", show_default=False)],
    arrived: Annotated[
        bool | None, typer.Option("--arrived/--lost", help="Whether it is there.", show_default=False)
    ] = None,
) -> None:
    """Say whether a batch has arrived, where nobody can ask the other system."""
    if arrived is None:
        raise BadInput("say whether it has arrived", hint="add --arrived, or --lost to send it again")
    body = {"arrived": arrived}
    count = ask(context.obj, lambda client: client.post(f"/v1/admin/batches/{part(batch)}/confirm", body))[
        "deliveries"
    ]
    done(f"{count} deliveries are {'done' if arrived else 'ready again'}")
