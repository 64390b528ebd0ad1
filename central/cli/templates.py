"""The command for templates of lists: made here, no centre is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from central.cli.output import done, told
from shared.errors import Conflict


@told
def templates(
    entity: Annotated[str, typer.Argument(help="Entity of the catalog.", show_default=False)],
    form: Annotated[Literal["csv", "xlsx"], typer.Option("--format", help="How it is written.")] = "csv",
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Where it is put; ENTITY.csv here when absent.", show_default=False),
    ] = None,
) -> None:
    """Make an empty list of an entity to fill in, with its columns."""
    from central.connectors.formats.templates import template

    path = to or Path(f"{entity}.{form}")
    content = template(entity, form)
    try:
        with open(path, "xb") as file:
            file.write(content)
    except FileExistsError:
        raise Conflict(f"{path} is there already", hint="give another name: --to FILE") from None
    done(f"{path} made: fill it in, and drop it into in/ of the drop folder")


def add_to(app: typer.Typer) -> None:
    app.command("templates")(templates)
