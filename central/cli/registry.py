"""Commands for stores and groups."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from central.cli import output
from central.cli.client import ask, part
from central.cli.output import Json, done, told
from shared.errors import BadInput

stores = typer.Typer(no_args_is_help=True, help="Shops: name, time zone, currency, price list.")
groups = typer.Typer(
    no_args_is_help=True, help="Sets of stations that share settings, promotions or a price list."
)

Code = Annotated[str, typer.Argument(help="Its code.", show_default=False)]
Name = Annotated[str | None, typer.Option(help="Its name for people.", show_default=False)]
PriceList = Annotated[str | None, typer.Option(help='Its price list; "" takes it away.', show_default=False)]


@stores.command("list")
@told
def list_stores(context: typer.Context, as_json: Json = False) -> None:
    """All stores."""
    found = ask(context.obj, lambda client: client.get("/v1/admin/stores"))["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("store", "stations", "zone", "currency", "price list", "name"),
        [
            (row["code"], row["stations"], row["zone"], row["currency"], row["price_list"], row["name"])
            for row in found
        ],
    )


@stores.command("add")
@told
def add_store(
    context: typer.Context,
    code: Code,
    zone: Annotated[str, typer.Option(help="IANA time zone, e.g. Asia/Tashkent.")],
    currency: Annotated[str, typer.Option(help="Three letters, e.g. UZS.")],
    name: Name = None,
    price_list: PriceList = None,
) -> None:
    """Make a store."""
    body = {
        "code": code,
        "zone": zone,
        "currency": currency,
        "name": name or code,
        "price_list": price_list or None,
    }
    ask(context.obj, lambda client: client.post("/v1/admin/stores", body))
    done(f"store {code}")


@stores.command("set")
@told
def set_store(
    context: typer.Context,
    code: Code,
    zone: Annotated[str | None, typer.Option(help="IANA time zone.", show_default=False)] = None,
    currency: Annotated[str | None, typer.Option(help="Three letters.", show_default=False)] = None,
    name: Name = None,
    price_list: PriceList = None,
) -> None:
    """Change a store; its stations see a new price list at once."""
    changes = _changes(zone=zone, currency=currency, name=name, price_list=price_list)
    row = ask(context.obj, lambda client: client.patch(f"/v1/admin/stores/{part(code)}", changes))
    done(f"store {code}: {', '.join(f'{name} {row[name]}' for name in changes)}")


@groups.command("list")
@told
def list_groups(context: typer.Context, as_json: Json = False) -> None:
    """All groups."""
    found = ask(context.obj, lambda client: client.get("/v1/admin/groups"))["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("group", "stations", "priority", "price list", "name"),
        [(row["code"], row["stations"], row["priority"], row["price_list"], row["name"]) for row in found],
    )


@groups.command("add")
@told
def add_group(
    context: typer.Context,
    code: Code,
    name: Name = None,
    priority: Annotated[
        int, typer.Option(help="Where two groups of a station differ, the higher one wins.")
    ] = 0,
    price_list: PriceList = None,
) -> None:
    """Make a group."""
    body = {"code": code, "name": name or code, "priority": priority, "price_list": price_list or None}
    ask(context.obj, lambda client: client.post("/v1/admin/groups", body))
    done(f"group {code}")


@groups.command("set")
@told
def set_group(
    context: typer.Context,
    code: Code,
    name: Name = None,
    priority: Annotated[int | None, typer.Option(help="The higher one wins.", show_default=False)] = None,
    price_list: PriceList = None,
) -> None:
    """Change a group; its stations see it at once."""
    changes = _changes(name=name, priority=priority, price_list=price_list)
    row = ask(context.obj, lambda client: client.patch(f"/v1/admin/groups/{part(code)}", changes))
    done(f"group {code}: {', '.join(f'{name} {row[name]}' for name in changes)}")


def _changes(**given: Any) -> dict[str, Any]:
    """What was given; an empty price list is one taken away."""
    changes = {name: value if value != "" else None for name, value in given.items() if value is not None}
    if not changes:
        raise BadInput("nothing to change", hint="name what shall change: `--help` shows the options")
    return changes
