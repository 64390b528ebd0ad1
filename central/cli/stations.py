"""Commands for stations and enrolment codes."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from central.cli import output
from central.cli.client import AdminClient, ask, part
from central.cli.codes import Days, print_code
from central.cli.local import confirm
from central.cli.output import Json, done, say, short_time, told
from shared.errors import BadInput, CannotStore

app = typer.Typer(no_args_is_help=True, help="Tills: list, import, move, release, revoke, sync now.")

ROWS = 10_000
Code = Annotated[str, typer.Argument(help="The station's code.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("list")
@told
def list_stations(
    context: typer.Context,
    store: Annotated[str | None, typer.Option(help="Of this store.", show_default=False)] = None,
    group: Annotated[str | None, typer.Option(help="Of this group.", show_default=False)] = None,
    state: Annotated[
        str | None, typer.Option(help="new, waiting, active, revoked or quarantined.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Stations: what state they are in, when they were last seen, what they have not sent."""

    async def work(client: AdminClient) -> tuple[list[Any], str]:
        found = await client.pages("/v1/admin/stations", ROWS, store=store, group=group, state=state)
        return found, (await client.get("/v1/admin/status"))["time"]

    found, now = ask(context.obj, work)
    if as_json:
        output.json(found)
        return
    output.table(
        ("station", "store", "state", "seen", "unsent", "version", "groups", "name", "alarms"),
        [
            (
                row["code"],
                row["store"],
                "QUARANTINED" if row["quarantined"] else row["state"],
                output.ago(row["last_seen"], now),
                row["backlog"],
                row["version"],
                " ".join(row["groups"]) or None,
                row["name"] or None,
                "; ".join(row["alarms"]) or None,
            )
            for row in found
        ],
    )


@app.command("show")
@told
def show_station(context: typer.Context, code: Code, as_json: Json = False) -> None:
    """All that is known of one station."""
    row = ask(context.obj, lambda client: client.get(f"/v1/admin/stations/{part(code)}"))
    if as_json:
        output.json(row)
        return
    report = row["report"] or {}
    output.fields(
        (
            ("station", row["code"]),
            ("name", row["name"]),
            ("store", row["store"]),
            ("groups", " ".join(row["groups"])),
            ("state", row["state"] + (", QUARANTINED" if row["quarantined"] else "")),
            ("last seen", short_time(row["last_seen"])),
            ("last report", short_time(row["reported"])),
            ("not sent yet", row["backlog"]),
            ("last number", row["last_number"]),
            ("versions", ", ".join(f"{name} {text}" for name, text in report.get("versions", {}).items())),
            ("disk free", _bytes(report.get("disk_free_bytes"))),
            ("alarms", "; ".join(row["alarms"])),
        )
    )
    if not row["keys"]:
        return
    typer.echo()
    output.table(
        ("key", "state", "since"),
        [(key["public_key"][:16], key["state"], short_time(key["created"])) for key in row["keys"]],
    )
    if not row["epochs"]:
        return
    typer.echo()
    output.table(
        ("epoch", "documents", "safe", "first heard of", "last documents", "current"),
        [
            (
                epoch["epoch"][:16],
                epoch["last"],
                epoch["safe"],
                short_time(epoch["created"]),
                short_time(epoch["updated"]),
                "yes" if epoch["current"] else "",
            )
            for epoch in row["epochs"]
        ],
    )
    scopes = report.get("scopes", [])
    if scopes:
        typer.echo()
        output.table(
            ("scope", "at", "rows"), [(scope["scope"], scope["seq"], scope["count"]) for scope in scopes]
        )


@app.command("add")
@told
def add_station(
    context: typer.Context,
    code: Code,
    store: Annotated[str, typer.Option(help="The store that it stands in.")],
    group: Annotated[list[str] | None, typer.Option(help="A group; may be given several times.")] = None,
    name: Annotated[str, typer.Option(help="Its name for people.")] = "",
    days: Days = 14,
    as_json: Json = False,
) -> None:
    """Make a station and print its enrolment code."""
    body = {"code": code, "store": store, "groups": group or [], "name": name, "code_days": days}
    made = ask(context.obj, lambda client: client.post("/v1/admin/stations", body))
    print_code(made, f"station {code}", as_json)


@app.command("import")
@told
def import_stations(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help='CSV: code,store,groups,name; "-" reads stdin.', show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where the codes go; default: stdout.", show_default=False),
    ] = None,
    days: Days = 14,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the list.")] = False,
    as_json: Json = False,
) -> None:
    """Make all stations of a list and print their enrolment codes as CSV. All of them, or none if a line is wrong."""
    data = _read(file)
    if out is not None and out.exists():
        # Codes are shown once: never over a list that may not have been used yet.
        raise BadInput(f"{out} exists already", hint="give another name; nothing was imported")
    query = {"dry_run": int(dry_run), "code_days": days}
    made = ask(
        context.obj,
        lambda client: client.request(
            "POST", "/v1/admin/stations/import", query=query, body=data, media="text/csv", timeout_s=300
        ),
    )
    counts: dict[str, int] = {}
    for row in made["items"]:
        counts[row["result"]] = counts.get(row["result"], 0) + 1
    words = {"new code": "known with a new code"}
    summary = (
        ", ".join(f"{count} {words.get(result, result)}" for result, count in counts.items()) or "no stations"
    )
    if dry_run:
        done(f"the list is right: {summary}; nothing was changed")
        return
    if as_json:
        output.json(made)
    else:
        _write_codes(made, out)
    done(
        f"{summary}; the codes may be used until {short_time(made['expires'])} UTC{f', see {out}' if out else ''}"
    )
    if any(row["enrolment_code"] for row in made["items"]):
        say("  each code enrols one machine, once: on the till, `counterflow-agent enroll CODE --server URL`")


