"""An integration's settings looked at again: when it is asked for, and on a schedule (S9).

Drift is told before data fails: rights that were taken away, codes and fields that are gone. What was found stays with
the integration; one finding that is not ok makes it a case for a person.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from central.connectors.base import Finding, TargetAway, TargetDenies
from central.db import integrations as table
from central.db import leases
from central.db.database import Database
from central.integrations.build import check_names, findings_of
from central.integrations.definition import seconds_of
from central.integrations.integration import Integration
from central.integrations.registry import Integrations
from shared.clock import Clock
from shared.errors import BadInput, CounterflowError

LOOK_S = 30.0
LEASE_S = 300.0
logger = logging.getLogger(__name__)


class Checks:
    """Checks what is due until it is cancelled; one node does, whichever is first."""

    def __init__(self, database: Database, integrations: Integrations, clock: Clock, *, node: str) -> None:
        self._database = database
        self._integrations = integrations
        self._clock = clock
        self._node = "the only one" if database.is_sqlite else node

    async def run(self) -> None:
        while True:
            for one in self._integrations.enabled():
                try:
                    await self.step(one)
                except Exception:
                    logger.exception("check_failed", extra={"integration": one.name})
            await self._clock.sleep(LOOK_S)

    async def step(self, one: Integration) -> bool:
        """Check an integration if it is due; whether it was."""
        async with self._database.read() as connection:
            now_ms = await self._database.now_ms(connection)
        if (
            one.checked_ms is not None
            and now_ms < one.checked_ms + seconds_of(one.definition.check_every) * 1000
        ):
            return False
        if not await leases.take(self._database, f"check/{one.integration_no}", self._node, LEASE_S):
            return False
        await self.check(one)
        return True

    async def check(self, one: Integration) -> Sequence[Finding]:
        """Look now, and keep what was found."""
        findings = await self._findings(one)
        text = orjson.dumps([asdict(finding) for finding in findings]).decode()

        async def work(connection: AsyncConnection) -> None:
            now_ms = await self._database.now_ms(connection)
            await table.change(connection, one.integration_no, checked_ms=now_ms, findings=text)

        await self._database.run(work)
        await self._integrations.load()
        wrong = [finding for finding in findings if not finding.ok]
        if wrong and {asdict(finding)["what"] for finding in wrong} - {
            old.what for old in one.findings if not old.ok
        }:
            told = "; ".join(f"{finding.what}: {finding.detail}" for finding in wrong)
            logger.warning("integration_drifts", extra={"integration": one.name, "findings": told})
        return findings

    async def _findings(self, one: Integration) -> list[Finding]:
        """What the connector finds over there, and whether the definition still fits what it declares."""
        try:
            check_names(self._integrations.kind(one.definition), one.definition)
        except BadInput as error:
            return [Finding("definition", ok=False, detail=error.what, hint=error.hint)]
        try:
            return await findings_of(self._integrations.connector(one))
        except (TargetAway, TargetDenies) as error:
            return [Finding("reached", ok=False, detail=error.what, hint=error.hint)]
        except CounterflowError as error:
            return [Finding("settings", ok=False, detail=error.what, hint=error.hint)]
