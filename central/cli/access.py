"""Commands for API keys and consumers of the feed."""

from __future__ import annotations

from typing import Annotated

import typer

from central.cli import output
from central.cli.client import ask, part
from central.cli.output import Json, done, say, short_time, told

keys = typer.Typer(no_args_is_help=True, help="API keys.")
consumers = typer.Typer(no_args_is_help=True, help="Programs that fetch the catalog without an agent.")

Name = Annotated[str, typer.Argument(help="Its name.", show_default=False)]


@keys.command("list")
@told
def list_keys(context: typer.Context, as_json: Json = False) -> None:
    """API keys; the keys themselves are never shown again."""
    found = ask(context.obj, lambda client: client.get("/v1/admin/keys"))["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("name", "role", "for", "created", "revoked"),
        [
            (
                row["name"],
                row["role"],
                row["consumer"] or (f"{row['source']}@{row['outlet']}" if row["source"] else None),
                short_time(row["created"]),
                short_time(row["revoked"]),
            )
            for row in found
        ],
    )


@keys.command("add")
@told
def add_key(
    context: typer.Context,
    name: Name,
    role: Annotated[str, typer.Option(help="read, admin, feed or documents.")] = "read",
    consumer: Annotated[
        str | None, typer.Option(help="For feed: whose key it is.", show_default=False)
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="For documents: whose documents it hands in.", show_default=False)
    ] = None,
    outlet: Annotated[
        str | None, typer.Option(help="For documents: the store that they are of.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw an API key and print it, once."""
    body = {"name": name, "role": role, "consumer": consumer, "source": source, "outlet": outlet}
    made = ask(context.obj, lambda client: client.post("/v1/admin/keys", body))
    if as_json:
        output.json(made)
    else:
        typer.echo(made["key"])
    done(f"key {name} of role {role}; it is shown this once")


@keys.command("revoke")
@told
def revoke_key(context: typer.Context, name: Name) -> None:
    """Close the door for a key, at once."""
    ask(context.obj, lambda client: client.post(f"/v1/admin/keys/{part(name)}/revoke"))
    done(f"key {name} opens nothing any more")


@consumers.command("list")
@told
def list_consumers(context: typer.Context, as_json: Json = False) -> None:
    """Consumers of the feed, and what each has confirmed or rejected."""
    found = ask(context.obj, lambda client: client.get("/v1/admin/consumers"))["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("consumer", "store", "groups", "entity", "confirmed", "rejected"),
        [
            (
                row["name"],
                row["store"],
                " ".join(row["groups"]) or None,
                entity.get("entity"),
                short_time(entity.get("confirmed")),
                len(entity.get("rejected", [])),
            )
            for row in found
            for entity in row["entities"] or [{}]
        ],
    )
    for row in found:
        for entity in row["entities"]:
            for rejected in entity["rejected"][:10]:
                say(
                    f"  {row['name']} rejected {entity['entity']} {rejected.get('key')}: {rejected.get('reason')}"
                )


@consumers.command("add")
@told
def add_consumer(
    context: typer.Context,
    name: Name,
    store: Annotated[str, typer.Option(help="It sees what a station of this store sees.")],
    group: Annotated[list[str] | None, typer.Option(help="And of this group; several times.")] = None,
    as_json: Json = False,
) -> None:
    """Make a consumer and print its key, once."""
    body = {"name": name, "store": store, "groups": group or []}
    made = ask(context.obj, lambda client: client.post("/v1/admin/consumers", body))
    if as_json:
        output.json(made)
    else:
        typer.echo(made["key"])
    done(f"consumer {name}; its key is shown this once")
