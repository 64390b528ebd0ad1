"""Commands on this machine's own database: init, migrate, run, backup, after-restore, config; and `connect`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from central.cli import output
from central.cli.client import DEFAULT_URL, AdminClient, Connection, ask, save
from central.cli.output import Json, done, say, told
from central.config import Config, load
from shared.clock import SystemClock, from_rfc3339, rfc3339
from shared.errors import BadInput, ConfigError

config = typer.Typer(no_args_is_help=True, help="Settings of the centre on this machine.")


def add_to(app: typer.Typer) -> None:
    """Put the commands into the program."""
    for command in (init, migrate, run, backup, connect):
        app.command()(command)
    app.command("after-restore")(after_restore)
    app.add_typer(config, name="config")


def _config(context: typer.Context) -> Config:
    connection: Connection = context.obj
    return load(connection.central_config)


@told
def init(
    context: typer.Context,
    new_key: Annotated[
        bool,
        typer.Option(
            "--new-key", help="Draw another admin key for a database that has one (the key was lost)."
        ),
    ] = False,
    remember: Annotated[
        bool, typer.Option("--save", help="Also save address and key for this user's further commands.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the database and print the first admin key, once."""
    from central.db.owner import owned

    settings = _config(context)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with owned(settings.url):
        key = asyncio.run(_init(settings, new_key))
    url = _own_url(settings)
    if key is None:
        say(f"{_place(settings)} is set up already; nothing was changed")
        say("  if the admin key is lost: `counterflow-central init --new-key`")
        return
    if remember:
        save(context.obj.saved_in, url, key, None)
        say(f"address and key are saved in {context.obj.saved_in}")
    say(f"the database is ready: {_place(settings)}")
    say("the admin key below is shown this once; keep it where you keep passwords")
    if as_json:
        output.json({"key": key, "url": url, "database": _place(settings)})
    else:
        typer.echo(key)
    say(f"next: `counterflow-central run`, then `counterflow-central connect {url}` with that key")


async def _init(settings: Config, new_key: bool) -> str | None:
    from central.centre import Centre
    from central.db import admin, schema
    from central.keys import ApiKeys

    await schema.migrate(settings.url)
    centre = await Centre.open(settings)
    try:
        async with centre.database.write() as connection:
            known = await admin.live_admin_keys(connection)
            taken = {row.name for row in await admin.list_keys(connection)}
            if known and not new_key:
                return None
            name = next(name for n in range(1, len(taken) + 2) if (name := f"admin-{n}") not in taken)
            return await ApiKeys(centre.database).create_in(connection, name, "admin", who="init")
    finally:
        await centre.close()


@told
def migrate(context: typer.Context) -> None:
    """Bring the database to this version's schema; nodes of another version answer "not ready" from then on."""
    from central.db import schema
    from central.db.owner import owned

    settings = _config(context)
    with owned(settings.url):
        done(f"{_place(settings)} has schema {asyncio.run(schema.migrate(settings.url))}")


@told
def run(context: typer.Context) -> None:
    """Serve stations and HQ until stopped (Ctrl-C or SIGTERM)."""
    from central import logs
    from central.server import serve

    settings = _config(context)
    logs.configure(settings)
    asyncio.run(serve(settings))


