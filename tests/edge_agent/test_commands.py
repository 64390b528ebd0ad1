"""What a technician sees of the agent's command line, tried without a centre and without a running agent."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent import local_client
from edge_agent.commands import STATUS_FIRST, app
from edge_agent.run import run_options
from shared.errors import BadInput


async def _page(*_: object) -> dict[str, object]:
    return {"alarms": [], "backlog": 3, "currency": "EUR", "line": "up", "station": "S1-T1"}


def test_something_typed_that_is_no_code_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """It never reaches the network, and no trace is shown."""
    command = ["enroll", "WRONG", "--server", "http://127.0.0.1:9", "--data-dir", str(tmp_path)]

    result = CliRunner().invoke(app, command)

    assert isinstance(result.exception, BadInput)
    assert (result.exception.name, "HQ" in result.exception.hint) == ("unknown-code", True)
    assert '"WRONG"' in result.exception.what


def test_status_begins_with_what_a_technician_looks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who it is, the line, the backlog; everything else follows."""
    monkeypatch.setattr(local_client, "ask", _page)

    result = CliRunner().invoke(app, ["status", "--data-dir", str(tmp_path)])

    names = [line.partition(":")[0] for line in result.stdout.splitlines()]
    assert names == ["station", "line", "backlog", "alarms", "currency"]
    assert names[:4] == [name for name in STATUS_FIRST if name in names]


def test_the_options_of_run_can_be_looked_at_without_running() -> None:
    """`run` stays outside the command-line library, so its options stand in a parser of their own."""
    given = run_options().parse_args(["--instance", "till1", "--port", "8078"])

    assert (given.instance, given.port, given.server) == ("till1", 8078, None)
