"""Commands for integrations: what is connected, in which version, and what its pulls do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from central.cli import output
from central.cli.client import LONG_TIMEOUT_S, ask, part
from central.cli.output import Json, done, say, short_time, told
from shared.canonical import canonical
from shared.documents import RECEIPT_KINDS
from shared.errors import BadInput

app = typer.Typer(no_args_is_help=True, help="Connected systems.")

Name = Annotated[str, typer.Argument(help="The integration's name.", show_default=False)]
File = Annotated[Path, typer.Argument(help="A TOML file; - reads it from the input.", show_default=False)]
ROWS_SHOWN = 20


@app.command("list")
@told
def list_integrations(context: typer.Context, as_json: Json = False) -> None:
    """Connected systems, and how many deliveries of each are in which state."""
    found = ask(context.obj, lambda client: client.get("/v1/admin/integrations"))["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        ("name", "connector", "on", "gathering", "ready", "under way", "done", "parked", "since", "problem"),
        [
            (
                row["name"],
                row["connector"],
                "yes" if row["enabled"] else "no",
                row["deliveries"].get("gathering", 0) + row["deliveries"].get("grouped", 0),
                row["deliveries"].get("ready", 0),
                row["deliveries"].get("leased", 0),
                row["deliveries"].get("done", 0),
                row["deliveries"].get("parked", 0),
                short_time(row["from_time"]),
                row["problem"],
            )
            for row in found
        ],
    )


@app.command("add")
@told
def add_integration(
    context: typer.Context,
    name: Name,
    connector: Annotated[str, typer.Option(help="Which connector, e.g. drop_folder.")],
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE of the connector's settings.", show_default=False),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="A kind of document that it gets, or `receipts` for all of them.", show_default=False
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Deliver what came in from then on (RFC 3339); default: now.", show_default=False),
    ] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Do not start it yet.")] = False,
) -> None:
    """Connect a system."""
    kinds = [each for one in kind or [] for each in (RECEIPT_KINDS if one == "receipts" else (one,))]
    body = {
        "name": name,
        "connector": connector,
        "settings": dict(output.assignment(text) for text in setting or []),
        "kinds": list(dict.fromkeys(kinds)),
        "from_time": since,
        "enabled": not disabled,
    }
    row = ask(context.obj, lambda client: client.post("/v1/admin/integrations", body))
    gets = ", ".join(row["kinds"]) or "no documents"
    done(f"integration {name} is {'on' if row['enabled'] else 'off'}; it gets {gets}")


@app.command("enable")
@told
def enable(
    context: typer.Context,
    name: Name,
    since: Annotated[
        str | None, typer.Option(help="Also fill in what came in since then (RFC 3339).", show_default=False)
    ] = None,
) -> None:
    """Start delivering; what was applied meanwhile is filled in."""
    path = f"/v1/admin/integrations/{part(name)}/enable"
    row = ask(context.obj, lambda client: client.post(path, {"from_time": since}))
    done(f"integration {name} is on, for documents since {short_time(row['from_time'])} UTC")


@app.command("disable")
@told
def disable(context: typer.Context, name: Name) -> None:
    """Stop delivering after the batch under way; nothing is forgotten."""
    ask(context.obj, lambda client: client.post(f"/v1/admin/integrations/{part(name)}/disable"))
    done(f"integration {name} is off")


@app.command("run")
@told
def run_now(
    context: typer.Context,
    name: Name,
    pull: Annotated[str | None, typer.Option(help="Only this pull.", show_default=False)] = None,
    full: Annotated[bool, typer.Option("--full", help="Compare all instead of going on.")] = False,
) -> None:
    """Do it now: end a pause, deliver what is ready, look for files, and pull."""
    path = f"/v1/admin/integrations/{part(name)}"
    row = ask(context.obj, lambda client: client.post(f"{path}/run"))
    pulls: list[str] = []
    if pull is not None or full or row["pulls"]:
        body = {"pull": pull, "full": full}
        pulls = ask(context.obj, lambda client: client.post(f"{path}/pull", body))["pulls"]
    done(f"integration {name} was told" + (f"; it pulls {', '.join(pulls)}" if pulls else ""))


@app.command("show")
@told
def show(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """An integration: what the last check found, and where its pulls stand."""
    found = ask(context.obj, lambda client: client.get(f"/v1/admin/integrations/{part(name)}"))
    if as_json:
        output.json(found)
        return
    definition = found["definition"]
    output.fields(
        [
            ("name", found["name"]),
            ("connector", definition["connector"]),
            ("version", found["version"]),
            ("on", "yes" if found["enabled"] else "no"),
            ("delivers", ", ".join(one["name"] for one in definition.get("deliver", []))),
            ("checked", short_time(found["checked"])),
        ]
    )
    _findings(found["findings"])
    if found["pulls"]:
        output.table(
            ("pull", "becomes", "on", "last", "full", "next", "problem"),
            [
                (
                    row["pull"],
                    row["becomes"],
                    "yes" if row["enabled"] else "no",
                    short_time(row["last"]),
                    short_time(row["full"]),
                    short_time(row["next"]),
                    row["problem"],
                )
                for row in found["pulls"]
            ],
        )


@app.command("apply")
@told
def apply(
    context: typer.Context,
    file: File,
    note: Annotated[str, typer.Option(help="Why; stands in the history.")] = "",
    since: Annotated[
        str | None,
        typer.Option(help="A new one delivers what came in from then on; default: now.", show_default=False),
    ] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Do not start a new one yet.")] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Effects may go though some deliveries are not done.")
    ] = False,
) -> None:
    """State an integration by its TOML file: a new one, or a new version that holds at once."""
    body = {
        "toml": _text(file),
        "note": note,
        "from_time": since,
        "enabled": not disabled,
        "abandon": abandon,
    }
    row = ask(
        context.obj, lambda client: client.request("PUT", "/v1/admin/integrations", body=canonical(body))
    )
    if row["differences"]:
        _differences(row["differences"])
    done(f"integration {row['name']}: {row['result']}, version {row['version']}")


@app.command("export")
@told
def export(
    context: typer.Context,
    name: Name,
    version: Annotated[
        int | None, typer.Option(help="Default: the one that holds.", show_default=False)
    ] = None,
) -> None:
    """Print an integration as a TOML file; secrets stand as ***, which `apply` leaves as they are."""
    path = f"/v1/admin/integrations/{part(name)}/toml"
    found = ask(context.obj, lambda client: client.get(path, version=version))
    typer.echo(found["toml"], nl=False)


@app.command("diff")
@told
def difference(
    context: typer.Context,
    name: Name,
    old: Annotated[int | None, typer.Option(help="Default: the one that holds.", show_default=False)] = None,
    new: Annotated[int | None, typer.Option(help="Default: the one that holds.", show_default=False)] = None,
    file: Annotated[
        Path | None, typer.Option(help="A TOML file in place of NEW.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """What differs between two versions, or from a file."""
    body = {"old": old, "new": new, "toml": _text(file) if file else None}
    path = f"/v1/admin/integrations/{part(name)}/difference"
    found = ask(context.obj, lambda client: client.post(path, body))["items"]
    if as_json:
        output.json(found)
    else:
        _differences(found)


@app.command("versions")
@told
def list_versions(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Who stated what and when, newest first."""
    found = ask(context.obj, lambda client: client.get(f"/v1/admin/integrations/{part(name)}/versions"))[
        "items"
    ]
    if as_json:
        output.json(found)
        return
    output.table(
        ("version", "at", "by", "note"),
        [(row["version"], short_time(row["at"]), row["by"], row["note"]) for row in found],
    )


