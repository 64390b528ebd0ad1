"""What a pull would do, before it does it: all of the source is read, nothing is written (B11).

Counts of new, updated, unchanged and unclear, the rows by name, every error by record and field, samples of input and
output, and what would be absent. Works for a definition that is not stated yet, too.
"""

from __future__ import annotations

from typing import Any

from central.catalog.publish import Complete
from central.connectors.base import Connector, Page
from central.db import catalog
from central.integrations.definition import Pull
from central.integrations.integration import Integration
from central.integrations.pages import LISTED, SAMPLES
from central.integrations.pull_run import Ports, Run
from shared.catalog.entities import ENTITIES
from shared.errors import BadInput


async def dry_run(ports: Ports, one: Integration, pull: Pull, connector: Connector) -> dict[str, Any]:
    """Read all and tell what would become of it.

    Raises:
        TargetAway, TargetDenies, NoAnswer: the other system cannot be read.
    """
    run = Run(ports, one, pull, connector, 0, True, None, lambda: None)
    documents = _Documents(run)
    await run.through(documents.take if pull.document else _only_look(run))
    tally, progress = run.pages.tally, run.progress
    unclear = progress.rejected
    absent: dict[str, list[str]] = {}
    if pull.entity is not None:
        absent = {ended.scope: await _absent(ports, ended) for ended in progress.complete()}
    return {
        "integration": one.name,
        "pull": pull.name,
        "entity": pull.entity,
        "document": pull.document,
        **tally.counts(),
        "unclear": unclear,
        "absent": sum(map(len, absent.values())),
        "absence": pull.absence or (ENTITIES[pull.entity].absence if pull.entity else None),
        "listed": tally.listed
        | {"absent": [f"{scope} {key}" for scope, keys in absent.items() for key in keys][:LISTED]},
        "errors": progress.errors,
        "samples": tally.samples,
    }


def _only_look(run: Run) -> Any:
    async def take(page: Page) -> None:
        async with run.ports.database.read() as connection:
            await run.pages.take(page.records, connection)
        run.progress.changes, run.pages.became = {}, []

    return take


async def _absent(ports: Ports, ended: Complete) -> list[str]:
    """Rows of the scope that the source does not have, where that means anything."""
    if (ended.absence or ENTITIES[ended.entity].absence) == "keep":
        return []
    async with ports.database.read() as connection:
        state = await catalog.find_scope(connection, ended.scope)
        if state is None:
            return []
        live = await catalog.live_versions(ports.database, connection, state.scope_no, ended.entity)
    return sorted(live.keys() - set(ended.keys))


class _Documents:
    """Records that would become documents: mapped, and shown as samples."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def take(self, page: Page) -> None:
        run, tally = self._run, self._run.pages.tally
        async with run.ports.database.read() as connection:
            wanted = {asked for record in page.records for asked in run.shaper.look_ups(record)}
            codes = await run.ports.codes.look_up(connection, wanted) if wanted else {}
        for record in page.records:
            tally.records += 1
            run.progress.rows += 1
            found = ""
            try:
                if not run.shaper.wants(record):
                    tally.filtered += 1
                    continue
                found = run.shaper.id_of(record)
                payload = run.shaper.values(record, codes)
            except BadInput as error:
                run.progress.reject(tally.records, None, str(error), id=found)
                continue
            tally.note("new", found)
            if len(tally.samples) < SAMPLES:
                tally.samples.append({"id": found, "input": dict(record), "output": payload})
