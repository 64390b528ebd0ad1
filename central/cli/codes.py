"""Commands for enrolment codes: what an installer types at the till."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from central.cli import output
from central.cli.client import ask, part
from central.cli.output import Json, done, short_time, told

app = typer.Typer(no_args_is_help=True, help="Enrolment codes.")

Days = Annotated[int, typer.Option("--days", help="How long the code may be used.")]


@app.command("add")
@told
def add_code(
    context: typer.Context,
    station: Annotated[str | None, typer.Option(help="For this station.", show_default=False)] = None,
    group: Annotated[
        str | None, typer.Option(help="For new stations of this group.", show_default=False)
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="With --group: where they stand.", show_default=False)
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="The station's machine was replaced: the old one's key is retired."),
    ] = False,
    uses: Annotated[int, typer.Option(help="With --group: how many stations may use it.")] = 1,
    days: Days = 14,
    as_json: Json = False,
) -> None:
    """Print an enrolment code: for one station, or for a group whose stations HQ then approves."""
    body = {
        "station": station,
        "group": group,
        "store": store,
        "replace": replace,
        "uses": uses,
        "code_days": days,
    }
    made = ask(context.obj, lambda client: client.post("/v1/admin/codes", body))
    print_code(made, f"station {station}" if station else f"group {group}, {uses} uses", as_json)


@app.command("list")
@told
def list_codes(context: typer.Context, as_json: Json = False) -> None:
    """Codes that may still be used; the codes themselves are never shown again."""
    found = ask(context.obj, lambda client: client.get("/v1/admin/codes"))["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("id", "station", "group", "store", "replace", "uses left", "created", "expires"),
        [
            (
                row["id"],
                row["station"],
                row["group"],
                row["store"],
                "yes" if row["replace"] else None,
                row["uses_left"],
                short_time(row["created"]),
                short_time(row["expires"]),
            )
            for row in found
        ],
    )


@app.command("cancel")
@told
def cancel_code(
    context: typer.Context,
    code_id: Annotated[
        str, typer.Argument(metavar="ID", help="As `codes list` shows it.", show_default=False)
    ],
) -> None:
    """Let nobody use a code any more."""
    ask(context.obj, lambda client: client.post(f"/v1/admin/codes/{part(code_id)}/cancel"))
    done(f"code {code_id} opens nothing any more")


def print_code(made: dict[str, Any], what: str, as_json: bool) -> None:
    """The code on stdout, what it is for on stderr."""
    if as_json:
        output.json(made)
    else:
        typer.echo(made["enrolment_code"])
    done(f"{what}; the code may be used until {short_time(made['expires'])} UTC")
