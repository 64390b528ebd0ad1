"""The command line as HQ uses it: real HTTP, data on stdout, talk on stderr, exit codes that scripts can trust."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from central.cli import app
from central.cli.client import Connection
from shared.canonical import canonical, parse_object
from tests.support.hq import HQ, open_hq, push, report, sell
from tests.support.yardstick_sales import doc_id, documents


class Said:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> object:
        return json.loads(self.out)


Type = Callable[..., Awaitable[Said]]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches the commands, and none of theirs stays on it."""
    for name in ("COUNTERFLOW_URL", "COUNTERFLOW_KEY", "COUNTERFLOW_CA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COUNTERFLOW_CENTRAL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("central.cli.config_file", lambda: tmp_path / "client.toml")


@pytest.fixture
async def hq(tmp_path: Path) -> AsyncIterator[HQ]:
    async with open_hq(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as opened:
        yield opened


def run(*words: str, stdin: str | None = None) -> Said:
    result = CliRunner().invoke(app, list(words), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Said(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def hq_types(hq: HQ) -> Type:
    """Type a command against the centre; it runs in a thread, as it has a loop of its own."""

    async def type_it(*words: str, stdin: str | None = None) -> Said:
        return await asyncio.to_thread(run, "--url", hq.url, "--key", hq.key, *words, stdin=stdin)

    return type_it


async def furnish(hq_types: Type) -> None:
    assert (await hq_types("stores", "add", "S1", "--zone", "Europe/Paris", "--currency", "EUR")).code == 0
    assert (await hq_types("groups", "add", "G1")).code == 0


async def test_two_hundred_stations_are_one_command_and_one_csv(hq_types: Type, tmp_path: Path) -> None:
    """The codes are the only thing on stdout, or in the file; the file is never overwritten."""
    await furnish(hq_types)
    listed = tmp_path / "list.csv"
    await asyncio.to_thread(
        listed.write_text, "code,store,groups\n" + "".join(f"T-{n:03},S1,G1\n" for n in range(200))
    )
    said = await hq_types("stations", "import", str(listed))
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert (said.code, len(rows), len({row["enrolment_code"] for row in rows})) == (0, 200, 200)
    assert "200 created" in said.err
    out = tmp_path / "codes.csv"
    again = await hq_types("stations", "import", str(listed), "-o", str(out))
    assert (again.code, again.out) == (0, "")
    assert "200 known with a new code" in again.err
    assert len(await asyncio.to_thread(out.read_text)) > 200 * 32
    third = await hq_types("stations", "import", str(listed), "-o", str(out))
    assert (third.code, third.err.split("\n")[0]) == (1, f"error: {out} exists already")


async def test_a_wrong_list_is_told_line_by_line(hq_types: Type, tmp_path: Path) -> None:
    """Every fault with line, column and value; nothing on stdout."""
    await furnish(hq_types)
    said = await hq_types("stations", "import", "-", stdin="code,store,groups\nT-1,S1,G1\nT-2,S9,G9\n")
    assert (said.code, said.out) == (1, "")
    assert '  line 3, store "S9": there is no such store' in said.err
    assert '  line 3, groups "G9": there is no such group' in said.err


async def test_tables_and_json_show_the_same(hq: HQ, hq_types: Type) -> None:
    """Every list has both forms."""
    await furnish(hq_types)
    await sell(hq.centre, "T-1", 3)
    await report(hq.centre, "T-1", backlog=4)
    table = (await hq_types("stations", "list")).out.splitlines()
    assert table[0].split() == [
        "STATION",
        "STORE",
        "STATE",
        "SEEN",
        "UNSENT",
        "VERSION",
        "GROUPS",
        "NAME",
        "ALARMS",
    ]
    assert table[1].split()[:3] == ["T-1", "S1", "active"]
    listed = (await hq_types("stations", "list", "--json")).json
    assert isinstance(listed, list)
    assert listed[0]["backlog"] == 4
    for words in (
        ("stores", "list"),
        ("groups", "list"),
        ("documents", "list"),
        ("documents", "show", doc_id(0)),
        ("waiting", "list"),
        ("parked", "list"),
        ("parked", "documents"),
        ("held", "list"),
        ("integrations", "list"),
        ("keys", "list"),
        ("consumers", "list"),
        ("status",),
        ("totals",),
        ("rollout",),
        ("verify",),
        ("audit",),
        ("stations", "show", "T-1"),
    ):
        text, parsed = await hq_types(*words), await hq_types(*words, "--json")
        assert (text.code, parsed.code) == (0, 0), words
        json.loads(parsed.out)
        assert not text.out.startswith(("{", "["))


async def test_a_document_is_shown_as_a_person_reads_it(hq: HQ, hq_types: Type) -> None:
    """Amounts with a point, quantities without micro units, the printed reference."""
    await sell(hq.centre, "T-1", 1)
    shown = (await hq_types("documents", "show", doc_id(0))).out
    ((_, payload),) = documents(1, "T-1")
    total = parse_object(payload)["total_minor"]
    assert f"total:         {total // 100}.{total % 100:02} EUR" in shown
    assert "reference:     AEAQCAIBAE-1" in shown


async def test_parked_documents_are_repaired_from_the_command_line(hq: HQ, hq_types: Type) -> None:
    """The reason is copied from the list, the value is JSON or plain text."""
    station = await sell(hq.centre, "T-1", 1)
    ((header, payload),) = documents(1, "T-1", start=9)
    poor = parse_object(payload)
    del poor["lines"][0]["product"]
    await push(hq.centre, station, [(header, canonical(poor))])
    await hq.centre.applier.drain()
    groups = (await hq_types("parked", "list", "--json")).json
    assert isinstance(groups, list)
    said = await hq_types("parked", "repair", "--reason", groups[0]["reason"], "--set", "lines[*].product=P1")
    assert (said.code, said.err) == (0, "done: 1 tried again: 1 applied, 0 still parked\n")
    assert (await hq_types("parked", "repair", "--reason", "x")).code == 1
    assert "--reason" in (await hq_types("parked", "repair")).err
    assert "no path" in (await hq_types("parked", "repair", "--reason", "x", "--set", "product")).err


async def test_held_documents_are_decided_from_the_command_line(
    hq: HQ, hq_types: Type, tmp_path: Path
) -> None:
    """By number or by cause, with a reason; what stays held is told with what to do, and is an exit code."""
    station = await sell(hq.centre, "T-1", 1)
    ((header, payload),) = documents(1, "T-1")
    for comment in ("a", "b", "b"):
        await push(hq.centre, station, [(header, canonical({**parse_object(payload), "comment": comment}))])
    assert "held apply NO" in (await hq_types("held", "list")).err
    gone = await hq_types("held", "discard", "2", "--reason", "typed twice")
    assert (gone.code, gone.err) == (0, "done: 1 documents are discarded\n")
    listed = (await hq_types("documents", "list", "--state", "discarded")).out
    assert "discarded: typed twice" in listed
    right = tmp_path / "right.json"
    await asyncio.to_thread(right.write_bytes, payload)
    one = await hq_types("held", "apply", "3", "--reason", "two sales", "--payload", str(right))
    assert (one.code, one.err) == (0, "done: 1 documents are applied next\n")
    rest = await hq_types("held", "apply", "--why", "conflict", "--reason", "all")
    assert (rest.code, "4 stays held: the same content" in rest.err) == (1, True)
    shown = (await hq_types("documents", "show", "3", "--json")).json
    assert isinstance(shown, dict)
    assert shown["doc_id"] != shown["header"]["doc_id"] == doc_id(0)
    assert (await hq_types("held", "apply", "--reason", "x")).code == 1
    assert (await hq_types("held", "apply", "99", "--reason", "x")).code == 1
    assert (await hq_types("held", "discard", "4")).code == 2


async def test_verify_and_totals_end_with_one_when_something_is_wrong(hq: HQ, hq_types: Type) -> None:
    """A script needs no reading: the exit code says it."""
    from sqlalchemy import update

    from central.db.tables import documents as documents_tables

    await sell(hq.centre, "T-1", 2)
    assert (await hq_types("verify")).code == 0
    async with hq.centre.database.write() as connection:
        await connection.execute(update(documents_tables.documents).values(total_minor=1))
    said = await hq_types("verify")
    assert said.code == 1
    assert "its row says total 1" in said.out


async def test_acts_that_cannot_be_undone_ask_first(hq: HQ, hq_types: Type) -> None:
    """Without a terminal they want --yes."""
    await sell(hq.centre, "T-1", 1)
    asked = await hq_types("stations", "revoke", "T-1")
    assert (asked.code, "--yes" in asked.err) == (1, True)
    assert (await hq_types("stations", "revoke", "T-1", "--yes")).code == 0


async def test_refusals_say_what_and_what_to_do(hq: HQ, hq_types: Type) -> None:
    """Not there, not allowed, not reached, not set: each with its exit code."""
    gone = await hq_types("stations", "show", "T-9")
    assert (gone.code, gone.out) == (1, "")
    assert (
        gone.err
        == 'error: there is no station "T-9"\n  what to do: `counterflow-central stations list` shows them\n'
    )
    assert (await asyncio.to_thread(run, "--url", hq.url, "--key", "x", "status")).code == 1
    assert (await asyncio.to_thread(run, "--url", "http://127.0.0.1:9", "--key", "x", "status")).code == 69
    unset = await asyncio.to_thread(run, "--url", hq.url, "status")
    assert (unset.code, "connect" in unset.err) == (78, True)
    assert (await hq_types("stations", "add")).code == 2


async def test_connect_remembers_a_key_for_its_own_centre_only(hq: HQ, tmp_path: Path) -> None:
    """The file is this user's alone, and the key is not sent to another address."""
    said = await asyncio.to_thread(run, "connect", hq.url, stdin=hq.key + "\n")
    assert said.code == 0
    saved = tmp_path / "client.toml"
    assert saved.stat().st_mode & 0o777 == 0o600
    assert (await asyncio.to_thread(run, "status")).code == 0
    elsewhere = Connection("http://other.example", None, None, saved, None)
    with pytest.raises(Exception, match="no API key for http://other"):
        elsewhere.resolved()
    wrong = await asyncio.to_thread(run, "connect", hq.url, stdin="nonsense\n")
    assert wrong.code == 1
    assert (await asyncio.to_thread(run, "status")).code == 0


def test_a_database_is_made_once_and_its_key_shown_once(tmp_path: Path) -> None:
    """`init` again changes nothing; a lost key is replaced on purpose."""
    first = run("init")
    assert (first.code, first.out[:9], len(first.out.split())) == (0, "cf_admin_", 1)
    again = run("init")
    assert (again.code, again.out) == (0, "")
    assert run("init", "--new-key").out not in ("", first.out)
    assert run("migrate").code == 0


def test_local_commands_keep_off_a_database_in_use(tmp_path: Path) -> None:
    """The owner is named, the exit code is 75; a backup is possible all the same."""
    from central.db.owner import owned

    run("init")
    database = tmp_path / "data" / "central.db"
    with owned(f"sqlite+aiosqlite:///{database}"):
        for words in (("init",), ("migrate",), ("after-restore", "--yes")):
            said = run(*words)
            assert (said.code, f"works on the database {database} already" in said.err) == (75, True), words
        assert run("backup", str(tmp_path / "one.db")).code == 0
    assert run("backup", str(tmp_path / "one.db")).code == 1
    assert run("backup").code == 1
    assert run("backup", "--taken-at", "2026-11-21T00:00:00Z").code == 1
    restored = run("after-restore", "--yes")
    assert (restored.code, "send again what is missing" in restored.err) == (0, True)


def test_settings_are_checked_and_shown_without_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong one ends with 78 and its name."""
    monkeypatch.setenv("COUNTERFLOW_CENTRAL_DATABASE_URL", "postgresql+asyncpg://u:secret@db/x")
    shown = run("config", "check")
    assert (shown.code, "secret" in shown.out, "u:***@db/x" in shown.out) == (0, False, True)
    monkeypatch.setenv("COUNTERFLOW_CENTRAL_PORT", "many")
    assert (run("config", "check").code, "port" in run("config", "check").err) == (78, True)


def test_every_command_has_its_help() -> None:
    """And `--version` says which this is."""
    assert "counterflow-central 0." in run("--version").out
    for group in ([], ["stations"], ["parked"], ["integrations"], ["stations", "import"]):
        said = run(*group, "--help")
        assert (said.code, "Usage" in said.out) == (0, True)


def test_help_of_totals_tells_the_days_that_are_compared() -> None:
    """Stores may be ahead of UTC, so the last day is tomorrow."""
    assert "default: tomorrow" in " ".join(run("totals", "--help").out.replace("│", " ").split())
