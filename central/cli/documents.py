"""Commands for documents."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from central.cli import output
from central.cli.client import ask, part
from central.cli.output import Json, Limit, Station, money, say, short_time, told

app = typer.Typer(no_args_is_help=True, help="What the tills sent.")


@app.command("list")
@told
def list_documents(
    context: typer.Context,
    station: Station = None,
    store: Annotated[str | None, typer.Option(help="Of this store's stations.", show_default=False)] = None,
    kind: Annotated[str | None, typer.Option(help="E.g. sale, return.", show_default=False)] = None,
    date: Annotated[str | None, typer.Option(help="Business date, 2026-11-21.", show_default=False)] = None,
    number: Annotated[str | None, typer.Option(help="The number for people.", show_default=False)] = None,
    state: Annotated[
        str | None,
        typer.Option(help="applied, pending, waiting, parked, held or discarded.", show_default=False),
    ] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Documents, newest first."""
    found = ask(
        context.obj,
        lambda client: client.pages(
            "/v1/admin/documents",
            limit,
            station=station,
            store=store,
            kind=kind,
            date=date,
            number=number,
            state=state,
        ),
    )
    if as_json:
        output.json(found)
        return
    output.table(
        ("received", "station", "number", "kind", "date", "total", "state", "doc_id"),
        [
            (
                short_time(row["received"]),
                row["station"],
                row["number"],
                row["kind"],
                row["business_date"],
                _total(row),
                row["state"] if not row["why"] else f"{row['state']}: {row['why']}",
                row["doc_id"],
            )
            for row in found
        ],
    )
    if len(found) == limit:
        say(f"there may be more; --limit shows more than {limit}")


@app.command("show")
@told
def show_document(
    context: typer.Context,
    document: Annotated[str, typer.Argument(help="doc_id, number at the centre, or printed reference.")],
    as_json: Json = False,
) -> None:
    """One document: what was sealed, what became of it, where it was delivered."""
    row = ask(context.obj, lambda client: client.get(f"/v1/admin/documents/{part(document)}"))
    if as_json:
        output.json(row)
        return
    header = row["header"] or {}
    output.fields(
        (
            ("doc_id", row["doc_id"]),
            ("kind", row["kind"]),
            ("number", row["number"]),
            ("station", f"{row['station']} in store {row['store']}"),
            ("business date", row["business_date"]),
            ("device time", header.get("time")),
            ("received", short_time(row["received"])),
            ("state", row["state"]),
            ("why", row["detail"] or row["why"]),
            ("attempts", row["attempts"]),
            ("waits for", row["waits_for"]),
            ("corrects", ", ".join(header.get("refs", []))),
            ("total", _total(row)),
            *((name.replace("_", " "), value) for name, value in (row["paper"] or {}).items()),
            ("based on", ", ".join(link["doc_id"] or link["number"] for link in row["based_on"])),
            ("repaired by", row["repaired_by"]),
            ("reference", ", ".join(place["reference"] for place in row["positions"])),
        )
    )
    currency = row["currency"]
    if row["lines"]:
        typer.echo()
        output.table(
            ("n", "product", "quantity", "price", "discount", "amount"),
            [
                (
                    line["n"],
                    line["product"],
                    _quantity(line["quantity_micro"]),
                    money(line["price_minor"], currency),
                    money(line["discount_minor"], currency),
                    money(line["amount_minor"], currency),
                )
                for line in row["lines"]
            ],
        )
    if row["units"]:
        typer.echo()
        output.table(
            ("line", "what", "code", "quantity", "expires"),
            [
                (
                    unit["line"],
                    unit["what"],
                    unit["code"],
                    _quantity(unit["quantity_micro"]) if "quantity_micro" in unit else None,
                    unit.get("expires"),
                )
                for unit in row["units"]
            ],
        )
    if row["payments"]:
        typer.echo()
        output.table(
            ("n", "payment", "amount"),
            [(paid["n"], paid["type"], money(paid["amount_minor"], currency)) for paid in row["payments"]],
        )
    if row["deliveries"]:
        typer.echo()
        output.table(
            ("delivered to", "effect", "state", "batch"),
            [(to["integration"], to["effect"], to["state"], to["batch"]) for to in row["deliveries"]],
        )
    if row["history"]:
        typer.echo()
        output.table(
            ("when", "what happened"), [(short_time(event["at"]), event["what"]) for event in row["history"]]
        )


def _total(row: dict[str, Any]) -> str | None:
    total = money(row["total_minor"], row["currency"])
    return f"{total} {row['currency']}" if total is not None and row["currency"] else total


def _quantity(micro: int) -> str:
    from shared.quantity import from_micro

    return from_micro(micro)