@told
def backup(
    context: typer.Context,
    target: Annotated[Path | None, typer.Argument(help="The copy (SQLite only).", show_default=False)] = None,
    taken_at: Annotated[
        str | None,
        typer.Option(help="PostgreSQL: when your own backup, which you have tested, was begun (RFC 3339)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy the database while the centre works, prove the copy, and tell the stations what is safe now."""
    from central.backup import Backup
    from central.db.database import Database

    settings = _config(context)
    database = Database(settings.url)

    async def work() -> Backup:
        from central import backup as backups

        try:
            if not database.is_sqlite:
                if taken_at is None or target is not None:
                    raise BadInput(
                        "PostgreSQL is backed up by its own tools (pg_basebackup, pgBackRest)",
                        hint="make and test that backup, then run `counterflow-central backup --taken-at TIME`",
                    )
                return await backups.covered_by(database, _time(taken_at))
            if taken_at is not None:
                raise BadInput(
                    "--taken-at is for PostgreSQL; on SQLite the copy is made here",
                    hint="counterflow-central backup FILE",
                )
            if target is None:
                raise BadInput("name the file that the copy goes to", hint="counterflow-central backup FILE")
            copied, report = await backups.backup_sqlite(database, _sqlite_file(settings), target)
            for finding in report.findings:
                say(f"warning: {finding.check}: {finding.what}")
            return copied
        finally:
            await database.close()

    made = asyncio.run(work())
    if as_json:
        output.json(
            {
                "path": made.path,
                "bytes": made.bytes,
                "positions": made.positions,
                "epochs_made_safe": made.epochs_made_safe,
            }
        )
        return
    if made.path:
        done(f"{made.path}, {made.bytes:,} bytes, {made.positions:,} documents proven by their chains")
        say("  keep a copy on another machine: a backup beside the database dies with it")
    say(f"  {made.epochs_made_safe} journals have a new safe point; stations hear of it with their next push")


@told
def after_restore(
    context: typer.Context,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="SQLite: put this backup in the database's place first.", show_default=False
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Prepare a database that was restored from a backup, before the centre is started on it."""
    from central.backup import put_back
    from central.db import schema
    from central.db.database import Database
    from central.db.owner import owned
    from central.restore import Restored
    from central.restore import after_restore as prepare

    settings = _config(context)
    if source is not None and not settings.url.startswith("sqlite"):
        raise BadInput(
            "--from is for SQLite", hint="restore PostgreSQL with its own tools, then run this without it"
        )
    if not yes:
        confirm(
            f"Shall {source} take the place of {_place(settings)}?"
            if source is not None
            else f"Was {_place(settings)} just restored from a backup, and is no centre running on it?"
        )

    async def work() -> Restored:
        await schema.migrate(settings.url)
        database = Database(settings.url)
        try:
            return await prepare(database)
        finally:
            await database.close()

    with owned(settings.url):
        if source is not None:
            aside = put_back(source, _sqlite_file(settings), SystemClock().now_ms())
            say(f"{source} is in place" + (f"; what was there before is kept as {aside}" if aside else ""))
        restored = asyncio.run(work())
    newest = rfc3339(restored.newest_document_ms) if restored.newest_document_ms else None
    if as_json:
        output.json(
            {
                "scopes": restored.scopes,
                "batches": restored.batches,
                "stations": restored.stations,
                "newest_document": newest,
            }
        )
        return
    done(f"the newest document here came in at {newest or '(none)'}")
    say("what happens once the centre runs:")
    say(f"  {restored.stations} stations open new sessions and send again what is missing here;")
    say(
        f"  {restored.scopes} catalog scopes are fetched anew; what was published since the backup: publish it again;"
    )
    say(
        f"  {restored.batches} batches under way, and every one that follows, are looked for at the other system first"
    )
    say(
        "  stations that were enrolled since the backup enrol again with the same key, and keep their journal"
    )
    say("watch it with `counterflow-central status` and `counterflow-central totals`")


@told
def connect(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="The centre's address.")] = DEFAULT_URL,
) -> None:
    """Check address and key, and remember them for this user. The key is asked for unless --key gives it."""
    given: Connection = context.obj
    key = given.key
    if key is None:
        if not sys.stdin.isatty():
            key = sys.stdin.readline().strip()
        else:
            key = typer.prompt("API key", hide_input=True, err=True)
    if not key:
        raise ConfigError("there is no key", hint="give --key, COUNTERFLOW_KEY, or type it")
    trial = Connection(url=url, key=key, ca=given.ca, saved_in=given.saved_in, central_config=None)

    async def work(client: AdminClient) -> str:
        status = await client.get("/v1/admin/status")
        return f"centre {status['centre'][:8]}, version {status['version']}, {status['stations']['all']} stations"

    found = ask(trial, work)
    save(given.saved_in, url, key, given.ca)
    done(f"{url}: {found}; saved in {given.saved_in}")


@config.command("check")
@told
def config_check(context: typer.Context, as_json: Json = False) -> None:
    """Check the settings and show each with its meaning; the database's password is not shown."""
    settings = _config(context)
    values = {
        name: str(value) if value is not None else None for name, value in settings.model_dump().items()
    }
    values["database_url"] = _place(settings)
    if as_json:
        output.json(values)
        return
    for name, field in Config.model_fields.items():
        typer.echo(f"{name} = {values[name] or '-'}\n    {field.description}")


def confirm(question: str) -> None:
    """Ask before what cannot be undone; without a terminal the answer must come with --yes."""
    if not sys.stdin.isatty():
        raise BadInput("this asks first, and there is nobody to ask", hint="add --yes")
    if not typer.confirm(question, err=True):
        say("nothing was done")
        raise typer.Exit(1)


def _place(settings: Config) -> str:
    """The database's address without its password."""
    from sqlalchemy.engine import make_url

    url = make_url(settings.url)
    return (
        str(url.database) if url.drivername.startswith("sqlite") else url.render_as_string(hide_password=True)
    )


def _sqlite_file(settings: Config) -> Path:
    from sqlalchemy.engine import make_url

    return Path(make_url(settings.url).database or "")


def _own_url(settings: Config) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host
    return f"{'https' if settings.tls_cert else 'http'}://{host}:{settings.port}"


def _time(text: str) -> int:
    try:
        return from_rfc3339(text)
    except ValueError as error:
        raise BadInput(f"--taken-at: {error}", hint="write it like 2026-11-21T03:00:00Z") from None
