"""What a user runs against a test system of his own: it looks, reads, makes one record and takes it back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from typer.testing import CliRunner

from central.cli.connectors import app
from central.conformance.safe import run
from central.connectors.base import Rejection, Target, Trait, Written
from tests.support.clock import ManualClock
from tests.support.emulator import Emulator
from tests.support.emulator_connector import EmulatorConnector, EmulatorSettings


class WithParties(EmulatorConnector):
    """Parties in memory; `stuck` ones cannot be taken back."""

    targets: ClassVar[Mapping[str, Target]] = {
        "party": Target("Party", {"name": Trait("text", required=True)}, undo=True)
    }
    parties: dict[str, str]
    stuck = False

    async def find(
        self, target: str, field_name: str, values: Collection[str]
    ) -> Mapping[str, Sequence[str]]:
        return {value: [key for key, name in self.parties.items() if name == value] for value in values}

    async def create(self, target: str, record: Mapping[str, Any]) -> Written:
        self.parties[str(len(self.parties))] = record["name"]
        return Written(str(len(self.parties) - 1))

    async def undo(self, target: str, ids: Sequence[str]) -> Mapping[str, Rejection]:
        if self.stuck:
            return {ids[0]: Rejection("it is in use")}
        for one in ids:
            del self.parties[one]
        return {}


def connector(url: str, **settings: Any) -> WithParties:
    one = WithParties("trial", EmulatorSettings.model_validate({"url": url} | settings), ManualClock())
    one.parties = {}
    return one


async def test_it_reads_all_and_leaves_nothing_behind():
    """With `write`, one record is made, found and taken back."""
    async with Emulator() as emulator:
        emulator.put("1", code="A")
        one = connector(emulator.url)
        assert [(finding.what, finding.ok) for finding in await run(one, write=True)] == [
            ("signed in", True),
            ("read items", True),
            ("write and take back party", True),
        ]
        assert one.parties == {}


async def test_undeclared_fields_and_what_stays_are_told():
    """A field that the connector does not declare, and a record that cannot be taken back."""
    async with Emulator() as emulator:
        emulator.put("1", strange="A")
        one = connector(emulator.url)
        one.stuck = True
        told = {finding.what: finding.detail for finding in await run(one, write=True) if not finding.ok}
        assert told["read items"] == "undeclared fields strange"
        assert "it is in use" in told["write and take back party"]


async def test_a_closed_door_ends_it():
    """Who is not let in is told that, and nothing else."""
    async with Emulator() as emulator:
        findings = await run(connector(emulator.url, password="wrong"), write=True)
        assert [(finding.what, finding.ok) for finding in findings] == [("signed in", False)]


def test_the_command_tries_a_drop_folder(tmp_path: Path):
    """An integration's own file serves as settings."""
    (tmp_path / "drop").mkdir()
    settings = tmp_path / "files.toml"
    settings.write_text(f'[settings]\nfolder = "{(tmp_path / "drop").as_posix()}"\n', encoding="utf-8")
    done = CliRunner().invoke(app, ["test", "drop_folder", "--settings", str(settings)])
    assert done.exit_code == 1
    assert "folder" in done.output


def test_wrong_settings_are_told_by_name(tmp_path: Path):
    """What is missing and what is not known, in a sentence."""
    settings = tmp_path / "mine.toml"
    settings.write_text('[settings]\nfile = "x"\n', encoding="utf-8")
    done = CliRunner().invoke(app, ["test", "tryton", "--settings", str(settings)])
    assert done.exit_code != 0
    assert "mine.toml" in str(done.output)
    assert "password" in done.output
    assert "Traceback" not in done.output
