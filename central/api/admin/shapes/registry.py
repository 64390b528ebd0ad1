"""Shapes of stores and groups."""

from __future__ import annotations

from pydantic import Field

from central.api.admin.shapes.shape import Shape, code_field
from shared.documents.fields import Name


class NewStore(Shape):
    code: str = code_field()
    name: Name = ""
    zone: str = Field(max_length=60, description="IANA time zone, e.g. Asia/Tashkent")
    currency: str = Field(max_length=200, json_schema_extra={"pattern": "^[A-Z]{3}$"})
    price_list: str | None = code_field(None)


class StoreChanges(Shape):
    """Only the fields that are given are changed."""

    name: Name | None = None
    zone: str | None = Field(None, max_length=60)
    currency: str | None = Field(None, max_length=200)
    price_list: str | None = code_field(None, "null takes the price list away")


class StoreRow(Shape):
    code: str
    name: str
    zone: str
    currency: str
    price_list: str | None
    stations: int


class NewGroup(Shape):
    code: str = code_field()
    name: Name = ""
    priority: int = Field(
        0, ge=-1_000_000, le=1_000_000, description="where two groups differ, the higher one wins"
    )
    price_list: str | None = code_field(None)


class GroupChanges(Shape):
    """Only the fields that are given are changed."""

    name: Name | None = None
    priority: int | None = Field(None, ge=-1_000_000, le=1_000_000)
    price_list: str | None = code_field(None, "null takes the price list away")


class GroupRow(Shape):
    code: str
    name: str
    priority: int
    price_list: str | None
    stations: int


class Stores(Shape):
    items: list[StoreRow]


class Groups(Shape):
    items: list[GroupRow]
