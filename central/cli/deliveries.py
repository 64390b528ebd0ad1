"""Commands for integrations and what they carry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from central.cli import output
from central.cli.client import ask, part
from central.cli.output import Json, Limit, assignment, done, say, short_time, told
from shared.canonical import parse
from shared.documents import RECEIPT_KINDS
from shared.errors import BadInput

integrations = typer.Typer(no_args_is_help=True, help="Connected systems.")
app = typer.Typer(no_args_is_help=True, help="What was delivered to other systems, and what was not.")

Name = Annotated[str, typer.Argument(help="The integration's name.", show_default=False)]


@integrations.command("list")
@told
def list_integrations(context: typer.Context, as_json: Json = False) -> None:
    """Connected systems, and how many deliveries of each are in which state."""
    found = ask(context.obj, lambda client: client.get("/v1/admin/integrations"))["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("name", "connector", "on", "ready", "under way", "done", "parked", "since", "problem"),
        [
            (
                row["name"],
                row["connector"],
                "yes" if row["enabled"] else "no",
                row["deliveries"].get("ready", 0),
                row["deliveries"].get("leased", 0),
                row["deliveries"].get("done", 0),
                row["deliveries"].get("parked", 0),
                short_time(row["from_time"]),
                row["problem"],
            )
            for row in found
        ],
    )


@integrations.command("add")
@told
def add_integration(
    context: typer.Context,
    name: Name,
    connector: Annotated[str, typer.Option(help="Which connector, e.g. drop_folder.")],
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE of the connector's settings.", show_default=False),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="A kind of document that it gets, or `receipts` for all of them.", show_default=False
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Deliver what came in from then on (RFC 3339); default: now.", show_default=False),
    ] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Do not start it yet.")] = False,
) -> None:
    """Connect a system."""
    kinds = [each for one in kind or [] for each in (RECEIPT_KINDS if one == "receipts" else (one,))]
    body = {
        "name": name,
        "connector": connector,
        "settings": dict(_setting(text) for text in setting or []),
        "kinds": list(dict.fromkeys(kinds)),
        "from_time": since,
        "enabled": not disabled,
    }
    row = ask(context.obj, lambda client: client.post("/v1/admin/integrations", body))
    gets = ", ".join(row["kinds"]) or "no documents"
    done(f"integration {name} is {'on' if row['enabled'] else 'off'}; it gets {gets}")


@integrations.command("enable")
@told
def enable(
    context: typer.Context,
    name: Name,
    since: Annotated[
        str | None, typer.Option(help="Also fill in what came in since then (RFC 3339).", show_default=False)
    ] = None,
) -> None:
    """Start delivering; what was applied meanwhile is filled in."""
    path = f"/v1/admin/integrations/{part(name)}/enable"
    row = ask(context.obj, lambda client: client.post(path, {"from_time": since}))
    done(f"integration {name} is on, for documents since {short_time(row['from_time'])} UTC")


@integrations.command("disable")
@told
def disable(context: typer.Context, name: Name) -> None:
    """Stop delivering after the batch under way; nothing is forgotten."""
    ask(context.obj, lambda client: client.post(f"/v1/admin/integrations/{part(name)}/disable"))
    done(f"integration {name} is off")


@integrations.command("run")
@told
def run_now(context: typer.Context, name: Name) -> None:
    """Do it now: end a pause, deliver what is ready, look for files."""
    ask(context.obj, lambda client: client.post(f"/v1/admin/integrations/{part(name)}/run"))
    done(f"integration {name} was told; `deliveries batches {name}` shows what it does")


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


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise BadInput(f'--set "{text}" has no name', hint="write it like --set folder=/srv/erp")
    try:
        return name, parse(value)
    except BadInput:
        return name, value
