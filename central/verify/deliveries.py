"""Rows and deliveries appear together or not at all (I2): what is applied is to be delivered, and nothing else is."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from central.db import deliveries, group_desk
from central.db import verify as rows
from central.db.database import AnyRow
from central.integrations.integration import from_row
from central.verify.report import FINDINGS_MAX, Finding, Report


async def check_deliveries(connection: AsyncConnection, report: Report) -> None:
    """Every enabled integration, by the question that the sweep asks."""
    for doc_no in await rows.unapplied_deliveries(connection):
        report.add(Finding("deliveries", f"document {doc_no} has a delivery but was never applied"))
    for row in await rows.stuck_deliveries(connection):
        batch = (
            f"batch {row.batch_id}, which is done"
            if row.batch_id
            else f"batch {row.batch_no}, which is not there"
        )
        report.add(Finding("deliveries", f"document {row.doc_no} is {row.state} in {batch}"))
    for row in await group_desk.unsound(connection):
        report.add(
            Finding(
                "deliveries",
                f"group {row.group_no} ({row.group_key}) is {row.state} with {row.size} documents: "
                f"{row.members} are in it, {row.unsettled} of their deliveries are in a state that does not fit",
            )
        )
    for doc_no in await group_desk.without_group(connection):
        report.add(Finding("deliveries", f"document {doc_no} is delivered with a group, but is in none"))
    for integration in await rows.active_integrations(connection):
        for doc_no in await _missing(connection, integration):
            report.add(
                Finding(
                    "deliveries",
                    f"document {doc_no} is applied, but {integration.name} was never to get it",
                    hint="the sweep puts this right within a minute; if it stays, see the server's log",
                )
            )
        report.count("integrations", 1)


async def _missing(connection: AsyncConnection, integration: AnyRow) -> list[int]:
    """Applied documents that this integration was never to get, by the question that the sweep asks."""
    found: list[int] = []
    one = from_row(integration)
    for effect, kinds in one.effects().items():
        found += await deliveries.missing(
            connection, one.integration_no, effect, kinds, one.since_ms(effect), 0, FINDINGS_MAX
        )
    return found
