"""The commands of a station. Data goes to stdout, talk to stderr; every reading command has `--json`.

Nothing is decided here: each command loads the settings, calls the part that does it, and shows the answer.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from edge_agent import config as settings
from shared import __version__
from shared.errors import what_to_do

if TYPE_CHECKING:
    from edge_agent.verify import Finding

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)
config_app = typer.Typer(no_args_is_help=True, help="The settings of this instance.")
app.add_typer(config_app, name="config")

Instance = Annotated[
    str | None,
    typer.Option(help="Which station's agent on this machine.", envvar="COUNTERFLOW_AGENT_INSTANCE"),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Settings file (TOML).", envvar="COUNTERFLOW_AGENT_CONFIG")
]
DataDir = Annotated[Path | None, typer.Option(help="Data folder, above the settings file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
STATUS_FIRST = (
    "station",
    "store",
    "server_url",
    "line",
    "last_contact",
    "backlog",
    "oldest_unsent",
    "ready",
    "alarms",
)
"""What a technician looks for comes first; the rest follows by name."""


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True)
    ] = False,
) -> None:
    """Counterflow's agent: sells with no network, tells the centre later."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def enroll(
    code: Annotated[str, typer.Argument(help="The enrolment code from HQ.")],
    server: Annotated[str, typer.Option(help="URL of the centre.")] = "",
    station: Annotated[str | None, typer.Option(help="Wished station code, for a group's code.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="The centre has forgotten this station: same key, same journal.")
    ] = False,
    new_station: Annotated[
        bool,
        typer.Option(
            "--new-station", help="Become another station; the old journal is drained as the old one."
        ),
    ] = False,
    instance: Instance = None,
    config_file: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Make this machine a station, with a code from HQ."""
    from edge_agent import enrolment

    config = settings.load(instance, config_file, data_dir=data_dir, server_url=server or None)
    result = _run(enrolment.enroll(config, code, station=station, again=again, new_station=new_station))
    _talk(
        f"this is station {result.station} of store {result.store} now"
        + (", once HQ has approved it" if result.is_waiting else "")
    )
    if not (again or new_station):
        which = f" --instance {config.instance}" if config.instance != settings.DEFAULT_INSTANCE else ""
        _talk(f"next: `counterflow-agent run{which}`, best as a service of this machine")


@app.command(
    add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def run(context: typer.Context) -> None:
    """Run the agent until it is asked to stop."""
    # Listed here for --help; `edge_agent/cli.py` takes it before this module is even imported.
    from edge_agent.run import run as run_agent

    run_agent(context.args)


@app.command()
def status(
    instance: Instance = None, config_file: ConfigFile = None, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """What the running agent knows: backlog, last contact, catalog, alarms."""
    from edge_agent.local_client import ask

    config = settings.load(instance, config_file, data_dir=data_dir)
    page = _run(ask(config.data_dir, "GET", "/v1/station"))
    first = {name: page.pop(name) for name in STATUS_FIRST if name in page}
    _show(first | page, as_json)


@app.command()
def sync(
    instance: Instance = None, config_file: ConfigFile = None, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Send and fetch now, without waiting for the next time."""
    from edge_agent.local_client import ask

    config = settings.load(instance, config_file, data_dir=data_dir)
    answer = _run(ask(config.data_dir, "POST", "/v1/sync"))
    if as_json:
        _print_json(answer)
    else:
        _talk("the agent sends and fetches now; `counterflow-agent status` shows what came of it")


@app.command()
def verify(
    instance: Instance = None,
    config_file: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Prove the journal right: chain, positions, hashes, day totals. It may run beside the agent."""
    config = settings.load(instance, config_file, data_dir=data_dir)
    findings = _run(_verified(config.data_dir / "journal.db"))
    if as_json:
        _print_json({"findings": [{"check": f.check, "where": f.where, "what": f.what} for f in findings]})
    else:
        for finding in findings:
            typer.echo(f"{finding.check:<11}{finding.where}: {finding.what}")
        _talk(f"{len(findings)} findings" if findings else "the journal is whole")
    if findings:
        raise typer.Exit(1)


async def _verified(path: Path) -> list[Finding]:
    from edge_agent.db.reader import JournalReader
    from edge_agent.verify import verify as verify_journal

    journal = await JournalReader.open_existing(path)
    try:
        return await verify_journal(journal)
    finally:
        await journal.close()


@app.command()
def export(instance: Instance = None, config_file: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Write every document that is held to stdout, one line of JSON each. It may run beside the agent."""
    config = settings.load(instance, config_file, data_dir=data_dir)
    _run(_exported(config.data_dir / "journal.db"))


async def _exported(path: Path) -> None:
    from edge_agent.db.reader import JournalReader

    journal = await JournalReader.open_existing(path)
    try:
        async for lines in journal.export():
            sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()
    finally:
        await journal.close()


@app.command()
def doctor(
    instance: Instance = None, config_file: ConfigFile = None, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Look for what is wrong: disk, clock, name server, line, certificate, proxy, enrolment."""
    from edge_agent import doctor as diagnosis
    from edge_agent.probes import examine
    from shared.clock import SystemClock

    config = settings.load(instance, config_file, data_dir=data_dir)
    findings = diagnosis.diagnose(_run(examine(config, SystemClock())))
    if as_json:
        _print_json(
            [{"check": f.check, "state": str(f.state), "what": f.what, "hint": f.hint} for f in findings]
        )
    else:
        for finding in findings:
            typer.echo(f"{finding.state:<8}{finding.check:<11}{finding.what}")
            if finding.hint:
                typer.echo(f"{'':<19}{what_to_do(finding.hint)}")
    if diagnosis.has_failed(findings):
        raise typer.Exit(1)


@config_app.command("check")
def config_check(
    instance: Instance = None, config_file: ConfigFile = None, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Check the settings and show each with its meaning."""
    config = settings.load(instance, config_file, data_dir=data_dir)
    values = config.model_dump(mode="json")
    if as_json:
        _print_json(values)
        return
    for name, field in settings.AgentConfig.model_fields.items():
        typer.echo(f"{name} = {values[name]!r}\n    {field.description}")


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def _talk(text: str) -> None:
    typer.echo(text, err=True)


def _print_json(value: Any) -> None:
    from shared.canonical import canonical

    typer.echo(canonical(value).decode())


def _show(value: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(value)
        return
    for name, part in value.items():
        if isinstance(part, list):
            typer.echo(f"{name}: {len(part)}" if part else f"{name}: none")
            for entry in part:
                typer.echo(f"  {_line(entry)}")
        else:
            typer.echo(f"{name}: {_line(part)}")


def _line(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={part}" for name, part in value.items())
    return "-" if value is None else str(value)
