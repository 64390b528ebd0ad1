"""Connectors and ready-made integrations: what there is, what it can, and whether it works with your own system."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from central.cli import output
from central.cli.output import Json, done, told
from central.connectors import CONNECTORS
from central.connectors.base import Connector
from shared.clock import SystemClock
from shared.errors import BadInput

app = typer.Typer(help="The systems that this centre can be connected to.")
solutions = typer.Typer(no_args_is_help=True, help="Ready-made integrations, to copy and adapt.")
TRIAL = "trial"


@app.callback(invoke_without_command=True)
@told
def connectors(context: typer.Context, as_json: Json = False) -> None:
    """List them: what each reads, writes and takes, how it keeps from doubling, what it was tested against."""
    if context.invoked_subcommand is not None:
        return
    known = [_described(name, kind) for name, kind in CONNECTORS.items()]
    if as_json:
        output.json(known)
        return
    output.table(
        ["connector", "title", "reads", "writes", "documents", "repeats", "tested against"],
        [
            [
                one["name"],
                one["title"],
                ", ".join(one["entities"]) or ("" if one["writes"] else "as its settings say"),
                ", ".join(one["targets"]),
                ", ".join(one["kinds"]),
                one["idempotency"] if one["writes"] else "",
                one["tested"],
            ]
            for one in known
        ],
    )


def _described(name: str, kind: type[Connector]) -> dict[str, Any]:
    return {
        "name": name,
        "title": kind.title,
        "entities": {source: about.entity for source, about in kind.sources.items()},
        "targets": {target: list(about.kinds) for target, about in kind.targets.items()},
        "writes": kind.writes,
        "kinds": sorted({one for about in kind.targets.values() for one in about.kinds})
        or (["all"] if kind.targets else []),
        "idempotency": str(kind.idempotency),
        "tested": kind.tested,
    }


@app.command("test")
@told
def try_out(
    name: Annotated[str, typer.Argument(help="The connector.")],
    settings: Annotated[Path, typer.Option(help="TOML file with its settings.")],
    write: Annotated[
        bool, typer.Option("--write", help="Also make a record and take it back; use a test system.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Try a connector against your own system: look, read, and with --write make one record and take it back."""
    from central.conformance.safe import run
    from central.integrations.build import settings_of

    kind = CONNECTORS.get(name)
    if kind is None:
        raise BadInput(f'there is no connector "{name}"', hint=f"known are {', '.join(CONNECTORS)}")
    try:
        given: Mapping[str, Any] = tomllib.loads(settings.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{settings} cannot be read: {error}") from None
    # An integration's own file serves too.
    connector = kind(TRIAL, settings_of(kind, given.get("settings", given), settings.name), SystemClock())
    findings = asyncio.run(run(connector, write=write))
    if as_json:
        output.json(
            [{"what": one.what, "ok": one.ok, "detail": one.detail, "hint": one.hint} for one in findings]
        )
    else:
        rows = [
            [one.what, "yes", one.detail]
            if one.ok
            else [one.what, "NO", f"{one.detail}; {one.hint}".rstrip("; ")]
            for one in findings
        ]
        output.table(["what", "ok", "detail"], rows)
    wrong = [one for one in findings if not one.ok]
    if wrong:
        raise BadInput(f"{wrong[0].what}: {wrong[0].detail}", hint=wrong[0].hint)


@solutions.command("list")
@told
def list_solutions(as_json: Json = False) -> None:
    """What is ready-made."""
    from central.integrations.solutions import all_solutions

    known = all_solutions().values()
    if as_json:
        output.json([{"name": one.name, "definition": one.definition.model_dump()} for one in known])
        return
    output.table(
        ["solution", "connector", "title", "in", "out"],
        [
            [
                one.name,
                one.definition.connector,
                one.definition.title,
                ", ".join(pull.name for pull in one.definition.pull),
                ", ".join(deliver.name for deliver in one.definition.deliver),
            ]
            for one in known
        ],
    )


@solutions.command("copy")
@told
def copy_solution(
    name: Annotated[str, typer.Argument(help="The solution.")],
    to: Annotated[
        Path | None, typer.Option(help="The file to write; here, under its name, when absent.")
    ] = None,
) -> None:
    """Write a solution into a file of your own; its first lines say what to change."""
    from central.integrations.solutions import copy

    done(f"{copy(name, to or Path(f'{name}.toml'))} is written; its first lines say what to change")
