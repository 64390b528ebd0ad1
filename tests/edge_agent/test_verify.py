"""`verify` finds what was done to a journal behind its back, and names the place."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge_agent.db.reader import JournalReader
from edge_agent.verify import verify
from tests.support.till import open_till


@pytest.mark.parametrize(
    ("statement", "check", "what"),
    [
        (
            "UPDATE documents SET payload = CAST(replace(payload, '500', '900') AS BLOB) WHERE doc_no = 2",
            "documents",
            "payload",
        ),
        # The same by hand, as TEXT.
        (
            "UPDATE documents SET payload = replace(payload, '500', '900') WHERE doc_no = 2",
            "documents",
            "payload",
        ),
        (
            "UPDATE documents SET header = replace(header, 'sale', 'sold') WHERE doc_no = 2",
            "documents",
            "header",
        ),
        ("UPDATE documents SET payload_hash = zeroblob(32) WHERE doc_no = 2", "chain", "follow"),
        ("UPDATE journal SET head = zeroblob(32) WHERE seq = 2", "chain", "follow"),
        ("DELETE FROM journal WHERE seq = 2", "positions", "missing"),
        ("DELETE FROM journal WHERE seq = 2", "positions", "no position"),
        ("DELETE FROM documents WHERE doc_no = 2", "documents", "is not"),
        ("UPDATE day_totals SET amount_minor = amount_minor + 1", "totals", "1501"),
        ("DELETE FROM day_totals", "totals", "the total is 0"),
        (
            "UPDATE epochs SET first = 3, prev_head = (SELECT head FROM journal WHERE seq = 2)",
            "purge",
            "only 0",
        ),
        ("UPDATE epochs SET safe_seq = 3, safe_head = zeroblob(32)", "chain", "another one"),
    ],
)
async def test_a_change_behind_its_back_is_found(
    tmp_path: Path, statement: str, check: str, what: str
) -> None:
    """Each kind of damage has its finding."""
    till = await open_till(tmp_path)
    for _ in range(3):
        await till.sell(500)
    await till.journal.day_totals("")
    assert await verify(till.journal) == []
    await till.journal.close()
    connection = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    connection.execute(statement)
    connection.close()

    reader = await JournalReader.open_existing(tmp_path / "journal.db")
    findings = await verify(reader)
    await reader.close()

    assert [f for f in findings if f.check == check and what in f.what], findings


@pytest.mark.parametrize(
    "value",
    [
        "CAST('x' || substr(payload, 2) AS BLOB)",
        "replace(payload, '\"CASH\"', '\"CASK\"')",
        "CAST(X'FF' || payload AS TEXT)",
        "5",
    ],
    ids=["bytes", "text", "text that is no UTF-8", "a number"],
)
async def test_a_flipped_bit_is_read_as_damaged_and_the_chain_goes_on(tmp_path: Path, value: str) -> None:
    """Whatever type SQLite gives what was put there: it goes up with its recorded hashes, those behind it are whole."""
    till = await open_till(tmp_path)
    for n in range(3):
        await till.sell(n + 1)
    epoch = till.journal.current_epoch
    await till.journal.close()
    connection = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    connection.execute(f"UPDATE documents SET payload = {value} WHERE doc_no = 2")
    connection.close()
    till = await open_till(tmp_path)
    stored = await till.journal.read(epoch, 1, 3, 1 << 20)
    exported = b"".join([chunk async for chunk in till.journal.export()])
    await till.journal.close()

    assert [d.damaged for d in stored] == [False, True, False]
    assert b'"damaged":{' in exported
