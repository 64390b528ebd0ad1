"""What a till looks things up by, drawn from a row's payload: the typed index rows of catalog.db and of snapshots.

One function per indexed entity, pure, used by the centre when it builds a snapshot and by the station when it
applies changes, so that both ways lead to the same tables.
"""

from __future__ import annotations

from typing import Any

from shared.clock import from_rfc3339

ProductRow = tuple[str, str, str | None]
"""(code, name, short code in measured barcodes)"""
BarcodeRow = tuple[str, str, str | None, str | None]
"""(barcode, product, variant, pack)"""
PriceRow = tuple[str, str, str, str, int | None, int | None]
"""(product, variant or '', pack or '', price list, valid from ms, valid until ms)"""


def product_row(payload: dict[str, Any]) -> ProductRow:
    return payload["code"], payload.get("name", ""), payload.get("measured")


def barcode_rows(payload: dict[str, Any]) -> list[BarcodeRow]:
    """Every barcode of a product: its own, its variants' and its packs'."""
    code = payload["code"]
    rows: list[BarcodeRow] = [(barcode, code, None, None) for barcode in payload.get("barcodes", ())]
    for variant in payload.get("variants", ()):
        rows += [(barcode, code, variant["code"], None) for barcode in variant.get("barcodes", ())]
    for pack in payload.get("packs", ()):
        rows += [(barcode, code, None, pack["code"]) for barcode in pack.get("barcodes", ())]
    return rows


def price_row(payload: dict[str, Any]) -> PriceRow:
    start, end = payload.get("valid_from"), payload.get("valid_until")
    return (
        payload["product"],
        payload.get("variant") or "",
        payload.get("pack") or "",
        payload["price_list"],
        from_rfc3339(start) if start else None,
        from_rfc3339(end) if end else None,
    )
