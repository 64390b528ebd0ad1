"""The one way of what comes in to the catalog, for handed-in lists and for what connectors read alike.

`ListProgress` checks rows one by one and gathers what is accepted; `publish` writes it and counts what really changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from central.catalog.publish import Complete, Note, PublishResult
from central.integrations.progress import ListProgress
from shared.catalog.changes import Change


class PublishPort(Protocol):
    """What of `central.catalog.publish.Publisher` is used here."""

    async def publish(
        self,
        changes: Mapping[str, Sequence[Change]],
        complete: Sequence[Complete] = (),
        *,
        note: Note | None = None,
    ) -> Mapping[str, PublishResult]: ...


async def publish(
    publisher: PublishPort,
    progress: ListProgress,
    complete: Sequence[Complete] = (),
    note: Note | None = None,
) -> None:
    """Write what was accepted since the last time.

    Args:
        complete: the list is over, and was complete for these.
        note: told of every change in the publication's own transaction.
    """
    if not progress.changes and not complete:
        return
    for scope, result in (await publisher.publish(progress.changes, complete, note=note)).items():
        progress.written += result.written
        progress.absent += result.absent
        if result.written:
            first, _ = progress.seqs.get(scope, (result.seq_from, 0))
            progress.seqs[scope] = [first, result.seq_to]
    progress.changes = {}
    progress.held = 0
