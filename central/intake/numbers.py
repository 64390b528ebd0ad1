"""Numbers of documents, for every door of this process: PostgreSQL's sequence; on SQLite the one writer counts on."""

from __future__ import annotations

from collections.abc import Iterator

from central.db import journal as rows
from central.db.transactions import Transaction


class DocNumbers:
    """Draws numbers inside the transaction that uses them.

    Invariant: on SQLite all doors share one of these, and who draws holds the write lock; so no number is given twice.
    """

    def __init__(self) -> None:
        self._next = 0

    async def draw(self, transaction: Transaction, count: int) -> Iterator[int]:
        """*count* fresh numbers, rising."""
        if not transaction.is_sqlite:
            return iter(await rows.draw_doc_nos(transaction, count))
        if self._next == 0:
            self._next = await rows.first_doc_no(transaction)
        first, self._next = self._next, self._next + count
        return iter(range(first, first + count))

    def forget(self) -> None:
        """Whatever was counted may not have been committed: look again."""
        self._next = 0
