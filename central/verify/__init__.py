"""Prove what the centre's database says about itself: the invariants that stored rows can show.

Everything is read in one consistent view, in pages, while the centre works on.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import verify as rows
from central.db.database import Database
from central.monitoring import totals
from central.verify.catalog import check_catalog
from central.verify.chains import check_chain
from central.verify.deliveries import check_deliveries
from central.verify.documents import check_documents, check_orphans
from central.verify.report import Finding, Report

__all__ = ["Finding", "Report", "verify", "verify_in"]


async def verify(database: Database, station: str | None = None) -> Report:
    """Check everything, or what one station sent."""
    async with database.read() as connection:
        return await verify_in(connection, station)


async def verify_in(connection: AsyncConnection, station: str | None = None) -> Report:
    """`verify` in the caller's view."""
    report = Report()
    epochs = await rows.all_epochs(connection, station)
    station_codes = {epoch.station_no: epoch.station for epoch in epochs}
    for epoch in epochs:
        await check_chain(connection, epoch, report)
    if station is None:
        await check_documents(connection, None, station_codes, report)
        await check_orphans(connection, report)
        await check_deliveries(connection, report)
        await check_catalog(connection, report)
    else:
        for station_no in station_codes:
            await check_documents(connection, station_no, station_codes, report)
    await _totals(connection, station, report)
    return report


async def _totals(connection: AsyncConnection, station: str | None, report: Report) -> None:
    for total in await totals.lacking(connection, station):
        code, business_date, kind, currency = total.key
        said, stored = total.station or (0, 0), total.centre
        report.add(
            Finding(
                "totals",
                f"{business_date} {kind} {currency}: the station counts {said[0]} payments of {said[1]} in all, "
                f"the centre has {stored[0]} of {stored[1]}",
                station=code,
                hint="the station says that it has sent all: run `counterflow-agent verify` there",
            )
        )
