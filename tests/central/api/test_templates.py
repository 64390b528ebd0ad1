"""Templates of lists over the admin API."""

from __future__ import annotations

from pathlib import Path

from central.connectors.formats.templates import template
from shared.protocol import wire
from tests.support.hq import HQ, open_hq


async def fetch(hq: HQ, path: str) -> tuple[int, str, bytes]:
    headers = {
        "Authorization": f"Bearer {hq.key}",
        "Accept-Encoding": "identity",
        wire.REQUEST_ID_HEADER: "0123456789abcdef",
    }
    async with hq.session.get(hq.url + path, headers=headers) as answer:
        return answer.status, answer.headers["Content-Type"], await answer.read()


async def test_a_template_is_downloaded_as_csv_or_excel(database_url: str, tmp_path: Path) -> None:
    async with open_hq(database_url, tmp_path) as hq:
        status, media, body = await fetch(hq, "/v1/admin/templates/price")
        assert (status, media, body) == (200, "text/csv; charset=utf-8", template("price", "csv"))
        status, media, body = await fetch(hq, "/v1/admin/templates/price?format=xlsx")
        assert (status, "spreadsheetml" in media, body[:2]) == (200, True, b"PK")
        assert (await fetch(hq, "/v1/admin/templates/prices"))[0] == 404
        assert (await fetch(hq, "/v1/admin/templates/price?format=pdf"))[0] == 422
