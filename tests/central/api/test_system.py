"""What machines ask of a node: health, readiness, version, metrics, OpenAPI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from central.api.http import ENDPOINTS
from central.api.openapi import describe
from central.db import schema
from central.server import make_app
from tests.support.centre import open_centre
from tests.support.hq import HQ, open_hq, report, sell


async def get(hq: HQ, path: str, key: str = "") -> tuple[int, bytes]:
    headers = {"Accept-Encoding": "identity", **({"Authorization": f"Bearer {key}"} if key else {})}
    async with hq.session.get(hq.url + path, headers=headers) as answer:
        return answer.status, await answer.read()


async def test_a_node_is_ready_on_its_own_schema_only(empty_database_url: str, tmp_path: Path) -> None:
    """It lives all the time, and says what to do when the database is another version's."""
    await schema.migrate(empty_database_url)
    async with open_hq(empty_database_url, tmp_path) as hq:
        assert (await get(hq, "/readyz"))[0] == 200
        async with hq.centre.database.write() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = 'later'"))
        status, body = await get(hq, "/readyz")
        assert status == 503
        assert b"wrong-schema" in body
        assert (await get(hq, "/healthz"))[0] == 200
        assert b"0.1.0" in (await get(hq, "/version"))[1]


async def test_figures_are_read_by_prometheus(database_url: str, tmp_path: Path) -> None:
    """Counts of the database and of this node's requests, by route and never by value."""
    async with open_hq(database_url, tmp_path) as hq:
        await sell(hq.centre, "T-1", 3)
        await report(hq.centre, "T-1", backlog=2)
        await hq.client.get("/v1/admin/stations/T-1")
        assert (await get(hq, "/metrics"))[0] == 401
        status, body = await get(hq, "/metrics", hq.key)
        assert status == 200
        found: dict[tuple[str, str], float] = {}
        for family in text_string_to_metric_families(body.decode()):
            for sample in family.samples:
                found[sample.name, sample.labels.get("station") or sample.labels.get("path") or ""] = (
                    sample.value
                )
        assert found["counterflow_documents", ""] == 3
        assert found["counterflow_station_backlog", "T-1"] == 2
        assert found["counterflow_http_requests_total", "/v1/admin/stations/{code}"] == 1


async def test_every_operation_is_described(tmp_path: Path) -> None:
    """The document names every route that is served, with schemas that resolve."""
    async with open_centre(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as centre:
        app = make_app(centre)
        described = describe(app[ENDPOINTS])
        served = {
            (route.method, route.resource.canonical)
            for route in app.router.routes()
            if route.resource is not None and route.method != "HEAD"
        }
        named = {(method.upper(), path) for path, item in described["paths"].items() for method in item}
        assert len(named) == len(served) == len(app[ENDPOINTS])
        assert {method for method, _ in named} <= {"GET", "POST", "PUT", "PATCH"}
        schemas = described["components"]["schemas"]
        for reference in references(described):
            assert reference.removeprefix("#/components/schemas/") in schemas
        assert all("{" not in path.replace("{", "", path.count("}")) for _, path in named)
        assert not [name for name in schemas if "__" in name], "two models have one name"


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in references(item)]
    return [found for item in value for found in references(item)] if isinstance(value, list) else []


async def test_the_description_is_served(tmp_path: Path) -> None:
    """Without a key: it holds nothing that is not in the documentation."""
    async with open_hq(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as hq:
        status, body = await get(hq, "/openapi.json")
        assert status == 200
        assert b'"openapi":"3.1.0"' in body


@pytest.mark.parametrize("path", ["/v1/admin/nothing", "/nothing"])
async def test_what_is_not_there_is_404(tmp_path: Path, path: str) -> None:
    """And the metrics do not grow by what strangers ask for."""
    async with open_hq(f"sqlite+aiosqlite:///{tmp_path / 'central.db'}", tmp_path) as hq:
        assert (await get(hq, path))[0] == 404
        assert path.encode() not in (await get(hq, "/metrics", hq.key))[1]
