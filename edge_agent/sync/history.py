"""Read back what only the centre still holds of this station (R7): for returns, and as a second copy.

A restored or replaced station misses documents that its former self made. They are history, not journal: never
pushed again, and an empty tail is no reason to wait; selling goes on meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.db.journal import Journal
from edge_agent.sync.client import CentreClient
from edge_agent.sync.sessions import SessionHolder
from shared.canonical import sha256
from shared.errors import ConnectionFailed
from shared.journal import heads

log = logging.getLogger(__name__)

Pair = tuple[bytes, bytes]


class HistoryReader:
    """Fetches, page by page, the epochs that the session named as held by the centre alone."""

    def __init__(self, journal: Journal, client: CentreClient, sessions: SessionHolder) -> None:
        self._journal = journal
        self._client = client
        self._sessions = sessions
        # A damaged document is not stored, so what is stored does not tell how far an epoch was read.
        self._read_to: dict[bytes, int] = {}

    async def read_page(self) -> bool:
        """Fetch one page of the first epoch that is not whole here.

        Returns:
            whether there was something to fetch.
        """
        others = self._sessions.others
        while others:
            epoch = bytes.fromhex(others[0].epoch)
            after = max(await self._journal.history_last(epoch), self._read_to.get(epoch, 0))
            missing = after < others[0].last and await self._journal.head_at(epoch, others[0].last) is None
            if missing and await self._fetch(epoch, after):
                return True
            others.pop(0)
        return False

    async def _fetch(self, epoch: bytes, after: int) -> bool:
        envelope, documents = await self._sessions.call(
            lambda token: self._client.history(token, epoch.hex(), after)
        )
        if not documents:
            return False
        damaged = whole_page(envelope, documents, after)
        for first_seq, run in undamaged_runs(documents, after + 1, damaged):
            await self._journal.store_history(epoch, first_seq, run)
        self._read_to[epoch] = after + len(documents)
        log.info("history_read_back", extra={"epoch": epoch.hex(), "after": after, "count": len(documents)})
        return True


def whole_page(envelope: Mapping[str, Any], documents: Sequence[Pair], after: int) -> set[int]:
    """Check that a page is the one asked for and that its chain holds; return the seqs of damaged documents.

    Raises:
        ConnectionFailed: it begins elsewhere, or its bytes do not lead to the head that it states.
    """
    try:
        recorded = {
            int(seq): (bytes.fromhex(h), bytes.fromhex(p)) for seq, (h, p) in envelope["damaged"].items()
        }
        hashes = [
            recorded.get(seq) or (sha256(header), sha256(payload))
            for seq, (header, payload) in enumerate(documents, after + 1)
        ]
        last_head = heads(bytes.fromhex(envelope["prev_head"]), after + 1, hashes)[-1]
        fits = envelope["first_seq"] == after + 1 and last_head.hex() == envelope["last_head"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConnectionFailed(f"the history page is malformed: {error}", code="wrong-answer") from error
    if not fits:
        raise ConnectionFailed(
            f"the history after position {after} does not fit its head", code="wrong-answer"
        )
    return set(recorded)


def undamaged_runs(
    documents: Sequence[Pair], first_seq: int, damaged: set[int]
) -> list[tuple[int, list[Pair]]]:
    """The documents without the damaged ones, as runs of neighbouring positions."""
    runs: list[tuple[int, list[Pair]]] = []
    for seq, pair in enumerate(documents, first_seq):
        if seq in damaged:
            continue
        if runs and runs[-1][0] + len(runs[-1][1]) == seq:
            runs[-1][1].append(pair)
        else:
            runs.append((seq, [pair]))
    return runs
