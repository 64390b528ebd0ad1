"""Commands for documents that are delivered together: part of `deliveries`."""

from __future__ import annotations

from typing import Annotated

import typer

from central.cli import output
from central.cli.client import ask, part
from central.cli.output import Json, Limit, done, money, say, short_time, told

Number = Annotated[str, typer.Argument(help="The group's number.", show_default=False)]
_PATH = "/v1/admin/deliveries/groups"


@told
def list_groups(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Of this integration alone.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are done too.")] = False,
    limit: Limit = 200,
    as_json: Json = False,
) -> None:
    """Documents that become one record of another system, and what their groups wait for."""
    state = "all" if everything else None
    found = ask(context.obj, lambda client: client.pages(_PATH, limit, integration=name, state=state))
    if as_json:
        output.json(found)
        return
    output.table(
        ("number", "integration", "effect", "group", "documents", "state", "since", "waits for"),
        [
            (
                row["group_no"],
                row["integration"],
                row["effect"],
                row["group"],
                row["documents"],
                row["state"],
                short_time(row["since"]),
                row["waits_for"] or None,
            )
            for row in found
        ],
    )
    if any(row["state"] == "open" and row["closes"] is None for row in found):
        say("a shift that is never closed holds its group: deliveries close-group NUMBER")


@told
def show_group(context: typer.Context, number: Number, limit: Limit = 200, as_json: Json = False) -> None:
    """The documents of a group."""
    path = f"{_PATH}/{part(number)}/documents"
    found = ask(context.obj, lambda client: client.pages(path, limit))
    if as_json:
        output.json(found)
        return
    output.table(
        ("station", "number", "kind", "total", "doc_id"),
        [
            (
                row["station"],
                row["number"],
                row["kind"],
                money(row["total_minor"], row["currency"]),
                row["doc_id"],
            )
            for row in found
        ],
    )


@told
def close_group(context: typer.Context, number: Number) -> None:
    """Close a group now, whatever it waits for; what comes later makes a correction of it."""
    ask(context.obj, lambda client: client.post(f"{_PATH}/{part(number)}/close"))
    done(f"group {number} is closed and will be sent")


@told
def accept_group(context: typer.Context, number: Number) -> None:
    """Say that what the other system has under a parked group's key is this group, so that it is not sent again."""
    ask(context.obj, lambda client: client.post(f"{_PATH}/{part(number)}/accept"))
    done(f"group {number} will be found over there, and is done then")


def add_to(app: typer.Typer) -> None:
    """Put the commands beside those of deliveries."""
    app.command("groups")(list_groups)
    app.command("group")(show_group)
    app.command("close-group")(close_group)
    app.command("accept-group")(accept_group)
