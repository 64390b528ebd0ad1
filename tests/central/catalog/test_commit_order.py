"""I11: a scope's seqs rise in commit order, whoever publishes; a reader at a head has seen every change up to it."""

from __future__ import annotations

import asyncio
import random

from central.catalog.changes import Pages
from central.catalog.publish import Publisher
from central.db.catalog import find_scope
from central.db.database import Database
from tests.support.catalog import Shelf, gone, open_database, product, unpacked

NODES = 4
ROUNDS = 25
KEYS = 12
SCOPES = ("base", "store/S1", "group/G1")


async def publish_at_random(url: str, seed: int) -> int:
    """One node's publisher: random rows, deletions among them, into one to three scopes at once."""
    rng = random.Random(seed)
    database = Database(url)
    written = 0
    try:
        for turn in range(ROUNDS):
            changes = {
                # In an order of its own: the lock order must not depend on the caller.
                scope: [
                    gone(f"P{key}") if rng.random() < 0.3 else product(f"P{key}", f"{seed}/{turn}")
                    for key in rng.sample(range(KEYS), rng.randint(1, 5))
                ]
                for scope in rng.sample(SCOPES, rng.randint(1, 3))
            }
            done = await Publisher(database).publish(changes)
            written += sum(result.written for result in done.values())
    finally:
        await database.close()
    return written


async def follow(database: Database, scope: str, stop: asyncio.Event) -> Shelf:
    """A station that fetches small pages without a pause: at every head its rows are the ones that HQ counts."""
    pages = Pages(database, rows_max=3)
    shelf = Shelf()
    gen = ""
    while True:
        last_look = stop.is_set()
        async with database.read() as connection:
            state = await find_scope(connection, scope)
        if state is not None:
            gen = gen or state.gen.hex()
            up_to_date = False
            while not up_to_date:
                async with database.read() as connection:
                    state = await find_scope(connection, scope)
                page = await pages.page(state, scope, gen, shelf.seq)
                up_to_date = shelf.apply(unpacked(*page.plain))
            assert shelf.digest == shelf.told
        if last_look:
            return shelf
        await asyncio.sleep(0)


async def test_no_reader_ever_misses_a_change_of_concurrent_publishers(database_url: str) -> None:
    """Four nodes publish into three scopes at random while readers follow; every reader is right at every head."""
    nodes = 1 if database_url.startswith("sqlite") else NODES
    async with open_database(database_url) as database:
        stop = asyncio.Event()
        readers = [asyncio.create_task(follow(database, scope, stop)) for scope in SCOPES]
        written = await asyncio.gather(*(publish_at_random(database_url, seed) for seed in range(nodes)))
        stop.set()
        shelves = await asyncio.gather(*readers)
        heads = []
        for scope in SCOPES:
            async with database.read() as connection:
                state = await find_scope(connection, scope)
            assert state is not None
            heads.append(state.head)
        assert [shelf.seq for shelf in shelves] == heads
        assert sum(heads) == sum(written)  # every change took one seq: none twice, no hole