@app.command("back")
@told
def back(
    context: typer.Context,
    name: Name,
    to: Annotated[int | None, typer.Option(help="Default: the version before.", show_default=False)] = None,
) -> None:
    """Hold again what an earlier version said."""
    path = f"/v1/admin/integrations/{part(name)}/back"
    row = ask(context.obj, lambda client: client.post(path, {"version": to}))
    _differences(row["differences"])
    done(f"integration {name}: {row['result']}, version {row['version']}")


@app.command("check")
@told
def check(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Look now: reached, signed in, which rights, does the definition still fit? Ends with 1 unless all is well."""
    path = f"/v1/admin/integrations/{part(name)}/check"
    found = ask(context.obj, lambda client: client.post(path))["items"]
    if as_json:
        output.json(found)
    else:
        _findings(found)
    if not all(row["ok"] for row in found):
        raise typer.Exit(1)


@app.command("dry-run")
@told
def dry_run(
    context: typer.Context,
    name: Name,
    pull: Annotated[str, typer.Argument(help="The pull's name.", show_default=False)],
    file: Annotated[
        Path | None, typer.Option(help="As this TOML file would have it.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Read all of a pull's source, write nothing, and tell what would become of it."""
    body = {"pull": pull, "toml": _text(file) if file else None}
    path = f"/v1/admin/integrations/{part(name)}/dry-run"
    found = ask(
        context.obj,
        lambda client: client.request("POST", path, body=canonical(body), timeout_s=LONG_TIMEOUT_S),
    )
    if as_json:
        output.json(found)
        return
    counts = ("records", "new", "updated", "unchanged", "unclear", "absent", "filtered", "without_code")
    output.fields([(count.replace("_", " "), found[count]) for count in counts])
    for what in ("new", "updated", "absent"):
        named = found["listed"][what]
        if named:
            more = f" and {found[what] - ROWS_SHOWN} more" if found[what] > ROWS_SHOWN else ""
            say(f"{what}: {', '.join(named[:ROWS_SHOWN])}{more}")
    _errors(found["errors"])


@app.command("runs")
@told
def list_runs(
    context: typer.Context,
    name: Name,
    pull: Annotated[str | None, typer.Option(help="Only this pull.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=200)] = 20,
    errors: Annotated[
        bool, typer.Option("--errors", help="Also what was rejected in the newest run.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Runs of its pulls, newest first."""
    path = f"/v1/admin/integrations/{part(name)}/runs"
    found = ask(context.obj, lambda client: client.get(path, pull=pull, limit=limit))["items"]
    if as_json:
        output.json(found)
        return
    output.table(
        (
            "run",
            "pull",
            "started",
            "why",
            "full",
            "result",
            "records",
            "changed",
            "absent",
            "rejected",
            "what",
        ),
        [
            (
                row["run"],
                row["pull"],
                short_time(row["started"]),
                row["why"],
                "yes" if row["full"] else "no",
                row["result"] or "under way",
                *((row["report"] or {}).get(count) for count in ("records", "changed", "absent", "rejected")),
                (row["report"] or {}).get("what"),
            )
            for row in found
        ],
    )
    if errors and found:
        _errors((found[0]["report"] or {}).get("errors", []))


@app.command("undo")
@told
def undo(
    context: typer.Context,
    name: Name,
    run: Annotated[
        int | None, typer.Option(help="Bring the catalog back to before this run.", show_default=False)
    ] = None,
    created_since: Annotated[
        str | None,
        typer.Option(help="Take back what was made over there since then (RFC 3339).", show_default=False),
    ] = None,
) -> None:
    """Take back a load; the integration is switched off first."""
    path = f"/v1/admin/integrations/{part(name)}"
    if (run is None) == (created_since is None):
        raise BadInput("say what to take back", hint="--run NUMBER, or --created-since TIME")
    if run is not None:
        found = ask(context.obj, lambda client: client.post(f"{path}/runs/{run}/undo"))
    else:
        found = ask(context.obj, lambda client: client.post(f"{path}/undo-created", {"since": created_since}))
    for row in found.get("refused", [])[:ROWS_SHOWN]:
        say(f"{row['target']} {row['id']} stays: {row['why']}")
    done(f"{found['undone']} taken back, {found['left']} left as they are; integration {name} is off")


@app.command("trigger")
@told
def trigger(context: typer.Context, name: Name) -> None:
    """Draw the secret with which another system starts its pulls; it is shown once, an earlier one ends."""
    found = ask(context.obj, lambda client: client.post(f"/v1/admin/integrations/{part(name)}/trigger"))
    typer.echo(found["secret"])
    say(f"POST {found['path']} with the header Authorization: Bearer {found['secret'][:14]}...")


def _text(file: Path) -> str:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from None
    from central.integrations import toml

    toml.read(text, str(file))  # told with the file's own name before anything is sent
    return text


def _differences(rows: list[dict[str, Any]]) -> None:
    output.table(
        ("place", "before", "after"),
        [(row["path"], _shown(row["before"]), _shown(row["after"])) for row in rows],
    )


def _shown(value: Any) -> str | None:
    return None if value is None else canonical(value).decode()


def _findings(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        hint = f" ({row['hint']})" if row["hint"] and not row["ok"] else ""
        typer.echo(f"{'ok' if row['ok'] else 'NO':<3} {row['what']}: {row['detail']}{hint}")


def _errors(rows: list[dict[str, Any]]) -> None:
    for row in rows[:ROWS_SHOWN]:
        named = " ".join(str(row[name]) for name in ("id", "key") if row.get(name))
        say(f"record {named or row['line']}: {row['why']}")
    if len(rows) > ROWS_SHOWN:
        say(f"... and {len(rows) - ROWS_SHOWN} more (--json shows them)")
