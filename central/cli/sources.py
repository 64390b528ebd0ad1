"""Commands for sources of documents: systems without an agent that hand in what happened."""

from __future__ import annotations

from typing import Annotated

import typer

from central.cli import output
from central.cli.client import ask, part
from central.cli.output import Json, Limit, done, say, short_time, told

app = typer.Typer(no_args_is_help=True, help="Systems without an agent that hand in documents.")

Source = Annotated[str, typer.Argument(help="Its name.", show_default=False)]


@app.command("list")
@told
def list_sources(context: typer.Context, as_json: Json = False) -> None:
    """Sources, their outlets, what is done with duplicates, and how many came."""
    found = ask(context.obj, lambda client: client.get("/v1/admin/sources"))["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("source", "outlet", "documents", "last", "duplicates", "policies"),
        [
            (
                row["source"],
                outlet.get("outlet"),
                outlet.get("documents"),
                short_time(outlet.get("last")),
                row["duplicates"],
                " ".join(f"{kind}:{policy['duplicate']}" for kind, policy in row["policies"].items()) or None,
            )
            for row in found
            for outlet in row["outlets"] or [{}]
        ],
    )


@app.command("add")
@told
def add_source(context: typer.Context, source: Source) -> None:
    """Make a source; then `keys add NAME --role documents --source ... --outlet ...` for each of its outlets."""
    ask(context.obj, lambda client: client.post("/v1/admin/sources", {"source": source}))
    done(f"source {source}; it refuses duplicates by its own id, unless `sources policy` says otherwise")


@app.command("policy")
@told
def set_policy(
    context: typer.Context,
    source: Source,
    kind: Annotated[str, typer.Option(help="E.g. order.")],
    duplicate: Annotated[str, typer.Option(help="error, update, skip or off.")],
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="What counts: number, business_date, outlet, source_id, or a field of the payload such as "
            "party.tax_id; several times. The source's own id when absent.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say what is done with duplicates of a kind, from the next document on."""
    body = {"kind": kind, "duplicate": duplicate, "key": key or []}
    ask(context.obj, lambda client: client.post(f"/v1/admin/sources/{part(source)}/policies", body))
    done(f"{kind} of {source}: {duplicate}{', by ' + ' and '.join(key) if key else ''}")


@app.command("duplicates")
@told
def list_duplicates(context: typer.Context, source: Source, limit: Limit = 50, as_json: Json = False) -> None:
    """Documents that came again and were refused or skipped, the last ones first."""
    path = f"/v1/admin/sources/{part(source)}/duplicates"
    found = ask(context.obj, lambda client: client.get(path, limit=limit))["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("last", "kind", "key", "number", "repeats", "doc_id"),
        [
            (
                short_time(row["last"]),
                row["kind"],
                row["key"],
                row["number"],
                row["repeats"],
                row["doc_id"],
            )
            for row in found
        ],
    )
    if len(found) == limit:
        say(f"there may be more; --limit shows more than {limit}")
