"""Commands that say whether all is well: status, totals, rollout, verify, audit."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from central.cli import output
from central.cli.client import LONG_TIMEOUT_S, ask
from central.cli.output import Json, duration, money, say, short_time, told
from shared.clock import rfc3339


def add_to(app: typer.Typer) -> None:
    """Put the commands into the program."""
    for command in (status, totals, rollout, verify, audit):
        app.command()(command)


@told
def status(context: typer.Context, as_json: Json = False) -> None:
    """The centre at a glance, and what somebody should look at."""
    found = ask(context.obj, lambda client: client.get("/v1/admin/status"))
    if as_json:
        output.json(found)
        return
    stations = found["stations"]
    open_counts = ", ".join(f"{found[state]} {state}" for state in ("pending", "waiting", "parked", "held"))
    output.fields(
        (
            ("centre", f"{found['centre'][:8]}, version {found['version']}, {found['database']}"),
            ("time", f"{short_time(found['time'])} UTC"),
            ("stations", _stations(stations)),
            (
                "documents",
                f"{found['documents']:,} stored; {found['backlog_at_stations']:,} still at the stations",
            ),
            ("not applied", open_counts),
        )
    )
    if found["integrations"]:
        typer.echo()
        output.table(
            ("integration", "on", "gathering", "ready", "in batches", "problem"),
            [
                (
                    row["name"],
                    "yes" if row["enabled"] else "no",
                    row["gathering"],
                    row["ready"],
                    ", ".join(f"{count} {state}" for state, count in row["unfinished"].items()) or None,
                    row["problem"],
                )
                for row in found["integrations"]
            ],
        )
    if found["scopes"]:
        typer.echo()
        output.table(
            ("scope", "head", "rows"), [(row["scope"], row["head"], row["rows"]) for row in found["scopes"]]
        )
    typer.echo()
    if not found["attention"]:
        typer.echo("all is well")
    for line in found["attention"]:
        typer.echo(f"look: {line}")


@told
def totals(
    context: typer.Context,
    station: Annotated[str | None, typer.Option(help="Only this one.", show_default=False)] = None,
    first: Annotated[str | None, typer.Option("--from", help="Business date; default: a week ago.")] = None,
    last: Annotated[
        str | None,
        typer.Option("--to", help="Business date; default: tomorrow (stores may be ahead of UTC)."),
    ] = None,
    integration: Annotated[
        str | None, typer.Option(help="Also what was delivered to this system.", show_default=False)
    ] = None,
    differing: Annotated[bool, typer.Option("--differing", help="Only what does not agree.")] = False,
    as_json: Json = False,
) -> None:
    """Day totals per station and payment type: station = centre = delivered. Ends with 1 if any differ."""
    found = ask(
        context.obj,
        lambda client: client.get(
            "/v1/admin/totals",
            station=station,
            first=first,
            last=last,
            integration=integration,
            timeout_s=600,
        ),
    )
    rows = [row for row in found["items"] if not differing or row["agrees"] is False]
    if as_json:
        output.json({**found, "items": rows})
    else:
        output.table(
            (
                "date",
                "station",
                "type",
                "cur",
                "station n",
                "station sum",
                "centre n",
                "centre sum",
                *(("deliv. n", "deliv. sum") if integration else ()),
                "agrees",
                "note",
            ),
            [_total(row, integration is not None) for row in rows],
        )
    if not found["agree"]:
        say("error: totals differ")
        raise typer.Exit(1)


@told
def rollout(
    context: typer.Context,
    scope: Annotated[str | None, typer.Argument(help="E.g. pricelist/RETAIL; default: everything.")] = None,
    seq: Annotated[
        int | None, typer.Option(help="That publication; default: the newest.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="Show at most so many of those that wait.", min=1)] = 50,
    as_json: Json = False,
) -> None:
    """What HQ published: live on how many of how many stations, which wait and why, and how long it took."""
    found = ask(context.obj, lambda client: client.get("/v1/admin/rollout", scope=scope, seq=seq))
    if as_json:
        output.json(found)
        return
    what = f"{found['scope']} {found['seq']}" if found["scope"] else "everything"
    when = f", published {short_time(rfc3339(found['published_ms']))} UTC" if found["published_ms"] else ""
    typer.echo(f"{what}: live on {found['live']} of {found['stations']} stations{when}")
    if found["lag_p50_ms"] is not None:
        typer.echo(f"it took {duration(found['lag_p50_ms'])} (p50), {duration(found['lag_p99_ms'])} (p99)")
    # Who only waits for an installer says nothing about the rollout: last.
    waiting = sorted(
        found["waiting"], key=lambda row: (row["why"] == "not-enrolled", row["why"], row["station"])
    )
    if waiting:
        reasons = Counter(row["why"] for row in waiting)
        typer.echo(f"waiting: {', '.join(f'{count} {why}' for why, count in reasons.items())}")
        typer.echo()
        output.table(
            ("station", "store", "why", "last seen", "detail"),
            [
                (
                    row["station"],
                    row["store"],
                    row["why"],
                    short_time(rfc3339(row["last_seen_ms"])) if row["last_seen_ms"] else None,
                    row["detail"],
                )
                for row in waiting[:limit]
            ],
        )
        if len(waiting) > limit:
            say(f"{len(waiting) - limit} more; --limit shows more than {limit}")


@told
def verify(
    context: typer.Context,
    station: Annotated[str | None, typer.Option(help="Only what this one sent.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Prove what the database says about itself: chains, documents, rows, deliveries, digests. Ends with 1 if not."""
    say("reading everything that was ever stored; the centre works on meanwhile")
    found = ask(
        context.obj, lambda client: client.get("/v1/admin/verify", station=station, timeout_s=LONG_TIMEOUT_S)
    )
    if as_json:
        output.json(found)
    else:
        if found["findings"]:
            output.table(("check", "station", "where", "what"), [_finding(row) for row in found["findings"]])
            for hint in sorted({row["hint"] for row in found["findings"] if row["hint"]}):
                say(f"  {hint}")
            typer.echo()
        checked = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in found["checked"].items())
        typer.echo(f"checked in {duration(found['took_ms'])}: {checked or 'nothing is stored yet'}")
    if not found["ok"]:
        say(f"error: {len(found['findings']) + found['more']} findings")
        raise typer.Exit(1)
    say("all is as it should be")


