"""A backup is put back in the database's place: whole, beside nothing that could ruin it, and undoable."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from central.backup import put_back
from central.cli import app
from shared.errors import BadInput

MAGIC = b"SQLite format 3\0"


def test_what_stood_there_is_kept_with_its_log(tmp_path: Path) -> None:
    """The log of the replaced database would be played into the restored one if it stayed beside it."""
    backup, target = tmp_path / "backup.db", tmp_path / "data" / "central.db"
    target.parent.mkdir()
    backup.write_bytes(MAGIC + b"backup")
    for suffix in ("", "-wal", "-shm"):
        target.with_name(target.name + suffix).write_bytes(b"old" + suffix.encode())

    aside = put_back(backup, target, 17)

    assert target.read_bytes() == backup.read_bytes()
    assert aside == target.with_name("central.db.before-restore-17")
    assert sorted(path.name for path in target.parent.iterdir()) == [
        "central.db",
        "central.db.before-restore-17",
        "central.db.before-restore-17-shm",
        "central.db.before-restore-17-wal",
    ]


def test_a_new_machine_has_nothing_to_keep(tmp_path: Path) -> None:
    """The folder is made."""
    backup, target = tmp_path / "backup.db", tmp_path / "new" / "central.db"
    backup.write_bytes(MAGIC)

    assert put_back(backup, target, 17) is None
    assert target.read_bytes() == MAGIC


@pytest.mark.parametrize("content", [None, b"", b"-- SQL dump"])
def test_what_is_no_database_replaces_nothing(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty or other file is refused before anything is moved."""
    backup, target = tmp_path / "backup.db", tmp_path / "central.db"
    target.write_bytes(b"live")
    if content is not None:
        backup.write_bytes(content)

    with pytest.raises(BadInput, match="backup"):
        put_back(backup, target, 17)
    assert target.read_bytes() == b"live"


def test_one_command_brings_a_backup_back(tmp_path: Path) -> None:
    """`init`, `backup`, loss, `after-restore --from`: the admin key of before is known again."""
    data, copy = tmp_path / "data", tmp_path / "copy.db"
    runner = CliRunner(env={"COUNTERFLOW_CENTRAL_DATA_DIR": str(data)})
    for command in (["init"], ["backup", str(copy)]):
        assert runner.invoke(app, command).exit_code == 0
    (data / "central.db").write_bytes(b"ruined")

    result = runner.invoke(app, ["after-restore", "--from", str(copy), "--yes"])

    assert (result.exit_code, "is in place" in result.stderr) == (0, True), result.output
    assert "set up already" in runner.invoke(app, ["init"]).stderr
