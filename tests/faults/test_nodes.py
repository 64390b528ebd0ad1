"""Two central nodes on PostgreSQL: one dies, the database stops at once, and nobody's sale suffers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.seller import Seller, reckon
from tests.support.chain import Chain
from tests.support.postgres import PostgresCluster, PostgresUnavailable


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    try:
        with PostgresCluster() as cluster:
            yield cluster
    except PostgresUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
async def two_nodes(tmp_path: Path, cluster: PostgresCluster) -> AsyncIterator[Chain]:
    async with Chain(tmp_path, stations=2, cluster=cluster, nodes=2) as chain:
        yield chain


async def test_a_node_that_dies_is_nobodys_problem(two_nodes: Chain) -> None:
    """Node 2 is killed while both stations sell; its station is led to node 1; each sale arrives and leaves once."""
    one, two = two_nodes.stations
    async with Seller(one) as first, Seller(two) as second:
        for _ in range(3):
            enough = len(second.accepted) + 30
            await second.reached(enough)
            await two_nodes.restart_centre(1)
        two_nodes.nodes[1].kill()
        two.proxy.target = ("127.0.0.1", two_nodes.node_ports[0])
        await second.reached(len(second.accepted) + 30)
        await first.reached(len(first.accepted) + 5)
        await two_nodes.until("the backlog is sent", two_nodes.backlog_is_empty)
    await reckon(two_nodes, first, second)


async def test_a_database_that_stops_at_once_loses_nothing(
    two_nodes: Chain, cluster: PostgresCluster
) -> None:
    """PostgreSQL is stopped as by a power cut and comes back; what was acknowledged is there."""
    one, two = two_nodes.stations
    async with Seller(one) as first, Seller(two) as second:
        for _ in range(3):
            await first.reached(len(first.accepted) + 20)
            cluster.stop("immediate")
            await second.reached(len(second.accepted) + 20)
            cluster.start()
        await first.reached(len(first.accepted) + 10)
    await reckon(two_nodes, first, second)
