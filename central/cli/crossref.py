"""Commands for the cross-reference: what each system calls our items, warehouses, parties and organisations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from central.cli import output
from central.cli.client import ask
from central.cli.output import Json, Limit, done, say, short_time, told
from shared.errors import BadInput

app = typer.Typer(no_args_is_help=True, help="Our codes and those of every other system.")

OfKind = Annotated[str | None, typer.Option("--kind", help="item, warehouse, party, ...", show_default=False)]
OfSystem = Annotated[str | None, typer.Option("--system", help="Of this system.", show_default=False)]
Kind = Annotated[str, typer.Argument(help="item, warehouse, party, organisation, ...", show_default=False)]


@app.command("list")
@told
def list_codes(
    context: typer.Context,
    kind: OfKind = None,
    system: OfSystem = None,
    ours: Annotated[str | None, typer.Option(help="Of this code of ours.", show_default=False)] = None,
    theirs: Annotated[str | None, typer.Option(help="Of this code of theirs.", show_default=False)] = None,
    limit: Limit = 200,
    as_json: Json = False,
) -> None:
    """Codes with their counterparts."""
    found = ask(
        context.obj,
        lambda client: client.pages(
            "/v1/admin/crossref", limit, kind=kind, system=system, ours=ours, theirs=theirs
        ),
    )
    if as_json:
        output.json(found)
        return
    output.table(
        ("kind", "ours", "system", "outlet", "theirs", "sent", "by"),
        [
            (
                row["kind"],
                row["ours"],
                row["system"],
                row["outlet"] or None,
                row["theirs"],
                "chosen" if row["main"] else None,
                row["by"],
            )
            for row in found
        ],
    )


@app.command("unmatched")
@told
def list_unmatched(
    context: typer.Context,
    kind: OfKind = None,
    system: OfSystem = None,
    limit: Limit = 200,
    as_json: Json = False,
) -> None:
    """Codes that were looked up in vain."""
    found = ask(
        context.obj,
        lambda client: client.pages("/v1/admin/crossref/unmatched", limit, kind=kind, system=system),
    )
    if as_json:
        output.json(found)
        return
    output.table(
        ("kind", "system", "outlet", "ours", "theirs", "seen", "since", "searched in vain"),
        [
            (
                row["kind"],
                row["system"],
                row["outlet"] or None,
                row["ours"],
                row["theirs"],
                row["seen"],
                short_time(row["since"]),
                row["why"],
            )
            for row in found
        ],
    )
    if found:
        say("say what is what: crossref set KIND OURS SYSTEM THEIRS; what waits for it goes at once")


@app.command("search")
@told
def search_now(context: typer.Context, system: OfSystem = None) -> None:
    """Search now for what deliveries wait for, as the [[match]] of its system says, without waiting until it is due."""
    ask(context.obj, lambda client: client.post("/v1/admin/crossref/search", {"system": system}))
    done(f"the search in {system or 'all systems'} begins; `crossref unmatched` shows what is left")


@app.command("doubled")
@told
def list_doubled(
    context: typer.Context,
    kind: OfKind = None,
    system: OfSystem = None,
    limit: Limit = 200,
    as_json: Json = False,
) -> None:
    """Codes with several counterparts, of which nobody has chosen one."""
    found = ask(
        context.obj,
        lambda client: client.get("/v1/admin/crossref/doubled", kind=kind, system=system, limit=limit),
    )["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("kind", "system", "outlet", "ours", "theirs"),
        [
            (
                row["kind"],
                row["system"],
                row["outlet"] or None,
                " | ".join(row["ours"]),
                " | ".join(row["theirs"]),
            )
            for row in found
        ],
    )
    if found:
        say(
            "several of theirs: choose one with `crossref set`; several of ours: the same, or `crossref merge`"
        )


@app.command("set")
@told
def set_code(
    context: typer.Context,
    kind: Kind,
    ours: Annotated[str, typer.Argument(help="Our code.", show_default=False)],
    system: Annotated[str, typer.Argument(help="The integration.", show_default=False)],
    theirs: Annotated[str, typer.Argument(help="Its code over there.", show_default=False)],
    outlet: Annotated[str, typer.Option(help="Of a local code: the outlet that it belongs to.")] = "",
) -> None:
    """Say what a system calls one of ours; it is sent from now on, others are still understood."""
    body = {"kind": kind, "ours": ours, "system": system, "theirs": theirs, "outlet": outlet}
    made = ask(context.obj, lambda client: client.post("/v1/admin/crossref", body))
    done(f"{kind} {made['ours']} is {theirs} in {system}{f' at {outlet}' if outlet else ''}")


@app.command("merge")
@told
def merge(
    context: typer.Context,
    kind: Kind,
    gone: Annotated[str, typer.Argument(help="Our code that is no more.", show_default=False)],
    into: Annotated[str, typer.Argument(help="Our code that stays.", show_default=False)],
) -> None:
    """Say that two codes of ours are one; all codes of the first become the second's, for good."""
    body = {"kind": kind, "gone": gone, "into": into}
    made = ask(context.obj, lambda client: client.post("/v1/admin/crossref/merge", body))
    done(f"{kind} {gone} is {made['survivor']}; {made['moved']} codes moved")


@app.command("import")
@told
def import_codes(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(help="CSV: kind,ours,system,theirs and, for local codes, outlet.", show_default=False),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the list.")] = False,
) -> None:
    """Set all codes of a list: all of them, or none if a line is wrong."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}") from None
    made = ask(
        context.obj,
        lambda client: client.request(
            "POST",
            "/v1/admin/crossref/import",
            query={"dry_run": int(dry_run)},
            body=data,
            media="text/csv",
            timeout_s=300,
        ),
    )
    done(
        f"the list is right: {made['codes']} codes; nothing was changed"
        if dry_run
        else f"{made['codes']} codes"
    )
