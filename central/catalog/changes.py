"""Pages of changes as stations get them: encoded and compressed once, whoever asks and however many.

A page is named by scope, generation, cursor and the head that it was read at, so it never goes stale: a station that
asks after the next publication asks under the next head.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from central.db.catalog import Page, ScopeState, read_page
from central.db.database import Database
from shared.errors import Gone
from shared.protocol import framing, wire
from shared.protocol.messages import Limits

PAGE_MAX_BYTES = 4 << 20
"""Of payloads in one page; one row is always taken."""
CACHE_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class EncodedPage:
    """A page as it travels, plain and compressed."""

    plain: tuple[bytes, Mapping[str, str]]
    packed: tuple[bytes, Mapping[str, str]]

    @property
    def size(self) -> int:
        return len(self.plain[0]) + len(self.packed[0])


_Name = tuple[int, bytes, int, int]


class Pages:
    """The pages of this node, the most recently used ones within a bound of bytes."""

    def __init__(
        self, database: Database, *, rows_max: int = Limits.PAGE_ROWS, bytes_max: int = PAGE_MAX_BYTES
    ) -> None:
        self._database = database
        self._rows_max = rows_max
        self._bytes_max = bytes_max
        self._pages: OrderedDict[_Name, EncodedPage] = OrderedDict()
        self._size = 0
        self._reading: dict[_Name, asyncio.Task[EncodedPage]] = {}
        self.encoded = 0  # how many pages were made

    async def page(self, state: ScopeState | None, scope: str, gen: str, after: int) -> EncodedPage:
        """The rows of a scope after a cursor.

        Args:
            state: the scope as the station's view has it.
        Raises:
            Gone: another generation, a cursor that no head ever reached, or one whose deletions are purged.
        """
        state = _checked(state, scope, gen, after)
        name = (state.scope_no, state.gen, after, state.head)
        if name in self._pages:
            self._pages.move_to_end(name)
            return self._pages[name]
        reading = self._reading.get(name)
        if reading is None:
            reading = self._reading[name] = asyncio.create_task(self._make(name, scope))
            reading.add_done_callback(lambda _: self._reading.pop(name, None))
        return await asyncio.shield(reading)

    async def _make(self, name: _Name, scope: str) -> EncodedPage:
        _, gen, after, _ = name
        async with self._database.read() as connection:
            page = await read_page(connection, scope, after, self._rows_max, self._bytes_max)
        # It may have moved on since the station's view: what counts is the view that the rows were read in.
        state = _checked(page.state if page else None, scope, gen.hex(), after)
        assert page is not None
        encoded = await asyncio.to_thread(encode, page, after)
        self.encoded += 1
        self._keep((state.scope_no, state.gen, after, state.head), encoded)
        return encoded

    def _keep(self, name: _Name, page: EncodedPage) -> None:
        if name not in self._pages:
            self._pages[name] = page
            self._size += page.size
        while self._size > CACHE_MAX_BYTES:
            _, oldest = self._pages.popitem(last=False)
            self._size -= oldest.size


def _checked(state: ScopeState | None, scope: str, gen: str, after: int) -> ScopeState:
    if state is None or state.gen.hex() != gen:
        raise Gone(f'the scope "{scope}" has another generation', hint="fetch the manifest again")
    if after > state.head:
        raise Gone(
            f'the cursor {after} is above the head {state.head} of "{scope}"', hint="take the scope anew"
        )
    if 0 < after < state.floor:
        raise Gone(f'deletions up to {state.floor} of "{scope}" are purged', hint="take the scope's snapshot")
    return state


def encode(page: Page, after: int) -> EncodedPage:
    """The page's body: an envelope line that lists the rows, then one payload line for each."""
    envelope = {
        "scope": page.state.scope,
        "gen": page.state.gen.hex(),
        "after": after,
        "up_to_date": page.up_to_date,
        "head": page.state.head,
        "rows": [
            [row.seq, row.entity, row.key, row.version.hex() if row.version else None] for row in page.rows
        ],
    }
    if page.up_to_date:
        envelope |= {"count": page.state.digest.count, "digest": page.state.digest.hex}
    body = framing.join(envelope, (row.payload or b"" for row in page.rows))
    return EncodedPage(wire.pack(body, compress=False), wire.pack(body))