@app.command("move")
@told
def move_station(
    context: typer.Context,
    code: Code,
    store: Annotated[str, typer.Argument(help="The store that it goes to.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Also while it has documents to send.")] = False,
) -> None:
    """Put a station into another store; its balances, sellers and prices follow at once."""
    body = {"store": store, "force": force}
    ask(context.obj, lambda client: client.post(f"/v1/admin/stations/{part(code)}/move", body))
    done(f"station {code} is in store {store}")


@app.command("groups")
@told
def change_groups(
    context: typer.Context,
    code: Code,
    add: Annotated[list[str] | None, typer.Option(help="Put it into this group.", show_default=False)] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="Take it out of this group.", show_default=False)
    ] = None,
) -> None:
    """Put a station into groups and take it out of others; it gets all that a new group has at once."""
    if not add and not remove:
        raise BadInput("nothing to change", hint="use --add GROUP or --remove GROUP")
    body = {"add": add or [], "remove": remove or []}
    now = ask(context.obj, lambda client: client.post(f"/v1/admin/stations/{part(code)}/groups", body))[
        "groups"
    ]
    done(f"station {code} is in {', '.join(now) or 'no group'}")


@app.command("poke")
@told
def poke(
    context: typer.Context,
    code: Annotated[str | None, typer.Argument(help="One station.", show_default=False)] = None,
    store: Annotated[str | None, typer.Option(help="All of this store.", show_default=False)] = None,
    group: Annotated[str | None, typer.Option(help="All of this group.", show_default=False)] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All stations.")] = False,
) -> None:
    """Sync now: have stations send and fetch at once, without waiting for their schedule."""
    if sum((code is not None, store is not None, group is not None, everyone)) != 1:
        raise BadInput("say who", hint="one of: a station's code, --store, --group, --all")
    body = {"station": code, "store": store, "group": group}
    told_to = ask(context.obj, lambda client: client.post("/v1/admin/stations/poke", body))["stations"]
    done(
        f"{told_to} station{'s' if told_to != 1 else ''} told; those that are offline hear it when they are back"
    )


@app.command("release")
@told
def release_station(context: typer.Context, code: Code) -> None:
    """End a quarantine: what is held of the station is applied. The machine that is not wanted must enrol as itself."""
    answer = ask(context.obj, lambda client: client.post(f"/v1/admin/stations/{part(code)}/release"))
    if not answer["was_quarantined"]:
        say(f"station {code} was not in quarantine")
    done(f"{answer['documents']} held documents of station {code} are applied now")


@app.command("revoke")
@told
def revoke_station(context: typer.Context, code: Code, yes: Yes = False) -> None:
    """Take nothing more from this station's machine (stolen PC). For a broken one: codes add --station X --replace."""
    if not yes:
        confirm(f"Nothing that station {code} has not sent yet will be taken any more. Revoke it?")
    ask(context.obj, lambda client: client.post(f"/v1/admin/stations/{part(code)}/revoke"))
    done(f"station {code} is revoked; `stations reinstate {code}` takes it back with a new machine")


@app.command("reinstate")
@told
def reinstate_station(context: typer.Context, code: Code, days: Days = 14, as_json: Json = False) -> None:
    """Take a revoked station back with a new machine, and print its enrolment code."""
    body = {"code_days": days}
    made = ask(context.obj, lambda client: client.post(f"/v1/admin/stations/{part(code)}/reinstate", body))
    print_code(made, f"station {code}", as_json)


@app.command("approve")
@told
def approve_stations(
    context: typer.Context,
    codes_of: Annotated[list[str], typer.Argument(metavar="CODE...", help="Stations.", show_default=False)],
) -> None:
    """Take in stations that enrolled with a group's code."""

    async def work(client: AdminClient) -> None:
        for code in codes_of:
            await client.post(f"/v1/admin/stations/{part(code)}/approve")
            done(f"station {code} is approved")

    ask(context.obj, work)


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}") from None


def _write_codes(made: dict[str, Any], out: Path | None) -> None:
    try:
        target = sys.stdout if out is None else out.open("x", encoding="utf-8", newline="")
    except OSError as error:
        # The codes exist only in this answer: better on the terminal than lost.
        say(f"{out} cannot be written ({error.strerror}); the codes follow here:")
        target = sys.stdout
    try:
        table = csv.writer(target, lineterminator="\n" if target is sys.stdout else "\r\n")
        table.writerow(("code", "store", "result", "enrolment_code", "expires"))
        for row in made["items"]:
            code = row["enrolment_code"] or ""
            table.writerow((row["code"], row["store"], row["result"], code, made["expires"] if code else ""))
        target.flush()
    except OSError as error:
        raise CannotStore(
            f"{out} was not written whole: {error.strerror}",
            hint="send the same list again: it draws new codes",
        ) from None
    finally:
        if target is not sys.stdout:
            target.close()


def _bytes(number: int | None) -> str | None:
    return None if number is None else f"{number / 2**30:.1f} GiB"
