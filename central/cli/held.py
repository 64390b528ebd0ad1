"""Commands for documents that are held: what they are, and HQ's decision about them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from central.cli import output
from central.cli.client import ask
from central.cli.output import Json, Limit, Station, done, say, short_time, told
from shared.errors import BadInput

app = typer.Typer(no_args_is_help=True, help="Documents that are kept until HQ decides.")

Numbers = Annotated[
    list[str] | None, typer.Argument(help="Their numbers, as `held list` shows them.", show_default=False)
]
Why = Annotated[
    str | None, typer.Option(help="All that are held for this: conflict or damaged.", show_default=False)
]
Reason = Annotated[str, typer.Option(help="Why, for the audit trail.")]


@app.command("list")
@told
def list_held(
    context: typer.Context,
    station: Station = None,
    why: Annotated[
        str | None, typer.Option(help="quarantine, retired-key, conflict or damaged.", show_default=False)
    ] = None,
    limit: Limit = 200,
    as_json: Json = False,
) -> None:
    """Documents that are kept, but not applied until HQ decides."""
    found = ask(context.obj, lambda client: client.pages("/v1/admin/held", limit, station=station, why=why))
    if as_json:
        output.json(found)
        return
    output.table(
        ("no", "since", "station", "why", "number", "kind", "doc_id"),
        [
            (
                row["doc_no"],
                short_time(row["since"]),
                row["station"],
                row["why"],
                row["number"],
                row["kind"],
                row["doc_id"],
            )
            for row in found
        ],
    )
    if any(row["why"] in ("conflict", "damaged") for row in found):
        say("decide: held apply NO or held discard NO, with --reason TEXT; many at once with --why")
    stations = sorted({row["station"] for row in found if row["why"] in ("quarantine", "retired-key")})
    if stations:
        say(f"what quarantine and retired-key hold is applied by: stations release {stations[0]}")
    if any(row["why"] == "conflict" for row in found):
        say(
            "conflict: another document has the same doc_id; compare `documents show NO` with `documents show DOC_ID`"
        )


@app.command("apply")
@told
def apply(
    context: typer.Context,
    numbers: Numbers = None,
    *,
    reason: Reason,
    why: Why = None,
    station: Station = None,
    header: Annotated[
        Path | None, typer.Option(help="A JSON file: the right header of one damaged document.")
    ] = None,
    payload: Annotated[
        Path | None, typer.Option(help="A JSON file: the right payload of one document.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Let held documents happen, each as a document of its own; a conflict gets a new doc_id."""
    content = {
        name: output.object_in(path)
        for name, path in (("header", header), ("payload", payload))
        if path is not None
    }
    body = {"decision": "apply", "reason": reason, **_chosen(numbers, why, station), **content}
    answer = ask(context.obj, lambda client: client.post("/v1/admin/held/decide", body))
    _tell(answer, f"{len(answer['applied'])} documents are applied next", as_json)


@app.command("discard")
@told
def discard(
    context: typer.Context,
    numbers: Numbers = None,
    *,
    reason: Reason,
    why: Why = None,
    station: Station = None,
    as_json: Json = False,
) -> None:
    """Decide that held documents have no effect; they are kept, and `documents show` still finds them."""
    body = {"decision": "discard", "reason": reason, **_chosen(numbers, why, station)}
    answer = ask(context.obj, lambda client: client.post("/v1/admin/held/decide", body))
    _tell(answer, f"{len(answer['discarded'])} documents are discarded", as_json)


def _chosen(numbers: list[str] | None, why: str | None, station: str | None) -> dict[str, Any]:
    if bool(numbers) == (why is not None):
        raise BadInput(
            "say which documents", hint="their numbers (see `held list`), or --why conflict|damaged"
        )
    if not numbers:
        return {"why": why, "station": station}
    wrong = [text for text in numbers if not (text.isascii() and text.isdigit())]
    if wrong:
        raise BadInput(
            f'"{wrong[0]}" is not a document\'s number',
            hint="`held list` shows them under NO; a doc_id may be shared",
        )
    return {"doc_nos": [int(text) for text in numbers]}


def _tell(answer: dict[str, Any], what: str, as_json: bool) -> None:
    if as_json:
        output.json(answer)
    done(what)
    for one in answer["refused"]:
        say(f"  {one['doc_no']} stays held: {one['why']}")
    if answer["refused"]:
        raise typer.Exit(1)
