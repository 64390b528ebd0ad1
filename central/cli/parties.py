"""Commands for parties that are unclear, and for reference values in other systems."""

from __future__ import annotations

from typing import Annotated

import typer

from central.cli import output
from central.cli.client import ask
from central.cli.output import Json, Limit, done, say, short_time, told
from shared.errors import BadInput

app = typer.Typer(
    no_args_is_help=True, help="Customers and suppliers that another system may have already, or not."
)

OfSystem = Annotated[str | None, typer.Option("--system", help="Of this system.", show_default=False)]


@app.command("unclear")
@told
def list_unclear(
    context: typer.Context,
    system: OfSystem = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were decided.")] = False,
    limit: Limit = 200,
    as_json: Json = False,
) -> None:
    """Parties without a tax id, with a wrong one, or with one that several records bear."""
    found = ask(
        context.obj,
        lambda client: client.pages("/v1/admin/parties/unclear", limit, system=system, all=int(everything)),
    )
    if as_json:
        output.json(found)
        return
    output.table(
        ("system", "party", "name", "tax id", "since", "decision", "candidates", "why"),
        [
            (
                row["system"],
                row["party"],
                row["name"] or None,
                row["tax_id"] or None,
                short_time(row["since"]),
                row["decision"],
                " ".join(row["candidates"]) or None,
                row["why"],
            )
            for row in found
        ],
    )
    if any(row["decision"] is None for row in found):
        say("decide: parties decide SYSTEM PARTY --use ID, --create or --ignore")


@app.command("decide")
@told
def decide(
    context: typer.Context,
    system: Annotated[str, typer.Argument(help="The integration.", show_default=False)],
    party: Annotated[str, typer.Argument(help="Our code.", show_default=False)],
    use: Annotated[
        str | None, typer.Option(help="It is this record over there.", show_default=False, metavar="ID")
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="It is not there: make it.")] = False,
    ignore: Annotated[bool, typer.Option("--ignore", help="It is not for this system.")] = False,
) -> None:
    """Say what an unclear party is; it is remembered, and holds for all that comes later."""
    if (use is not None) + create + ignore != 1:
        raise BadInput("say one thing", hint="one of --use ID, --create and --ignore")
    decision = "use" if use is not None else "create" if create else "ignore"
    body = {"system": system, "party": party, "decision": decision, "id": use}
    made = ask(context.obj, lambda client: client.post("/v1/admin/parties/decide", body))
    done(f"party {party} in {system}: {decision}{f' {use}' if use is not None else ''}")
    then = {
        "use": "go now",
        "create": "go once it is made, which begins now; `crossref unmatched` says if it cannot",
        "ignore": "are parked: `deliveries parked` shows them",
    }
    if made["deliveries"]:
        say(f"{made['deliveries']} deliveries that need it {then[decision]}")


@app.command("references")
@told
def list_references(
    context: typer.Context,
    system: OfSystem = None,
    target: Annotated[str | None, typer.Option(help="Of this target.", show_default=False)] = None,
    limit: Limit = 200,
    as_json: Json = False,
) -> None:
    """Legal forms, industries, currencies, ... that were looked for in other systems, or made there."""
    found = ask(
        context.obj,
        lambda client: client.get("/v1/admin/references", system=system, target=target, limit=limit),
    )["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("system", "target", "value", "id", "made by us"),
        [
            (row["system"], row["target"], row["value"], row["id"], "yes" if row["made"] else None)
            for row in found
        ],
    )
