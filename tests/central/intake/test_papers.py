"""Orders, stock and money documents of a station, applied on a real database, and what `verify` says of their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from central.centre import Centre
from central.verify import verify
from shared.canonical import canonical
from shared.documents import references_of
from tests.support.centre import count, enrolled, open_centre
from tests.support.papers import PAPERS, order
from tests.support.sales import Document, doc_id, header, sale


def paper(n: int, kind: str, payload: dict[str, Any]) -> Document:
    """As the station seals it."""
    return canonical(header(n, kind=kind, refs=references_of(payload))), canonical(payload)


def one_of_each() -> list[Document]:
    """The order return and the goods receipt come before what they build upon."""
    later = [paper(n, kind, payload) for n, (kind, payload) in enumerate(PAPERS.items(), 10)]
    return [*later, paper(1, "order", order()), paper(2, "purchase", PAPERS["purchase"])]


async def change(centre: Centre, statement: str) -> None:
    async with centre.database.write() as connection:
        await connection.execute(text(statement))


async def test_papers_of_a_station_become_rows(database_url: str, tmp_path: Path) -> None:
    """Each kind has its row, its lines, links and units; those that build on another wait until it is there."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(centre, one_of_each())
        await centre.applier.drain()
        assert await count(centre, "papers") == await count(centre, "documents") == len(PAPERS) + 2
        assert await count(centre, "payments") == 0
        assert await count(centre, "paper_links") == 3
        assert await count(centre, "paper_units", "what = 'lot'") == 1
        report = await verify(centre.database)
        assert report.findings == []


async def test_a_paper_is_delivered_like_any_document(database_url: str, tmp_path: Path) -> None:
    """An integration that asks for orders gets them."""
    async with open_centre(database_url, tmp_path) as centre:
        settings = {"folder": str(tmp_path / "drop")}
        await centre.integrations.create("erp", "drop_folder", settings, ["order"], from_ms=0)
        station = await enrolled(centre)
        await station.push(centre, [paper(1, "order", order()), sale(2)])
        await centre.applier.drain()
        assert await count(centre, "deliveries") == 1


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("DELETE FROM papers", "without its own row"),
        ("DELETE FROM lines", "0 lines of 0"),
        ("UPDATE documents SET total_minor = 1", "its row says total 1"),
        ("UPDATE papers SET doc_no = 99", "row of table papers: document 99"),
    ],
)
async def test_verify_sees_damaged_rows_of_papers(
    damage: str, what: str, database_url: str, tmp_path: Path
) -> None:
    """As with receipts, rows that are not what the payload says are found."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        await station.push(centre, [paper(1, "order", order())])
        await centre.applier.drain()
        await change(centre, damage)
        report = await verify(centre.database)
        assert any(what in finding.what for finding in report.findings), report.findings


async def test_an_order_that_changes_refers_to_the_one_before(database_url: str, tmp_path: Path) -> None:
    """A new document that is based on the old one; both stay as they were sealed."""
    async with open_centre(database_url, tmp_path) as centre:
        station = await enrolled(centre)
        changed = order("delivered", based_on=[{"doc_id": doc_id(1)}])
        await station.push(centre, [paper(2, "order", changed), paper(1, "order", order())])
        await centre.applier.drain()
        async with centre.database.read() as connection:
            found = await connection.execute(text("SELECT status FROM papers ORDER BY doc_no"))
            assert list(found.scalars()) == ["delivered", "new"]
