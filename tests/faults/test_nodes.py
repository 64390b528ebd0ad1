"""Two central nodes on PostgreSQL: one dies, the database stops at once, and nobody's sale suffers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.faults.seller import Seller, reckon
from tests.support.chain import Chain
from tests.support.postgres import PostgresCluster, PostgresUnavailable
from tests.support.template import Templates

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    """A server of its own, with fsync on: it is stopped as by a power cut."""
    try:
        with PostgresCluster() as cluster:
            yield cluster
    except PostgresUnavailable as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_chain(
    tmp_path_factory: pytest.TempPathFactory, cluster: PostgresCluster, templates: Templates
) -> AsyncIterator[Chain]:
    """Two nodes, each with a station of its own."""
    folder = tmp_path_factory.mktemp("chain")
    async with Chain(folder, stations=2, cluster=cluster, nodes=2, templates=templates) as chain:
        yield chain
        chain.kill()


async def test_a_node_that_dies_is_nobodys_problem(chain: Chain, cluster: PostgresCluster) -> None:
    """Node 2 dies while both stations sell; its station is led to node 1; each sale arrives and leaves once."""
    one, two = chain.stations
    async with Seller(one) as first, Seller(two) as second:
        for _ in range(3):
            await second.sold(20)
            await chain.restart_centre(1)
        chain.nodes[1].kill()
        two.proxy.target = ("127.0.0.1", chain.node_ports[0])
        await two.sync()
        await second.sold(20)
        await first.sold(5)
        await let_leases_of_the_dead_run_out(chain, cluster)
    await reckon(chain)


async def test_one_of_two_nodes_dies_in_each_step(chain: Chain, cluster: PostgresCluster) -> None:
    """Node 2 dies in intake, in apply and in a delivery; node 1 ends what it began."""
    one, two = chain.stations
    two.proxy.target = ("127.0.0.1", chain.node_ports[1])
    node = chain.nodes[1]
    async with Seller(one), Seller(two):
        for point in ("intake.after_commit", "apply.before_commit", "delivery.before_rename"):
            node.kill()
            node.env["COUNTERFLOW_FAULTPOINT"] = point
            node.start()

            async def dead() -> bool:
                await two.sync()
                return not node.is_running()

            await chain.until(f"node 2 dies at {point}", dead)
        await let_leases_of_the_dead_run_out(chain, cluster)
        del node.env["COUNTERFLOW_FAULTPOINT"]
        node.start()
    await reckon(chain)


async def let_leases_of_the_dead_run_out(chain: Chain, cluster: PostgresCluster) -> None:
    """Node 2 is dead: what it had leased is free now, and not in a minute."""
    database = chain.central_env["COUNTERFLOW_CENTRAL_DATABASE_URL"].rpartition("/")[2]

    def ask(statement: str) -> list[str]:
        return cluster.run_sql(statement, database).split()

    def leased() -> set[str]:
        return set(ask("SELECT batch_id FROM batches WHERE leased_until_ms > 0"))

    def done() -> int:
        return int(ask("SELECT count(*) FROM batches WHERE state = 'done'")[0])

    held, before = leased(), done()

    async def moved_on() -> bool:
        return done() >= before + 2

    # The node that lives carries one batch after the other: what is leased since before is the dead one's.
    await chain.until("node 1 delivers on", moved_on)
    for batch_id in held & leased():
        ask(f"UPDATE batches SET leased_until_ms = 1 WHERE batch_id = '{batch_id}'")


async def test_a_database_that_stops_at_once_loses_nothing(chain: Chain, cluster: PostgresCluster) -> None:
    """PostgreSQL is stopped as by a power cut and comes back; what was acknowledged is there."""
    one, two = chain.stations
    async with Seller(one) as first, Seller(two) as second:
        for _ in range(3):
            await first.sold(15)
            cluster.stop("immediate")
            await second.sold(15)
            cluster.start()
            for station in chain.stations:
                await station.sync()
        await first.sold(10)
    await reckon(chain)