@told
def audit(
    context: typer.Context,
    who: Annotated[str | None, typer.Option(help="By this key or station.", show_default=False)] = None,
    what: Annotated[
        str | None, typer.Option(help='Acts that begin so, e.g. "station".', show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 50,
    as_json: Json = False,
) -> None:
    """Who did what, newest first."""
    found = ask(context.obj, lambda client: client.pages("/v1/admin/audit", limit, who=who, what=what))
    if as_json:
        output.json(found)
        return
    output.table(
        ("when", "who", "what", "detail"),
        [(short_time(row["at"]), row["who"], row["what"], _detail(row["detail"])) for row in found],
    )


def _stations(counts: dict[str, int]) -> str:
    parts = [f"{counts['active']} active"]
    parts += [
        f"{counts[name]} {text}"
        for name, text in (
            ("silent", "of them silent"),
            ("quarantined", "QUARANTINED"),
            ("new", "not enrolled"),
            ("waiting", "waiting for approval"),
            ("revoked", "revoked"),
        )
        if counts[name]
    ]
    return ", ".join(parts)


def _total(row: dict[str, Any], delivered: bool) -> tuple[Any, ...]:
    currency = row["currency"]
    sides = [
        row["station_count"],
        money(row["station_minor"], currency),
        row["centre_count"],
        money(row["centre_minor"], currency),
    ]
    if delivered:
        sides += [row["delivered_count"], money(row["delivered_minor"], currency)]
    agrees = {True: "yes", False: "NO", None: "?"}[row["agrees"]]
    return (row["business_date"], row["station"], row["type"], currency, *sides, agrees, row["note"] or None)


def _finding(row: dict[str, Any]) -> tuple[Any, ...]:
    where = row["scope"] or row["doc_id"] or (row["epoch"] and row["epoch"][:16])
    if row["seq"] is not None:
        where = f"{where} at {row['seq']}"
    return row["check"], row["station"], where, row["what"]


def _detail(detail: Any) -> str:
    if not isinstance(detail, dict):
        return str(detail)
    return ", ".join(
        f"{name}={_value(value)}" for name, value in detail.items() if value not in (None, [], "")
    )


def _value(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"old", "new"}:
        return f"{value['old']} -> {value['new']}"
    if isinstance(value, list):
        return " ".join(str(item) for item in value[:5]) + (" ..." if len(value) > 5 else "")
    return str(value)
