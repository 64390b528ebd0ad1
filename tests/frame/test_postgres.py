"""The throw-away PostgreSQL: it starts, keeps its data over a power cut, and leaves nothing behind."""

from __future__ import annotations

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support.postgres import PostgresCluster


@pytest.mark.postgres
class TestCluster:
    async def test_each_test_gets_an_empty_database(self, postgres_url: str) -> None:
        engine = create_async_engine(postgres_url)
        async with engine.begin() as connection:
            await connection.execute(sqlalchemy.text("CREATE TABLE receipt (id int)"))
            count = await connection.scalar(
                sqlalchemy.text("SELECT count(*) FROM pg_tables WHERE schemaname='public'")
            )
        await engine.dispose()
        assert count == 1

    def test_databases_do_not_see_each_other(self, postgres_cluster: PostgresCluster) -> None:
        assert postgres_cluster.create_database() != postgres_cluster.create_database()

    def test_power_cut_keeps_what_was_committed(self) -> None:
        with PostgresCluster() as cluster:
            assert cluster.run_sql("SHOW fsync") == "on"
            port = cluster.port
            cluster.run_sql("CREATE TABLE receipt (id int)")
            cluster.run_sql("INSERT INTO receipt VALUES (7)")
            cluster.stop("immediate")
            assert not cluster.is_running()
            cluster.start()
            assert cluster.port == port
            assert cluster.run_sql("SELECT id FROM receipt") == "7"
            folder = cluster.folder
        assert not cluster.is_running()
        assert not folder.exists()


async def test_same_test_runs_on_both_databases(database_url: str) -> None:
    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        assert await connection.scalar(sqlalchemy.text("SELECT 1")) == 1
    await engine.dispose()
    assert engine.dialect.name in ("sqlite", "postgresql")
