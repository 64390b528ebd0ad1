"""`counterflow-central`: what HQ types.

`init`, `migrate`, `run`, `backup`, `after-restore` and `config` work on this machine's database; everything else asks
the admin API of a centre, here or elsewhere. Data goes to stdout, talk to stderr; exit codes: 0 done, 1 refused or
not as it should be, 2 wrong usage, 69 not reachable, 75 in use, 78 wrong settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from central.cli import (
    access,
    codes,
    connectors,
    crossref,
    deliveries,
    documents,
    groups,
    held,
    integrations,
    local,
    oversight,
    parties,
    registry,
    sources,
    stations,
    stuck,
    templates,
)
from central.cli.client import Connection, config_file
from shared import PROTOCOL_VERSION, __version__

app = typer.Typer(
    name="counterflow-central",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
local.add_to(app)
oversight.add_to(app)
templates.add_to(app)
groups.add_to(deliveries.app)
for name, group in (
    ("stores", registry.stores),
    ("groups", registry.groups),
    ("stations", stations.app),
    ("codes", codes.app),
    ("crossref", crossref.app),
    ("parties", parties.app),
    ("documents", documents.app),
    ("waiting", stuck.waiting),
    ("parked", stuck.parked),
    ("held", held.app),
    ("integrations", integrations.app),
    ("connectors", connectors.app),
    ("solutions", connectors.solutions),
    ("deliveries", deliveries.app),
    ("keys", access.keys),
    ("consumers", access.consumers),
    ("sources", sources.app),
):
    app.add_typer(group, name=name)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"counterflow-central {__version__}, protocol {PROTOCOL_VERSION}")
        raise typer.Exit


@app.callback()
def start(
    context: typer.Context,
    url: Annotated[
        str | None, typer.Option(envvar="COUNTERFLOW_URL", help="The centre's address.", show_default=False)
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="COUNTERFLOW_KEY", help="An API key.", show_default=False)
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            envvar="COUNTERFLOW_CA", help="PEM file of the authority that signed the centre's certificate."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings of a centre on this machine (TOML), for run, init, backup ..."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Counterflow at HQ: stores, stations and their documents. `connect` remembers address and key."""
    context.obj = Connection(url=url, key=key, ca=ca, saved_in=config_file(), central_config=config)


def main() -> None:
    """The console script."""
    app()
