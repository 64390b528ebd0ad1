"""Stock documents: goods that come into a warehouse, move between two, are counted or written off."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from shared.documents.fields import BusinessDate, Code, Quantity, Text
from shared.documents.papers import GoodsLine, GoodsPaper, Party


class GoodsReceipt(GoodsPaper):
    """Goods that came in; `supplier_number` and `supplier_date` are those of the paper that came with them."""

    warehouse: Code
    supplier: Party | None = None
    supplier_number: Code | None = None
    supplier_date: BusinessDate | None = None


class Transfer(GoodsPaper):
    """Goods moved between two warehouses of ours."""

    warehouse: Code = Field(description="from which they go")
    to_warehouse: Code
    due: BusinessDate | None = None

    @model_validator(mode="after")
    def _goes_elsewhere(self) -> Self:
        if self.warehouse == self.to_warehouse:
            raise ValueError("warehouse and to_warehouse are the same")
        return self


class CountedLine(GoodsLine):
    """`quantity` is what was counted, `expected` what the books said."""

    expected: Quantity | None = None


class Stocktake(GoodsPaper):
    """A count of a warehouse. `complete`: what is not listed is not there."""

    warehouse: Code
    lines: list[CountedLine] = Field(min_length=1, max_length=10_000)  # type: ignore[assignment]
    complete: bool = False
    zone: Code | None = Field(None, description="the part of the warehouse that was counted")


class WriteOff(GoodsPaper):
    """Goods that are lost, broken, expired or used; quantities are positive."""

    warehouse: Code
    reason: Text = Field(min_length=1)
